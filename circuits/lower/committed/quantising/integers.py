"""A network in integers, step by step: weights, the pieces of functions, counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from circuits.committed.arithmetic import (
    LARGEST_SUM,
    Bounds,
    Steps,
    SumSteps,
    bounds_of,
    entries,
    lengths_of,
    local_bounds,
    local_lengths,
)
from circuits.committed.network import (
    MOST_TIMES,
    ZERO,
    Convolution,
    Floats,
    Function,
    FunctionTable,
    Kind,
    Local,
    Network,
    Op,
    Pointwise,
    Product,
    Sum,
    Term,
    View,
)
from circuits.lower.committed.quantising.deciding import deciding
from circuits.lower.committed.quantising.functions import (
    BENDS,
    Made,
    Values,
    in_pieces,
    looked_up,
    multipliers,
)
from circuits.lower.committed.quantising.tables import Form, form_of
from circuits.lower.errors import CannotLower

#: Bits by which a result's step is finer than a single step of what it is a sum of.
_RESULT_BITS = 10
#: Channels whose values are smaller count in steps finer by powers of two, up to this.
MOST_SHIFT = 12
#: Bits of what is multiplied by a table's entries, or a longer remainder is taken.
_FACTOR_BITS = 9
#: Rounded, weights of a layer and factors are no further off than this part of themselves.
_KEPT = 4
#: A product's factor in integers is at least this, or it takes a longer remainder.
_LEAST_FACTOR = 4
MOST_DIGITS = 2
_SEVERAL = 2
#: How far several functions may reach that are added up, in bases.
_FARTHEST = 64.0
#: How many steps they may miss it by in any recipe.
_MOST_MISSED = 3.0


class IntegerSteps:
    """Steps of a network in integers, one after another. ``lengths``: what the values of each row's
    elements are multiplied by."""

    def __init__(self, network: Network, steps: Steps) -> None:
        self.network, self.table = network, steps
        #: What the rows that count in ones can be.
        self.counts: dict[int, Bounds] = {}
        self.lengths: list[Floats] = [
            np.full(size, 2.0**own.scale)
            for size, own in zip(network.inputs, steps.inputs, strict=True)
        ]
        self.bounds: list[Bounds] = [bounds_of(own, steps) for own in steps.inputs]
        self.steps: list[Sum | Local] = []
        self.sums: list[SumSteps] = []

    def of(self, view: View) -> Floats:
        """What a view's elements are multiplied by; 0 for zeros."""
        return lengths_of(view, self.lengths)

    def one(self, view: View) -> float:
        """The same, of elements that count in steps of one length."""
        found = np.unique(self.of(view)[view.places != ZERO])
        if len(found) > 1:
            raise CannotLower("elements that count in steps of different lengths meet")
        return float(found[0]) if len(found) else 1.0

    def whole(self, row: int, shown: set[int]) -> bool:
        """Whether a row's steps have to be powers of two: it is given out, or local steps of it."""
        return row in sources(self.network, shown)

    def local(self) -> None:
        """The next step, which is a local one."""
        step = self.network.steps[len(self.steps)]
        assert isinstance(step, Local)
        own = local_lengths(step, self.of(step.left))
        right = step.right
        if not isinstance(right, View):
            reached = right * self.one(step.left) if right else 0  # compared as sums are rounded
            right = math.floor(reached + 0.5) if step.in_ones else int(np.rint(reached))
        made = replace(step, right=right)
        if step.in_ones or self._counted(step):
            self.counts[len(self.lengths)] = self._count(made)
        self.steps.append(made)
        self.lengths.append(own.reshape(-1))
        self.bounds.append(local_bounds(made, self.bounds, self.table.base - 1))

    def add(self, step: Sum, own: SumSteps, miss: float = 0.0) -> None:
        """The next step, a sum in steps of its own. ``miss``: by how many of them the pieces of
        functions may miss these, where pieces are chosen."""
        if step.kind is Kind.DECIDED:
            self._decide(step, own)
            return
        columns = self.table.of_columns[len(self.sums) :]
        if columns and (own != columns[0] or type(own.digits) is not int):
            raise CannotLower("columns are counted in other steps than their own")
        scale = own.scale * np.exp2(np.array(own.shifts, dtype=np.float64))
        lengths = np.broadcast_to(scale, step.shape).reshape(-1)
        divisor = float(self.table.base**own.digits)
        bias = np.asarray(step.bias * (scale * divisor), dtype=np.float64)
        terms: list[Term] = []
        kinks: list[tuple[int, ...]] = []
        # What lies beyond the table is refused, by however much it does; other terms may bring back
        # what a function alone has beyond it. Two functions could bring back each other.
        far = 2.0 * self.table.base + self._beside_functions(step, scale)
        far = max(far, self._of_several(step, own))
        for term in step.terms:
            if isinstance(term, Convolution):
                terms.append(self._convolution(term, scale * divisor))
            elif isinstance(term, Function):
                given = own.kinks[len(kinks)] if len(kinks) < len(own.kinks) else None
                made = self._made(self._values(term, own, far), own, given, miss)
                chosen = term.ties is not None or (given is None and self._lookup(term) is None)
                if not chosen and made.off > self._allowed(step, own, made.span):
                    raise CannotLower("a function's pieces are those of another")
                bias = bias + made.started
                kinks.append(() if term.ties is not None else made.term.kinks)
                terms.append(made.term)
            else:
                exact = self._factor(term, own.scale) * divisor
                if abs(np.rint(exact) - exact) > abs(exact) / _KEPT:
                    raise CannotLower("a product of values has a factor of too few bits")
                terms.append(replace(term, factor=int(np.rint(exact))))
        bias = bias + self._beside_columns(step, terms, scale * divisor)
        half = 0 if step.kind is Kind.RESULT else int(divisor) // 2
        rounded = np.rint(bias) + half
        if not np.all(np.abs(rounded) < LARGEST_SUM):
            raise CannotLower("a bias of this network outgrows 60 bits")
        self.steps.append(replace(step, terms=tuple(terms), bias=rounded.astype(np.int64)))
        whole = divisor if step.kind is Kind.RESULT else 1.0
        self.lengths.append(lengths * whole)
        self.sums.append(replace(own, kinks=tuple(kinks)))
        self.bounds.append(bounds_of(own, self.table))

    def deciding(self, step: Sum) -> tuple[SumSteps, Sum]:
        """A sum that compares an input with constants, in integers, and its steps."""
        return deciding(step, self.of(step.views[0])[0, 0], self.bounds, self.table)

    def _decide(self, step: Sum, own: SumSteps) -> None:
        chosen, made = self.deciding(step)
        if own != chosen or type(own.digits) is not int:
            raise CannotLower("a comparison has another remainder than is chosen")
        self.steps.append(made)
        self.counts[len(self.lengths)] = 0, 1
        self.lengths.append(np.ones(step.size))
        self.sums.append(own)
        self.bounds.append((0, 1))

    def _convolution(self, term: Convolution, scale: Floats) -> Convolution:
        """Weights in integers."""
        exact = self._scaled(term, scale)
        weights = np.rint(exact)
        if np.abs(weights - exact).sum() > np.abs(exact).sum() / _KEPT:
            raise CannotLower("the weights of a layer have too few bits")
        if not np.all(np.abs(weights) < LARGEST_SUM):
            raise CannotLower("a weight of this network outgrows 60 bits")
        return replace(term, weights=weights.astype(np.int64))

    def _scaled(self, term: Convolution, scale: Floats) -> Floats:
        lengths = self.of(term.view).max(axis=(0, 1))
        lengths = np.where(lengths == 0, 1.0, lengths)
        each = np.repeat(lengths.reshape(term.groups, -1), len(term.weights) // term.groups, axis=0)
        found: Floats = term.weights * (scale[:, None] / each)[:, :, None, None]
        return found

    def _beside_columns(self, step: Sum, terms: Sequence[Term], scale: Floats) -> Floats:
        """What weights of columns, which may lie far from zero, are off by because they are
        integers: in the middle of what these columns are."""
        first, count = len(self.network.inputs), len(self.table.of_columns)
        missing: Floats = np.zeros(1)
        for own, made in zip(step.terms, terms, strict=True):
            if not isinstance(own, Convolution) or not isinstance(made, Convolution):
                continue
            counted = any(first <= row < first + count for row in own.view.rows)
            if not counted or not own.plain or own.groups > 1:
                continue
            middle = [
                np.full(size, (low + high) / 2 if first <= row < first + count else 0.0)
                for row, (size, (low, high)) in enumerate(
                    zip(self.network.sizes, self.bounds, strict=False)
                )
            ]
            off = (self._scaled(own, scale) - made.weights)[:, :, 0, 0]
            missing = missing + lengths_of(own.view, middle) @ off.T
        alike = missing.ndim > 1 and np.all(missing == missing[:1, :1])
        return np.asarray(missing[0, 0] if alike else missing)

    def lighter(self, step: Sum, own: SumSteps, most: int) -> SumSteps:
        """Steps longer by a power of two, so that no weight is larger than ``most``."""
        scale = own.scale * np.exp2(np.array(own.shifts, dtype=np.float64))
        scale = scale * float(self.table.base**own.digits)
        largest = max(
            (float(np.abs(self._scaled(t, scale)).max()) for t in step.convolutions), default=0.0
        )
        if largest <= most:
            return own
        return replace(own, scale=own.scale * 2.0 ** math.floor(math.log2(most / largest)))

    def keeping_weights(self, step: Sum, own: SumSteps) -> SumSteps:
        """A longer remainder where the weights of what was added up before, as a mean is, would
        have few bits, or what is multiplied by a table's entries."""
        for term in step.terms:
            lookup = self._lookup(term) if isinstance(term, Function) else None
            if lookup is None or not isinstance(term, Function):
                continue
            found = multipliers(lookup, self.one(term.view))
            whole = abs(term.factor) * own.scale * self.table.base
            if any(n and whole * abs(n) < 1 << _FACTOR_BITS for n in found):
                return replace(own, digits=MOST_DIGITS)
        scale = own.scale * np.exp2(np.array(own.shifts, dtype=np.float64)) * self.table.base
        for term in step.convolutions:
            added_up = any(
                isinstance(source, Local) and source.op is Op.TOTAL
                for source in self._sources(term.view)
            )
            if added_up and np.abs(self._scaled(term, scale)).max() < 2.0**_RESULT_BITS:
                return replace(own, digits=MOST_DIGITS)
        return own

    def _sources(self, view: View) -> list[Sum | Local]:
        """The steps that a view's rows are of."""
        rows = [row - len(self.network.inputs) for row in view.rows]
        return [self.network.steps[row] for row in rows if row >= 0]

    def _factor(self, term: Product | Pointwise, scale: float) -> float:
        return term.factor * scale / (self.one(term.left) * self.one(term.right))

    def _lookup(self, term: Function) -> tuple[Form, FunctionTable, int] | None:
        """The form of a function that the second table has in these steps, the table, and what
        elements are multiplied by before they are looked up; None of others."""
        table, form = self.table.function, form_of(term)
        if table is None or form is None or form.op != table.op:
            return None
        exact = form.stretch * 2.0**table.scale / self.one(term.view)
        times = round(exact)
        near = math.isclose(exact, times, rel_tol=1e-9) and 1 <= abs(times) <= MOST_TIMES
        return (form, table, times) if near else None

    def _values(self, term: Function, own: SumSteps, far: float) -> Values:
        low, high = self._range(term.view)
        return Values(
            term=term, low=low, one=self.one(term.view), high=high, scale=own.scale, far=far
        )

    def _of_several(self, step: Sum, own: SumSteps) -> float:
        """How far functions are followed of which several reach beyond the table: two that are cut
        off there could bring back each other. 0 where only one does. Raises ``CannotLower`` where
        they reach further."""
        functions = [term for term in step.terms if isinstance(term, Function)]
        if len(functions) < _SEVERAL:
            return 0.0
        reach = sorted(self._values(term, own, math.inf).reach for term in functions)
        far = _FARTHEST * self.table.base
        if reach[-_SEVERAL] <= 2.0 * self.table.base:
            return 0.0
        if reach[-1] > far:
            raise CannotLower("several functions that are added up reach far beyond the table")
        return far

    def _made(
        self, values: Values, own: SumSteps, given: tuple[int, ...] | None, miss: float
    ) -> Made:
        """A function in integers, for a sum with steps of its ``own``; the others as in
        ``functions.in_pieces``. Raises ``CannotLower`` for given pieces of another function."""
        term, divisor = values.term, float(self.table.base**own.digits)
        if (lookup := self._lookup(term)) is not None:
            return looked_up(values, lookup, self.table.lowest, self.table.base - 1, divisor)
        if term.ties is None:
            return in_pieces(values, divisor, given, miss)
        if given:
            raise CannotLower("a function's pieces are not its own")
        return in_pieces(values, divisor, None, 0.0)

    def _allowed(self, step: Sum, own: SumSteps, span: float) -> float:
        """By how many steps the pieces that are chosen for any samples miss a function, and more:
        anywhere, since random inputs need not come to where a recipe's would be another function's.
        ``span``: what the function's values differ by.
        """
        scale = own.scale * np.exp2(np.array(own.shifts, dtype=np.float64))
        reach = (
            span + float(np.ptp(step.bias)) * own.scale + 2.0 * self._beside_functions(step, scale)
        )
        if own.digits or step.kind is not Kind.RESULT:
            reach = min(reach, float(entries(self.table.logrows)))
        return max(_MOST_MISSED, reach / float(1 << (BENDS[0] - 2)))

    def _beside_functions(self, step: Sum, scale: Floats) -> float:
        """How far a sum's other terms reach, in its steps."""
        functions = [term for term in step.terms if isinstance(term, Function)]
        if len(functions) == len(step.terms) == 1:
            return 0.0
        found = float(np.abs(step.bias * scale).max(initial=0.0))
        for term in step.terms:
            if isinstance(term, Convolution):
                each = np.abs(self._scaled(term, scale)).sum(axis=(1, 2, 3))
                found += float(each.max(initial=0.0)) * self._edge(term.view)
            elif not isinstance(term, Function):
                many = term.left.shape[2] if isinstance(term, Product) else 1
                edges = self._edge(term.left) * self._edge(term.right)
                found += many * abs(self._factor(term, float(scale.min()))) * edges
        return found + 2.0 * self.table.base * (len(functions) - 1)

    def _edge(self, view: View) -> int:
        return max((abs(end) for row in view.rows for end in self.bounds[row]), default=0)

    def _range(self, view: View) -> Bounds:
        found = [self.bounds[row] for row in view.rows]
        return min(low for low, _ in found), max(high for _, high in found)

    def adjusted(self, step: Sum, own: SumSteps, *, fixed: bool) -> SumSteps:
        """Steps under which the factor of a sum's only product is an integer, and no small one."""
        products = [t for t in step.terms if isinstance(t, (Product, Pointwise))]
        if not products:
            return own
        factors = [abs(self._factor(t, own.scale)) * self.table.base for t in products]
        digits = 1 if min(factors) >= _LEAST_FACTOR else MOST_DIGITS
        factor = factors[0] * self.table.base ** (digits - 1)
        if factor < 1:
            raise CannotLower("a product of values has more bits than two remainders take")
        if len(products) > 1 or fixed:
            return replace(own, digits=MOST_DIGITS)
        return replace(own, digits=digits, scale=own.scale * math.floor(factor) / factor)

    def rounded_digits(self, step: Sum) -> int:
        """How many digits the remainder of a rounded sum has: the sum is exact to far below one."""
        rows = {row for view in step.views for row in view.rows}
        finer = [own.finer for row, own in enumerate(self.table.inputs) if row in rows]
        return MOST_DIGITS + any(finer)

    def _counted(self, step: Local) -> bool:
        return all(row in self.counts for view in step.views for row in view.rows)

    def _count(self, step: Local) -> Bounds:
        """What a local step that counts in ones can be."""
        if step.in_ones:
            return 0, 1
        if step.op is not Op.RECTIFY:
            return local_bounds(step, self.counts, 0)
        right = step.right
        low = self._of_counts(right)[0] if isinstance(right, View) else int(right)
        return 0, max(0, self._of_counts(step.left)[1] - low)

    def _of_counts(self, view: View) -> Bounds:
        found = [self.counts[row] for row in view.rows]
        return min(0, *(low for low, _ in found)), max(0, *(high for _, high in found))

    def in_ones(self, step: Sum) -> SumSteps:
        """Steps of a sum that counts in ones: no remainder, and all of it in the table."""
        low, high = float(step.bias.min()), float(step.bias.max())
        for term in step.terms:
            least, most = self._reach(term)
            low, high = low + least, high + most
        low, high = (max(0, low), max(0, high)) if step.kind is Kind.RECTIFIED else (low, high)
        self.counts[len(self.lengths)] = int(low), int(high)
        offset = 0
        if step.kind is Kind.SIGNED:
            offset = max(0, -int(low))
            if high + offset >= self.table.base:
                raise CannotLower("a count of this network is larger than the table")
        return SumSteps(scale=1.0, offset=offset, digits=0, shifts=(0,) * step.shape[2])

    def _reach(self, term: Term) -> tuple[float, float]:
        """The least and the largest that a term which counts in ones can be."""
        (low, high), *others = (self._of_counts(view) for view in term.views)
        if isinstance(term, Convolution):
            above = np.maximum(term.weights, 0).sum(axis=(1, 2, 3))
            below = np.minimum(term.weights, 0).sum(axis=(1, 2, 3))
            least, most = above * low + below * high, above * high + below * low
            return float(least.min()), float(most.max())
        assert isinstance(term, (Product, Pointwise))
        many = term.left.shape[2] if isinstance(term, Product) else 1
        corners = [0, *(many * a * b * term.factor for a in (low, high) for b in others[0])]
        return min(corners), max(corners)

    def looked_up(self, step: Sum) -> SumSteps | None:
        """Steps of a sum that is all that the second table has of a function: the table's own, and
        no remainder. None of other sums, and where such numbers have no entries."""
        alone = len(step.terms) == 1 and step.kind is Kind.SIGNED
        if not alone or not isinstance(term := step.terms[0], Function) or not term.factor:
            return None
        lookup = self._lookup(term)
        if lookup is None or lookup[0].tilt or lookup[0].slope:
            return None
        form, table, times = lookup
        scale = 2.0**table.scale / abs(term.factor * form.height)
        ends = table.entries(times * np.array(self._range(term.view), dtype=np.float64))
        values = math.copysign(1.0, term.factor * form.height) * ends
        more = (step.bias + term.factor * form.level) * scale
        low, high = float(values.min() + more.min()), float(values.max() + more.max())
        offset = max(0, math.ceil(-low))
        if high + offset >= self.table.base - 1:
            return None
        return SumSteps(scale=scale, offset=offset, digits=0, shifts=(0,) * step.shape[2])

    def result_steps(self, step: Sum) -> SumSteps:
        """Steps of a sum that is given out: finer than any single one of its terms."""
        finest = 1.0
        for term in step.terms:
            one = math.prod(float(self.of(view).max(initial=1.0)) for view in term.views)
            if isinstance(term, Convolution):  # small weights are of what counts in large numbers
                one /= min(1.0, max(float(np.abs(term.weights).max()), 2.0**-MOST_SHIFT))
            finest = max(finest, one)
        scale = 2.0 ** (math.ceil(math.log2(finest)) + _RESULT_BITS)
        return SumSteps(scale=scale, offset=0, digits=0, shifts=(0,) * step.shape[2])


def sources(network: Network, rows: set[int]) -> set[int]:
    """Rows, and those that their local steps are made of."""
    found = set(rows)
    for at in reversed(range(len(network.steps))):
        step = network.steps[at]
        if at + len(network.inputs) in found and isinstance(step, Local) and not step.in_ones:
            found.update(row for view in step.views for row in view.rows)
    return found
