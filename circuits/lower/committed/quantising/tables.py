"""Functions that one of the engine's tables has: which, and what else of them is linear.

A table's steps are the same on both sides, so it is coarser than straight pieces can be; but it
takes one look-up where these take one for each kink.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from circuits.committed.network import MOST_SCALE, Floats, Function, FunctionTable, Network
from circuits.format.function_tables import TABLES

#: Tables, and what an argument is multiplied by before they are asked: of tanh, the logistic
#: function and its approximation of GELU; of erf and GELU. That of a power of e is computed.
_STRETCHES = (("Tanh", 1.0), ("Tanh", 0.5), ("Tanh", 0.851), ("Erf", 1.0), ("Erf", math.sqrt(0.5)))
_OPS = frozenset({"Exp", *(op for op, _ in _STRETCHES)})
#: Where a function is compared with what a table would make of it, and how near that has to be.
_PROBES = np.array([-3.1, -2.3, -1.7, -1.1, -0.6, -0.2, 0.1, 0.4, 0.9, 1.3, 1.9, 2.6, 3.3])
_NEAR = 1e-6
#: Bits behind the point of what a table's entries are multiplied by.
_BITS = 22
#: A table's entries are below this bound: beyond it a power's last digit depends on the library.
_KNOWN = 2.0**40
#: Look-ups of which fewer do not pay for a table, its salt and its columns.
_FEWEST = 32


@dataclass(frozen=True, kw_only=True)
class Form:
    """A function as ``level + slope · x + (height + tilt · x) · table(stretch · x)``."""

    op: str
    stretch: float
    level: float
    slope: float
    height: float
    tilt: float


def form_of(term: Function) -> Form | None:
    """The form of a model's function; None where no table has it, or what it adds is straight."""
    if term.exact is None or term.ties is not None:
        return None
    return _form_of(term.exact)


def asks(term: Function) -> str | None:
    """The operator whose table has a model's function; None where none has."""
    form = form_of(term)
    return None if form is None else form.op


@lru_cache(maxsize=1024)
def _form_of(function: Callable[[Floats], Floats]) -> Form | None:
    with np.errstate(all="ignore"):
        wanted = np.asarray(function(_PROBES), dtype=np.float64)
    if wanted.shape != _PROBES.shape or not np.all(np.isfinite(wanted)):
        return None
    scale = float(np.abs(wanted).max()) or 1.0
    one = np.ones_like(_PROBES)
    if _fitted(np.stack([one, _PROBES], axis=1), wanted, scale) is not None:
        return None
    for op, stretch in (*_STRETCHES, ("Exp", _growth(function))):
        with np.errstate(over="ignore"):
            looked_up = TABLES[op].function(stretch * _PROBES)
        if not np.all(np.isfinite(looked_up)):
            continue
        # What has the fewest of these first: powers of e times x, say, are no powers of e.
        for columns in ((0, 2), (0, 1, 2), (0, 1, 2, 3)):
            every = (one, _PROBES, looked_up, _PROBES * looked_up)
            found = _fitted(np.stack([every[n] for n in columns], axis=1), wanted, scale)
            if found is None:
                continue
            level, slope, height, tilt = (
                float(found[columns.index(n)]) if n in columns else 0.0 for n in range(4)
            )
            return Form(op=op, stretch=stretch, level=level, slope=slope, height=height, tilt=tilt)
    return None


def _growth(function: Callable[[Floats], Floats]) -> float:
    """What x is multiplied by in a power of e; 0 where a function surely is none."""
    low, middle, high = np.asarray(function(np.array([-1.0, 0.0, 1.0])), dtype=np.float64)
    with np.errstate(all="ignore"):
        found = float(np.log((high - middle) / (middle - low)))
    return round(found, 9) if math.isfinite(found) else 0.0


def _fitted(columns: Floats, wanted: Floats, scale: float) -> Floats | None:
    """What the columns are multiplied by to be what is wanted, rounded."""
    found = np.linalg.lstsq(columns, wanted, rcond=None)[0]
    if float(np.abs(columns @ found - wanted).max()) > _NEAR * scale:
        return None
    return np.asarray(np.ldexp(np.rint(np.ldexp(found, _BITS)), -_BITS))


def best_table(network: Network) -> str | None:
    """The table that most of a network's functions ask; None where it would not pay."""
    asked: Counter[str] = Counter()
    for _, step in network.sums:
        for term in step.terms:
            if isinstance(term, Function) and (op := asks(term)) is not None:
                asked[op] += term.view.places.size
    op, count = max(asked.items(), key=lambda item: item[1], default=("", 0))
    return op if count >= _FEWEST else None


def is_exact(table: FunctionTable, base: int) -> bool:
    """Whether it is known to the last bit what the engine puts into a table that ends at a base."""
    if type(table.op) is not str or table.op not in _OPS or type(table.scale) is not int:
        return False
    return 1 <= table.scale <= MOST_SCALE and table.entries(np.array([base - 1.0]))[0] < _KNOWN
