"""The shapes one variant can take: decomposition base and legs, columns, rows.

More legs make a smaller base, so a smaller range-check table and perhaps fewer rows, for more
assignments an element. More inner columns make fewer rows of more columns. Which pays depends on
the model, so each combination is priced.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

from circuits.engine.port import Priced, RunArgs
from circuits.errors import EngineError
from circuits.plan.variants import Task, Variant
from circuits.profile import Soundness

COLUMNS = (1, 2, 4, 8)
LEGS = (2, 3, 4, 5, 6, 7, 8)
MIN_LOGROWS, MAX_LOGROWS = 6, 26
#: EZKL allows twelve; far fewer have ever paid.
MAX_TABLE_COLUMNS = 6
#: Rows at the end of each column that the proof system blinds, and that EZKL keeps clear.
RESERVED_ROWS = 12
_DRAFT_LOGROWS = 17  # any: the layout's length hardly depends on it
_NO_TABLE = (-2, 2)
_WORD_BITS = 112  # EZKL's integers have 128 bits


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One variant in one shape, priced at its own k."""

    variant: Variant
    priced: Priced

    @property
    def args(self) -> RunArgs:
        return self.priced.args

    @property
    def headroom_bits(self) -> float:
        """Bits by which decompositions hold more than the variant's bound."""
        return self.args.decomp_legs * math.log2(self.args.decomp_base) - self.variant.bound_bits


def shapes(task: Task, variant: Variant) -> list[Shape]:
    """Every sensible shape of a variant, priced; those that the engine refuses are left out."""
    lookups = variant.lookup_range or _NO_TABLE
    bases = _bases(task, variant.bound_bits)
    settled = [
        _fill_table(p.args) for p in _price(task, variant.onnx, variant.args, bases, lookups)
    ]
    return [
        Shape(variant=variant, priced=p)
        for p in task.engine.price(variant.onnx, settled, task.limits)
        if not isinstance(p, EngineError) and minimal_logrows(p) <= p.args.logrows
    ]


def cheapest(task: Task, onnx: bytes, args: RunArgs, bits: int) -> list[Priced]:
    """A graph's shapes if its numbers had ``bits`` bits at most and its tables were free.

    With the least bits that it can have, no real shape of it costs less.
    """
    return _price(task, onnx, args, _bases(task, bits), _NO_TABLE)


def _price(
    task: Task,
    onnx: bytes,
    args: RunArgs,
    bases: list[tuple[int, int]],
    lookup_range: tuple[int, int],
) -> list[Priced]:
    """Each (legs, base) in each number of columns, at the smallest k that holds it."""
    drafts = [
        replace(
            args,
            decomp_base=base,
            decomp_legs=legs,
            num_inner_cols=columns,
            logrows=_DRAFT_LOGROWS,
            lookup_range=lookup_range,
        )
        for (legs, base), columns in itertools.product(bases, COLUMNS)
    ]
    return [
        replace(p, args=replace(p.args, logrows=k))
        for p in task.engine.price(onnx, drafts, task.limits)
        if not isinstance(p, EngineError) and (k := minimal_logrows(p)) <= MAX_LOGROWS
    ]


def _sizes(priced: Priced) -> list[RunArgs]:
    """Every k from the smallest at which the layout fits, while wide tables get narrower."""
    low = priced.args.logrows
    high = max(low, _one_column_logrows(priced))
    return [replace(priced.args, logrows=k) for k in range(low, high + 1)]


def _one_column_logrows(priced: Priced) -> int:
    """The smallest k at which a lookup table takes one column."""
    if not priced.lookups:
        return 0
    low, high = priced.args.lookup_range
    return math.ceil(math.log2(high - low + 1 + RESERVED_ROWS))


def minimal_logrows(priced: Priced) -> int:
    """The smallest k at which everything fits in one block of columns.

    A lookup table may take several columns, each of them a lookup argument of its own.
    """
    columns = priced.args.num_inner_cols
    tables = [high - low + 1 for low, high in priced.range_checks]
    if priced.lookups:
        low, high = priced.args.lookup_range
        tables.append(math.ceil((high - low + 1) / MAX_TABLE_COLUMNS))
    needed = max(
        priced.rows,
        math.ceil(priced.einsum_size / columns),
        math.ceil(priced.constants / columns),
        priced.dynamic_size,
        sum(math.prod(s) for s in priced.instance_shapes),
        *tables,
        1,
    )
    return max(MIN_LOGROWS, math.ceil(math.log2(needed + RESERVED_ROWS)))


def _bases(task: Task, bits: int) -> list[tuple[int, int]]:
    """For each number of legs the smallest power-of-two base that holds ``bits`` bits."""
    if task.profile.soundness is Soundness.CONSERVATIVE:
        bits = max(bits, task.context.bits + 1)  # public inputs are decomposed too
    out: dict[int, int] = {}
    for legs in LEGS:
        each = max(2, math.ceil(bits / legs))
        if each <= 20 and each * legs <= _WORD_BITS:
            out.setdefault(each, legs)  # fewer legs of the same size are always better
    return [(legs, 1 << each) for each, legs in out.items()]


def _fill_table(args: RunArgs) -> RunArgs:
    """The largest base whose table still fits these rows: headroom that costs nothing."""
    free = args.logrows - 1
    if free * args.decomp_legs > _WORD_BITS:
        free = _WORD_BITS // args.decomp_legs
    return replace(args, decomp_base=max(args.decomp_base, 1 << min(free, 20)))
