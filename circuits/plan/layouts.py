"""The shapes a graph can take: decomposition base and legs, columns, rows.

More legs make a smaller base, so a smaller range-check table and perhaps fewer rows, for more
assignments an element. More inner columns make fewer rows of more columns. Which pays depends on
the model, so each combination is measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from circuits.engine.port import Engine, LayoutStats, Limits, RunArgs
from circuits.errors import EngineError
from circuits.format.hidden import Salt, filled, hides
from circuits.format.profile import Profile
from circuits.lower.graphs import context_encoding

COLUMNS = (1, 2, 4, 8)
LEGS = (2, 3, 4, 5, 6, 7, 8)
MIN_LOGROWS, MAX_LOGROWS = 6, 26
#: EZKL allows twelve; far fewer have ever paid.
MAX_TABLE_COLUMNS = 6
#: Rows at the end of each column that the proof system blinds, and that EZKL keeps clear.
RESERVED_ROWS = 12
_DRAFT_LOGROWS = 17  # any: the layout's length hardly depends on it
_NO_TABLE = (-2, 2)
_LARGE = 60_000  # assignments
_MIDDLE_BASE_BITS = 9  # about where bases end up; only how soon the search ends depends on it
_WIDEST_BASE = 20  # bits
_MORE_LOGROWS = 6  # above the least k, for salt to hide small tables
_WORD_BITS = 112  # EZKL's integers have 128 bits


@dataclass(frozen=True, kw_only=True)
class Layouts:
    """What is needed to price a graph: who prices, and what the profile asks for."""

    engine: Engine
    limits: Limits
    profile: Profile

    def shapes(
        self,
        onnx: bytes,
        args: RunArgs,
        bits: int,
        lookup_range: tuple[int, int] | None,
        salt: Salt | None = None,
    ) -> list[LayoutStats]:
        """Every sensible shape of a graph whose decompositions must hold ``bits`` bits; with
        ``salt`` only those whose tables it hides.

        With wide tables in one column and in several. Shapes that the engine refuses are left out.
        The counts are those of a draft at another k, which hardly differ; ``at_own_size`` gives the
        one that is to be built.
        """
        tables = lookup_range or _NO_TABLE
        first = self._drafts(onnx, args, bits, tables)
        if salt is not None:
            return [replace(p, args=size) for p in first for size in _salted_sizes(p, salt)]
        return [replace(p, args=fill_table(size)) for p in first for size in sizes(p)]

    def at_own_size(self, onnx: bytes, draft: LayoutStats) -> LayoutStats | None:
        """A shape of ``shapes`` measured at its own k; None when it does not fit after all."""
        layout = self.engine.measure_layout(onnx, [draft.args], self.limits)[0]
        if isinstance(layout, EngineError) or minimal_logrows(layout) > draft.args.logrows:
            return None
        return layout

    def cheapest(self, onnx: bytes, args: RunArgs, bits: int) -> list[LayoutStats]:
        """A graph's shapes if its numbers had ``bits`` bits at most and its tables were free.

        With the least bits that it can have, no real shape of it costs less.
        """
        return self._drafts(onnx, args, bits, _NO_TABLE)

    def _drafts(
        self,
        onnx: bytes,
        args: RunArgs,
        bits: int,
        lookup_range: tuple[int, int],
    ) -> list[LayoutStats]:
        """Bases and numbers of legs in each number of columns, at the smallest k for it.

        Layouts starts in the middle. More legs are tried while the range check's table decides k
        somewhere: once rows do, a further leg only adds to them. Fewer are tried while their table
        fits the rows of a single column: a longer one makes every number of columns as long.
        """
        bases = self._bases(bits)
        middle = min(range(len(bases)), key=lambda i: abs(_bits(bases[i][1]) - _MIDDLE_BASE_BITS))
        columns: tuple[int, ...] = COLUMNS
        found: list[LayoutStats] = []
        for legs, base in bases[middle:]:
            shape = replace(args, decomp_base=base, decomp_legs=legs, lookup_range=lookup_range)
            more = self._in_columns(onnx, shape, columns)
            found += more
            if any(p.assignments > _LARGE for p in more):
                columns = COLUMNS[:2]  # more have not paid, and each takes a while to price
            if more and not any(map(_range_check_decides, more)):
                break
        longest = max((p.args.logrows for p in found), default=MAX_LOGROWS)
        for legs, base in reversed(bases[:middle]):
            if _logrows_of(base) > longest:
                break
            shape = replace(args, decomp_base=base, decomp_legs=legs, lookup_range=lookup_range)
            found += self._in_columns(onnx, shape, columns)
        return found

    def _in_columns(
        self, onnx: bytes, args: RunArgs, columns: tuple[int, ...]
    ) -> list[LayoutStats]:
        """One shape in each number of columns."""
        drafts = [replace(args, num_inner_cols=c, logrows=_DRAFT_LOGROWS) for c in columns]
        layout = self.engine.measure_layout(onnx, drafts, self.limits)
        found = [at_smallest(p) for p in layout if not isinstance(p, EngineError)]
        return [shape for shape in found if shape is not None]

    def _bases(self, bits: int) -> list[tuple[int, int]]:
        """For each number of legs a base that holds ``bits`` bits."""
        if self.profile.checks_ranges:
            bits = max(
                bits, context_encoding(self.profile).bits + 1
            )  # public inputs are decomposed too
        out: dict[int, int] = {}
        for legs in LEGS:
            base = base_for(bits, legs)
            if base is not None and base <= 1 << _WIDEST_BASE:
                out.setdefault(base, legs)  # fewer legs of the same size are always better
        return [(legs, base) for base, legs in out.items()]


def _bits(base: int) -> int:
    """b of a base 2^b."""
    return base.bit_length() - 1


def sizes(layout: LayoutStats) -> list[RunArgs]:
    """Every k from the smallest at which the layout fits, while wide tables get narrower."""
    low = layout.args.logrows
    high = max(low, _one_column_logrows(layout))
    return [replace(layout.args, logrows=k) for k in range(low, high + 1)]


def _salted_sizes(layout: LayoutStats, salt: Salt) -> list[RunArgs]:
    """The few smallest k at which salt hides all multiplicities, with tables as long as they can be
    in their columns: the more entries, the less salt does. None where something else than salted
    tables is looked up."""
    if layout.range_checks or layout.dynamic_size or len(layout.lookups) != salt.tables:
        return []
    found = []
    for k in range(layout.args.logrows, layout.args.logrows + _MORE_LOGROWS):
        range_ = filled(layout.args.lookup_range, k)
        if hides(salt, range_, k, layout.args.num_inner_cols):
            found.append(replace(layout.args, logrows=k, lookup_range=range_))
    return found


def _one_column_logrows(layout: LayoutStats) -> int:
    """The smallest k at which a lookup table takes one column."""
    if not layout.lookups:
        return 0
    low, high = layout.args.lookup_range
    return math.ceil(math.log2(high - low + 1 + RESERVED_ROWS))


def minimal_logrows(layout: LayoutStats) -> int:
    """The smallest k at which everything fits in one block of columns.

    A lookup table may take several columns, each of them a lookup argument of its own.
    """
    return max(_logrows_of(_longest_range_check(layout)), _logrows_of(_longest_beside(layout)))


def at_smallest(layout: LayoutStats) -> LayoutStats | None:
    """The layout at the smallest k at which it fits; None where no k is large enough."""
    logrows = minimal_logrows(layout)
    if logrows > MAX_LOGROWS:
        return None
    return replace(layout, args=replace(layout.args, logrows=logrows))


def _range_check_decides(layout: LayoutStats) -> bool:
    """Whether a smaller base alone could make the circuit shorter."""
    return _logrows_of(_longest_range_check(layout)) > _logrows_of(_longest_beside(layout))


def _longest_range_check(layout: LayoutStats) -> int:
    return max((high - low + 1 for low, high in layout.range_checks), default=0)


def _longest_beside(layout: LayoutStats) -> int:
    """Rows of whatever is no range check: the layout, products, constants, instances, tables."""
    columns = layout.args.num_inner_cols
    table = 0
    if layout.lookups:
        low, high = layout.args.lookup_range
        table = math.ceil((high - low + 1) / MAX_TABLE_COLUMNS)
    return max(
        layout.rows,
        math.ceil(layout.constants / columns),
        layout.dynamic_size,
        sum(math.prod(s) for s in layout.instance_shapes),
        table,
    )


def _logrows_of(rows: int) -> int:
    """The smallest k whose usable rows are that many."""
    return max(MIN_LOGROWS, math.ceil(math.log2(rows + RESERVED_ROWS)))


def base_for(bits: int, legs: int) -> int | None:
    """The base of so many digits that hold ``bits`` bits and fit the engine's integers: a power of
    two if one does, else the smallest base at all; None where there is none."""
    each = max(2, math.ceil(bits / legs))
    if each * legs <= _WORD_BITS:
        return 1 << each
    base = max(4, math.ceil(2.0 ** (bits / legs)))
    return base if base**legs <= 1 << _WORD_BITS else None


def fill_table(args: RunArgs) -> RunArgs:
    """The largest base whose table still fits these rows: headroom that costs nothing."""
    free = min(args.logrows - 1, _WORD_BITS // args.decomp_legs)
    return replace(args, decomp_base=max(args.decomp_base, 1 << min(free, _WIDEST_BASE)))
