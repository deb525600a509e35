"""From an integer network to the graph that the engine lays out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from circuits.committed.arithmetic import (
    LARGEST_SUM,
    UNUSED_ROWS,
    Steps,
    all_largest,
    entries,
    output_bounds,
)
from circuits.committed.arrangement import Arrangement, offsets_of
from circuits.committed.network import (
    ZERO,
    Convolution,
    Integers,
    Kind,
    Local,
    Network,
    Op,
    Sum,
    View,
)
from circuits.committed.private_weights import bounded, outside, unbounded, widest
from circuits.committed.weight_folding import folded_count
from circuits.format.commitments import (
    DATA,
    FOLDED,
    POINT,
    WEIGHTS,
    Commitments,
    Weights,
    challenge_names,
    evaluation_shape,
    salted_pieces,
    usable_rows,
)
from circuits.format.digests import sha256
from circuits.format.hidden import RESIDUES, Salt, hides
from circuits.lower.committed.writing.powers import Packing, Powers
from circuits.lower.committed.writing.sums import SumResidue
from circuits.lower.committed.writing.writer import Tensor, Writer
from circuits.lower.errors import CannotLower

#: Random look-ups in one column are a multiple of this, and at most so many.
_SALT_STEP, _MOST_SALT = 10, 10_000
SHOWN, EVALUATION = "zkml_doubled", "zkml_evaluation"
WEIGHTS_EVALUATION = "zkml_weights_evaluation"


@dataclass(frozen=True, kw_only=True)
class CommittedCircuit:
    """A graph with committed hints: what is committed to in it, what its manifest claims, and how
    many cells of ``columns`` columns the engine fills."""

    onnx: bytes
    arrangement: Arrangement
    claim: Commitments
    columns: int
    cells: int
    constants: int


def random_lookups(logrows: int, columns: int, tables: int) -> int:
    """How many look-ups of random entries hide how often each entry is looked up, in one column of
    one of so many tables.

    Raises ``CannotLower`` where a table has too few entries for that.
    """
    # A few entries fewer than there are, so that it is one column by any count.
    table = (0, entries(logrows) - 1 - UNUSED_ROWS)
    for count in range(_SALT_STEP, _MOST_SALT + 1, _SALT_STEP):
        if hides(Salt(tables=tables, elements=count * columns), table, logrows, columns):
            return count
    raise CannotLower("a table of so few entries cannot be salted")


def write_circuit(
    network: Network,
    steps: Steps,
    *,
    shown: bool,
    columns: int,
    results: Sequence[str],
    lanes: int = 1,
    weights: Weights = Weights.SEALED,
    blinding: int = 0,
) -> CommittedCircuit:
    """The circuit of an integer network. ``shown``: whether inputs are public; ``results``: the
    outputs' names; ``lanes``: how many samples share a proof; ``blinding``: random elements behind
    an input that an identity names. Private weights have no identity yet.

    Raises ``CannotLower`` where private weights leave the table, or could sum up to too much, and
    where an input that an identity names is longer than a column.
    """
    function = network.function_table
    tables = 1 if function is None else 2
    arrangement = Arrangement(
        network=network,
        steps=steps,
        shown=shown,
        looked_up=random_lookups(steps.logrows, columns, tables) * columns,
        lanes=lanes,
        weights=weights,
        blinding=blinding,
    )
    if blinding and sum(network.inputs) + blinding > usable_rows(steps.logrows):
        raise CannotLower("an input that an identity names has more elements than a column")
    bounds = output_bounds(network, steps)
    if weights is Weights.PRIVATE:
        if any(step.kind is Kind.DECIDED for _, step in network.sums):
            raise CannotLower("nothing bounds private constants that an input is compared with")
        if outside(arrangement):
            raise CannotLower("a weight is larger than the table, and private weights are bounded")
        if max(all_largest(widest(network, steps), steps), default=0) >= LARGEST_SUM:
            raise CannotLower("a sum of weights that the table lets pass could outgrow 60 bits")
        # Of weights, and of what they add up to, no bound says anything.
        bounds = [LARGEST_SUM] * len(bounds)
    emission = Emission(Writer(columns, function), arrangement)
    evaluated, residues = emission.run(results)
    claim = Commitments(
        weights=weights,
        network_sha256=sha256(arrangement.to_bytes()),
        elements=arrangement.elements,
        residues=residues,
        output_bounds=tuple(bounds),
        evaluated=evaluated,
        folded=None if emission.folded is None else emission.folded.size,
        lanes=lanes,
        private=emission.private_size,
        blinding=blinding or None,
        function=None if function is None else (function.op, function.scale),
    )
    writer = emission.writer
    return CommittedCircuit(
        onnx=writer.bytes(),
        arrangement=arrangement,
        claim=claim,
        columns=columns,
        cells=writer.cells,
        constants=writer.stand_ins,
    )


@dataclass
class Row:
    """A row in the circuit: its elements ``all`` lane after lane and, made when first asked for,
    all lanes ``joined`` under powers of their challenge."""

    all: Tensor | None
    joined: Tensor | None = None


class Emission:
    """One circuit being written.

    Look-ups and products of values are each lane's. Whatever is linear in a row is so in all lanes
    under powers of their challenge, too: the rest of the circuit is that of one lane.
    """

    def __init__(self, writer: Writer, arrangement: Arrangement) -> None:
        self.writer, self.arrangement = writer, arrangement
        self.network, self.steps = arrangement.network, arrangement.steps
        self.lanes = arrangement.lanes
        data = writer.input(DATA, arrangement.elements)
        sums = [step for _, step in self.network.sums]
        self.private_size: int | None = None
        if arrangement.weights is Weights.PRIVATE:
            self.private_size = self._private_weights()
        self.folded: Tensor | None = None
        if arrangement.weights is Weights.SHOWN:
            self.folded = writer.input(FOLDED, sum(folded_count(step) for step in sums))
        self.taken = 0
        names = challenge_names(self.lanes, arrangement.weights)
        self.point = writer.input(POINT, len(names))
        places = [n for piece in arrangement.pieces for n in range(*piece)]
        self.parts: dict[str, Tensor] = {}
        at = 0
        for part in arrangement.parts:
            self.parts[part.name] = writer.take(data, places[at : at + part.size])
            at += part.size
        largest = all_largest(self.network, self.steps)
        self.packs = [
            Packing.of(step, largest[n], self.steps, self.steps.divisor(n))
            if arrangement.weights is Weights.SEALED
            else Packing.none(step)
            for n, step in enumerate(sums)
        ]
        self.powers = Powers.of(writer, self.point, names, sums, self.packs, self.lanes)
        self.rows: list[Row] = []

    def run(self, results: Sequence[str]) -> tuple[tuple[int, int] | None, int]:
        """Writes everything; the shape in which the input is evaluated, and how many residues."""
        writer, residues, number = self.writer, [], 0
        given = self._inputs()
        for step in self.network.steps:
            if isinstance(step, Sum):
                hints = self._sum(step, number)
                residues.append(SumResidue(self, step, number, hints).residue())
                number += 1
            else:
                self._local(step)
        for name, table in self.arrangement.salts.items():
            ask = writer.rectified if table is None else writer.looked_up
            total = writer.total(ask(self.parts[name]))
            residues.append(writer.subtract(total, self.parts[f"{name}-sum"]))
        writer.output(SHOWN, writer.add(self.point, self.point))
        evaluated = None if given is None else self._evaluate(given, "input", EVALUATION)
        if self.folded is not None:
            self._evaluate(self.folded, "weights", WEIGHTS_EVALUATION)
        for name, output in zip(results, self.network.outputs, strict=True):
            writer.output(name, self._result(output))
        writer.output(RESIDUES, writer.join(residues))
        return evaluated, sum(r.size for r in residues)

    # --- private weights ----------------------------------------------------------------------

    def _private_weights(self) -> int:
        """Reads the committed weights as the table lets them pass, and each sum's constants; how
        many elements their tensor has."""
        writer, weights = self.writer, bounded(self.arrangement)
        sizes = [part.size for part in (*weights, *unbounded(self.arrangement))]
        *starts, size = np.cumsum([0, *sizes]).tolist()
        pieces = salted_pieces(size, self.steps.logrows)
        given = writer.input(WEIGHTS, pieces[-1][1])
        places = [n for piece in pieces for n in range(*piece)]
        terms = [term for _, step in self.network.sums for term in step.convolutions]
        end = sum(sizes[: len(terms)])
        self._weights = writer.rectified(writer.take(given, places[:end])) if end else given
        self._weight_starts = dict(zip(terms, starts, strict=False))
        self._constants = writer.take(given, places[end:])
        self._constant_starts = [start - end for start in starts[len(terms) :]]
        return given.size

    def private_weights(self, term: Convolution, places: Integers) -> Tensor:
        """Weights of a convolution, with the offset, by their places in it and in their shape."""
        found = self.gather([self._weights], self._weight_starts[term] + places.reshape(-1))
        return self.writer.reshape(found, places.shape)

    def private_constants(self, number: int, size: int) -> Tensor:
        """A sum's constants, as a row."""
        start = self._constant_starts[number]
        return self.gather([self._constants], np.arange(start, start + size))

    # --- rows ---------------------------------------------------------------------------------

    @cached_property
    def zero(self) -> Tensor:
        """A zero, for what is no element of any row."""
        nothing = self.writer.constant(np.zeros((1, 1), dtype=np.int64))
        return self.writer.multiply(self.writer.cut(self.point, 0, 1), nothing)

    def joined(self, row: Row) -> Tensor:
        if row.joined is None:
            assert row.all is not None
            row.joined = self.powers.join_lanes(row.all)
        return row.joined

    def view(self, view: View) -> Tensor:
        """A view of joined rows."""
        tensors = [self.joined(self.rows[row]) for row in view.rows]
        return self.gather(tensors, view.places.reshape(-1))

    def view_all(self, view: View) -> Tensor:
        """A view of each lane, lane after lane."""
        tensors, sizes = [], [self.network.sizes[row] for row in view.rows]
        for number in view.rows:
            row = self.rows[number]
            assert row.all is not None
            tensors.append(row.all)
        flat = view.places.reshape(-1)
        starts = np.cumsum([0, *sizes])
        own = np.searchsorted(starts, flat, side="right") - 1
        firsts, lengths = starts[own], np.array([*sizes, 0])[own]
        every = [
            np.where(flat == ZERO, ZERO, firsts * self.lanes + lane * lengths + flat - firsts)
            for lane in range(self.lanes)
        ]
        return self.gather(tensors, np.concatenate(every))

    def gather(self, tensors: Sequence[Tensor], places: Integers) -> Tensor:
        """Elements of tensors behind one another, and zeros."""
        size = sum(t.size for t in tensors)
        own = [*tensors]
        if np.any(places == ZERO):
            own.append(self.zero)
            places = np.where(places == ZERO, size, places)
        value = self.writer.join(own)
        if np.array_equal(places, np.arange(value.size)):
            return value
        return self.writer.take(value, places.tolist())

    def offsets(self, view: View) -> Integers:
        """What a view's elements count more than they mean, in its shape."""
        return offsets_of(view, self.arrangement.row_offsets)

    def _inputs(self) -> Tensor | None:
        """The rows of the inputs, and what is evaluated of them: all, joined, where they are
        public; what the circuit reads and random elements behind, where an identity names them."""
        given = self.parts["input"]
        if not self.arrangement.shown:
            given = self.writer.rectified(given)
        total, at = sum(self.network.inputs), 0
        every = self.powers.join_lanes(given) if self.arrangement.shown else None
        for number, size in enumerate(self.network.inputs):
            places = [lane * total + at + n for lane in range(self.lanes) for n in range(size)]
            row = Row(all=self._with_digits(self.gather([given], np.array(places)), number))
            if every is not None:  # it is evaluated, so it is joined anyway
                row.joined = self.gather([every], np.arange(at, at + size))
            self.rows.append(row)
            at += size
        if self.arrangement.blinding:
            offsets = np.concatenate(self.arrangement.row_offsets[: len(self.network.inputs)])
            whole = self.writer.join([row.all for row in self.rows if row.all is not None])
            return self.writer.join([self.less(whole, offsets), self.parts["blinding"]])
        return every

    def _with_digits(self, least: Tensor, number: int) -> Tensor:
        """An input of each lane, of its least digits and the others."""
        writer, value = self.writer, least
        for digit in range(1, self.arrangement.digits(number)):
            more = writer.rectified(self.parts[f"input-{number}-{digit}"])
            place = writer.constant(np.array([[self.steps.base**digit]]))
            value = writer.add(value, writer.multiply(more, place))
        if self.steps.inputs[number].columns and value is not least:
            # The importer would move a cut of a single column before these sums.
            return writer.take(value, range(value.size))
        return value

    def _sum(self, step: Sum, number: int) -> list[Tensor]:
        """A sum's row. Its quotients and remainders as its residue has them, joined: what the table
        gives, so that none is below its range, but for quotients of a rectified sum."""
        given = self.parts[f"quotients-{number}"]
        digits = [
            self.writer.rectified(self.parts[f"remainders-{number}-{n}"])
            for n in range(self.steps.sums[number].digits)
        ]
        bare = step.kind is Kind.RESULT and not digits
        own = given if bare else self.writer.rectified(given)
        row = own
        if step.kind is Kind.RESULT:
            for n in range(len(digits)):  # base · quotient + remainder, from the left
                base = self.writer.constant(np.array([[self.steps.base]]))
                row = self.writer.add(self.writer.multiply(row, base), digits[-1 - n])
        self.rows.append(Row(all=row))
        quotients = given if step.kind is Kind.RECTIFIED else own
        return [self.powers.join_lanes(t) for t in (quotients, *digits)]

    def _local(self, step: Local) -> None:
        writer, left = self.writer, self.offsets(step.left)
        if step.op is Op.TOTAL:
            count = step.left.shape[-1]
            blocks = writer.reshape(self.view(step.left), (step.size, count))
            ones = writer.constant(np.ones((count, 1), dtype=np.int64))
            total = writer.reshape(writer.matmul(blocks, ones), (1, step.size))
            self.rows.append(Row(all=total if self.lanes == 1 else None, joined=total))
            return
        a = self.view_all(step.left)
        if step.op is Op.CHOSEN:
            assert isinstance(step.right, View)
            b = self.less(self.view_all(step.right), self.offsets(step.right))
            self.rows.append(Row(all=writer.multiply(self.less(a, left), b)))
            return
        if isinstance(step.right, View):
            right = self.offsets(step.right)
            b = self.view_all(step.right)
            if step.op is Op.BELOW:
                a, b, left, right = b, a, right, left
            over = self.less(writer.subtract(a, b), left - right)
        elif step.op is Op.BELOW:
            every = np.tile((left + int(step.right)).reshape(-1), self.lanes)
            over = writer.subtract(writer.constant(every[None]), a)
        else:
            over = self.less(a, left + int(step.right))
        over = writer.rectified(over)
        if step.op is Op.RECTIFY:
            self.rows.append(Row(all=over))
        elif step.in_ones:
            one = writer.constant(np.array([[1]]))
            beyond = writer.rectified(writer.subtract(over, one))
            self.rows.append(Row(all=writer.subtract(over, beyond)))
        elif step.op is Op.MINIMUM:
            self.rows.append(Row(all=writer.subtract(a, over)))
        else:
            if not isinstance(step.right, View):
                every = np.tile((left + int(step.right)).reshape(-1), self.lanes)
                b = writer.constant(every[None])
            self.rows.append(Row(all=writer.add(b, over)))

    def less(self, value: Tensor, offsets: Integers) -> Tensor:
        """Elements of each lane, less constants."""
        flat = offsets.reshape(-1)
        if not np.any(flat):
            return value
        if np.all(flat == flat[0]):
            return self.writer.subtract(value, self.writer.constant(flat[:1].reshape(1, 1)))
        return self.writer.subtract(
            value, self.writer.constant(np.tile(flat, value.size // len(flat))[None])
        )

    # --- what is shown ------------------------------------------------------------------------

    def _evaluate(self, given: Tensor, what: str, name: str) -> tuple[int, int]:
        """Gives out elements under two challenges; the shape that they are in."""
        writer = self.writer
        height, width = evaluation_shape(given.size)
        whole, rest = divmod(given.size, width)
        powers = writer.powers(self.powers.challenge(f"{what}-column"), width)
        lines = []
        if whole:
            block = writer.reshape(writer.cut(given, 0, whole * width), (whole, width))
            each = writer.matmul(block, writer.reshape(powers, (width, 1)))
            lines.append(writer.reshape(each, (1, whole)))
        if rest:
            line = writer.cut(given, whole * width, given.size)
            column = writer.reshape(writer.take(powers, range(rest)), (rest, 1))
            lines.append(writer.matmul(line, column))
        rows = writer.powers(self.powers.challenge(f"{what}-row"), height)
        total = writer.matmul(writer.join(lines), writer.reshape(rows, (height, 1)))
        writer.output(name, total)
        return height, width

    def next_folded(self, count: int) -> Tensor | None:
        """The next elements that shown weights fold to; None where weights are constants."""
        if self.folded is None:
            return None
        start, self.taken = self.taken, self.taken + count
        return self.writer.take(self.folded, range(start, self.taken))

    def _result(self, output: View) -> Tensor:
        """An output of each lane, as an operator's that stands for it alone: the engine ties it to
        what is committed to."""
        value, offsets = self.view_all(output), self.offsets(output)
        if np.any(offsets):
            return self.less(value, offsets)
        return self.writer.add(value, self.writer.constant(np.zeros((1, 1), dtype=np.int64)))
