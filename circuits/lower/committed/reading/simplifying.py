"""From a draft to a network: sums that only sums read become part of these, what is only rectified
is rectified by its own look-up, and what nothing reads is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from circuits.committed.network import (
    ZERO,
    Convolution,
    Floats,
    Function,
    Integers,
    Kind,
    Local,
    Network,
    Op,
    Pointwise,
    Product,
    Step,
    Sum,
    Term,
    View,
)
from circuits.lower.committed.reading.draft import Draft
from circuits.lower.committed.reading.values import ROW, rows_of

#: Cells that a sum's hints take for each of its elements.
_HINT_CELLS = 4


def network_of(
    draft: Draft, outputs: Sequence[Integers]
) -> tuple[Network, dict[int, int], frozenset[int]]:
    """The network of a draft, its rows by their numbers in the draft, and those whose elements all
    count in steps of one length. ``outputs``: addresses."""
    made = _Simplifier(draft, list(outputs))
    made.divide_sums()
    made.join_sums()
    made.rectify()
    made.results()
    return made.network()


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Channels of a row that a term of the step ``at`` adds, each times a ``factor``."""

    row: int
    at: int
    number: int
    chosen: Integers
    factor: Floats

    @property
    def size(self) -> int:
        return len(self.chosen)


class _Simplifier:
    def __init__(self, draft: Draft, outputs: list[Integers]) -> None:
        self.first = len(draft.inputs)
        self.inputs, self.steps, self.outputs = draft.inputs, list(draft.steps), outputs
        self.alike = draft.alike

    def readers(self) -> Counter[int]:
        """How many views read each row."""
        found: Counter[int] = Counter()
        for step in self.steps:
            for view in step.views:
                found.update(rows_of(view.places))
        for output in self.outputs:
            found.update(rows_of(output))
        return found

    # --- sums in sums ---------------------------------------------------------------------------

    def divide_sums(self) -> None:
        """A dense sum whose channels are divided among others, as the gates of a recurrent layer
        are, becomes part of each: it takes no hints, and they read what it reads."""
        parts: dict[int, list[_Part]] = {}
        for at, step in enumerate(self.steps):
            terms = step.terms if isinstance(step, Sum) else ()
            for number, term in enumerate(terms):
                if (part := self._part(at, number, term)) is not None:
                    parts.setdefault(part.row, []).append(part)
        readers = self.readers()
        for row, own in sorted(parts.items()):
            inner = self.steps[row - self.first]
            assert isinstance(inner, Sum)
            read = sum(term.view.places.size for term in inner.convolutions)
            less = _HINT_CELLS * inner.size + sum(part.size for part in own)
            if len(own) == readers[row] and read * (len(own) - 1) <= less:
                for part in own:
                    self._put_in(inner, part)

    def _part(self, at: int, number: int, term: Term) -> _Part | None:
        """Channels of a dense sum at all of its places, each times a factor."""
        if not (isinstance(term, Convolution) and term.plain and term.depthwise):
            return None
        places = term.view.places
        if places.min() < 0 or (row := int(places.flat[0] // ROW)) < self.first:
            return None
        inner = self.steps[row - self.first]
        if not isinstance(inner, Sum) or inner.rounded or inner.kind is not Kind.SIGNED:
            return None
        if not all(isinstance(t, Convolution) and t.plain and t.groups == 1 for t in inner.terms):
            return None
        high, wide, count = inner.shape
        chosen = places[0, 0] - ROW * row
        whole = np.arange(high * wide).reshape(high, wide, 1) * count + chosen + ROW * row
        inside = places.shape[:2] == (high, wide) and 0 <= chosen.min() <= chosen.max() < count
        if not inside or not np.array_equal(places, whole):
            return None
        return _Part(row=row, at=at, number=number, chosen=chosen, factor=term.weights.reshape(-1))

    def _put_in(self, inner: Sum, part: _Part) -> None:
        step = self.steps[part.at]
        assert isinstance(step, Sum)
        chosen, factor = part.chosen, part.factor
        own = [
            replace(t, weights=t.weights[chosen] * factor[:, None, None, None])
            for t in inner.convolutions
        ]
        # Behind the others, so that the numbers of those that wait stay theirs.
        kept = [*step.terms, *own]
        kept[part.number] = own[0]
        del kept[len(step.terms)]
        bias = step.bias + inner.bias[..., chosen] * factor
        self.steps[part.at] = replace(step, terms=tuple(kept), bias=bias)

    def join_sums(self) -> None:
        """A sum that one other sum reads, element by element, becomes part of that."""
        readers = self.readers()
        for at, step in enumerate(self.steps):
            if not isinstance(step, Sum):
                continue
            terms: list[Term] = []
            bias = step.bias
            for term in step.terms:
                inner = self._inner(step, term, readers)
                if inner is None or not isinstance(term, Convolution):
                    terms.append(term)
                    continue
                factor = term.weights[:, 0, 0, 0]
                terms += [_scaled(t, factor) for t in inner.terms]
                bias = bias + inner.bias * factor
            self.steps[at] = replace(step, terms=tuple(terms), bias=bias)

    def _inner(self, step: Sum, term: Term, readers: Counter[int]) -> Sum | None:
        """The sum that a term is all of, where nothing else reads it."""
        if not (isinstance(term, Convolution) and term.plain and term.depthwise):
            return None
        flat = term.view.places.reshape(-1)
        if flat[0] == ZERO or (row := int(flat[0] // ROW)) < self.first:
            return None
        inner = self.steps[row - self.first]
        if not isinstance(inner, Sum) or inner.shape != step.shape:
            return None
        whole = np.array_equal(flat, row * ROW + np.arange(inner.size))
        if inner.rounded or inner.kind is Kind.DECIDED or readers[row] != 1 or not whole:
            return None
        factor = term.weights.reshape(-1)
        same = bool(np.all(factor == factor[0]))
        if not same and not all(isinstance(t, Convolution) for t in inner.terms):
            return None
        return inner

    # --- rectified and results ------------------------------------------------------------------

    def rectify(self) -> None:
        """A sum of which only the rectified values are read needs no look-up of its own."""
        readers = self.readers()
        instead: dict[int, Integers] = {}

        def moved(places: Integers) -> Integers:
            """Elements of a sum in the stead of those that it is rectified to."""
            for row in rows_of(places):
                if row in instead:
                    mine = (places != ZERO) & (places // ROW == row)
                    places = np.where(mine, instead[row][np.where(mine, places % ROW, 0)], places)
            return places

        for at, written in enumerate(self.steps):
            step = _mapped(written, moved) if instead else written
            self.steps[at] = step
            if not (isinstance(step, Local) and step.op is Op.RECTIFY):
                continue
            if isinstance(step.right, View) or step.right != 0:
                continue
            flat = step.left.places.reshape(-1)
            if flat.min() == ZERO or (row := int(flat[0] // ROW)) < self.first:
                continue
            own = self.steps[row - self.first]
            whole = np.array_equal(np.sort(flat), row * ROW + np.arange(own.size))
            signed = isinstance(own, Sum) and own.kind is Kind.SIGNED
            if not isinstance(own, Sum) or not signed or not whole or readers[row] != 1:
                continue
            self.steps[row - self.first] = replace(own, kind=Kind.RECTIFIED)
            instead[at + self.first] = flat
        self.outputs = [moved(output) for output in self.outputs]

    def results(self) -> None:
        """Signed sums that are only given out are not rescaled, unless a function's values have to
        be bounded."""
        read: Counter[int] = Counter()
        for step in self.steps:
            for view in step.views:
                read.update(rows_of(view.places))
        for output in self.outputs:
            for row in rows_of(output):
                own = self.steps[row - self.first] if row >= self.first else None
                if (
                    isinstance(own, Sum)
                    and own.kind is Kind.SIGNED
                    and not own.rounded
                    and not read[row]
                    and not any(isinstance(t, Function) for t in own.terms)
                ):
                    self.steps[row - self.first] = replace(own, kind=Kind.RESULT)

    # --- numbering ------------------------------------------------------------------------------

    def network(self) -> tuple[Network, dict[int, int], frozenset[int]]:
        """What something reads, renumbered."""
        live = {row for output in self.outputs for row in rows_of(output)}
        for at in reversed(range(len(self.steps))):
            if at + self.first in live:
                live.update(r for view in self.steps[at].views for r in rows_of(view.places))
        kept = [at for at in range(len(self.steps)) if at + self.first in live]
        numbers = {row: row for row in range(self.first)}
        numbers |= {at + self.first: self.first + n for n, at in enumerate(kept)}
        sizes = [*self.inputs, *(self.steps[at].size for at in kept)]

        def view(places: Integers) -> View:
            rows = sorted(numbers[row] for row in rows_of(places)) or [0]
            starts = dict(zip(rows, np.cumsum([0, *(sizes[r] for r in rows)]), strict=False))
            found = np.full(places.shape, ZERO)
            for row in rows_of(places):
                mine = (places != ZERO) & (places // ROW == row)
                found[mine] = starts[numbers[row]] + places[mine] % ROW
            return View(rows=tuple(rows), places=found)

        steps = tuple(viewed(self.steps[at], view) for at in kept)
        outputs = tuple(view(output) for output in self.outputs)
        alike = {numbers[row] for row in self.alike if row in numbers}
        alike |= {
            self.first + n
            for n, step in enumerate(steps)
            if isinstance(step, Sum) and len(step.convolutions) < len(step.terms)
        }
        network = Network(inputs=tuple(self.inputs), steps=steps, outputs=outputs)
        return network, numbers, frozenset(alike)


def _scaled(term: Term, factor: Floats) -> Term:
    """A term times a factor a channel."""
    if isinstance(term, Convolution):
        return replace(term, weights=term.weights * factor.reshape(-1, 1, 1, 1))
    return replace(term, factor=term.factor * float(factor[0]))


def _mapped(step: Step, moved: Callable[[Integers], Integers]) -> Step:
    return viewed(step, lambda places: View(rows=(), places=moved(places)))


def viewed(step: Step, view: Callable[[Integers], View]) -> Step:
    """A step with other views, made of the places that the old ones hold."""
    return seen(step, lambda old: view(old.places))


def seen(step: Step, new: Callable[[View], View]) -> Step:
    """A step with other views, made of the old ones."""
    if isinstance(step, Local):
        right = new(step.right) if isinstance(step.right, View) else step.right
        return replace(step, left=new(step.left), right=right)
    terms: list[Term] = []
    for term in step.terms:
        if isinstance(term, (Product, Pointwise)):
            terms.append(replace(term, left=new(term.left), right=new(term.right)))
        elif isinstance(term, Function):
            terms.append(replace(term, view=new(term.view)))
        else:
            terms.append(replace(term, view=new(term.view)))
    return replace(step, terms=tuple(terms))
