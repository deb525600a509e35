"""From an integer network to the graph that the engine lays out: its weights are constants, or
elements that they fold to (``circuits.committed.folding``)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product as pairs

import numpy as np

from circuits.committed.arithmetic import UNUSED_ROWS, Steps, entries, largest
from circuits.committed.arrangement import Arrangement
from circuits.committed.claim import (
    CHALLENGES,
    DATA,
    FOLDED,
    LANE,
    POINT,
    Commitments,
    Weights,
    challenge_names,
    evaluation_shape,
)
from circuits.committed.folding import folded_bias, folded_count
from circuits.committed.network import (
    Convolutional,
    Dense,
    Feed,
    Layer,
    Network,
    Shape,
    Term,
    exponents,
    reach,
    tap_exponent,
)
from circuits.digests import sha256
from circuits.hidden import RESIDUES, Salt, hides
from circuits.lower.committed.writing import Tensor, Writer
from circuits.lower.errors import CannotLower

#: Sums below this are smaller than the modulus of BN254's scalar field (253.6 bits).
_FIELD_BITS = 253
#: Random look-ups in one column are a multiple of this, and at most so many.
_SALT_STEP, _MOST_SALT = 10, 10_000
SHOWN, EVALUATION = "zkml_doubled", "zkml_evaluation"
WEIGHTS_EVALUATION = "zkml_weights"


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


def random_lookups(logrows: int, columns: int) -> int:
    """How many look-ups of random entries hide how often each entry is looked up, in one column.

    Raises ``CannotLower`` where a table has too few entries for that.
    """
    # A few entries fewer than there are, so that it is one column by any count.
    table = (0, entries(logrows) - 1 - UNUSED_ROWS)
    for count in range(_SALT_STEP, _MOST_SALT + 1, _SALT_STEP):
        if hides(Salt(tables=1, elements=count * columns), table, logrows, columns):
            return count
    raise CannotLower("a table of so few entries cannot be salted")


def write_circuit(
    network: Network,
    steps: Steps,
    *,
    shown: bool,
    columns: int,
    result: str,
    lanes: int = 1,
    weights: Weights = Weights.SEALED,
) -> CommittedCircuit:
    """The circuit of an integer network. ``shown``: whether the input is public; ``result``: the
    output's name; ``lanes``: how many inputs share a proof."""
    sealed = weights is Weights.SEALED
    packs = [
        _Packing.of(layer, steps) if sealed and isinstance(layer, Dense) else None
        for layer in network.hidden
    ]
    arrangement = Arrangement(
        network=network,
        steps=steps,
        shown=shown,
        padding=tuple(
            0 if pack is None else pack.groups * pack.members - len(layer.bias)
            for pack, layer in zip(packs, network.hidden, strict=True)
        ),
        looked_up=random_lookups(steps.logrows, columns) * columns,
        lanes=lanes,
        weights=weights,
    )
    emission = _Emission(Writer(columns), arrangement, packs)
    evaluated, residues = emission.run(result)
    claim = Commitments(
        weights=weights,
        network_sha256=sha256(arrangement.to_bytes()),
        elements=arrangement.elements,
        residues=residues,
        output_bounds=(largest(network.layers[-1], steps) if network.raw else steps.base - 1,),
        evaluated=evaluated,
        folded=None if sealed else sum(folded_count(layer) for layer in network.layers),
        lanes=lanes,
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


@dataclass(frozen=True)
class _Packing:
    """How a dense layer's outputs are put into numbers of the field: ``groups`` of ``members``, of
    ``bits`` bits each (``circuits.lower.hinting`` has the argument). Quotients and remainders are
    bounded by the table, so that sums given and true ones differ by less than 2^bits."""

    groups: int
    members: int
    bits: int

    @classmethod
    def of(cls, layer: Dense, steps: Steps) -> _Packing:
        given = steps.base * entries(steps.logrows)
        bits = (largest(layer, steps) + given).bit_length()
        groups = math.ceil(len(layer.bias) / (_FIELD_BITS // bits))
        return cls(groups, math.ceil(len(layer.bias) / groups), bits)

    def powers(self, factor: int) -> np.ndarray[tuple[int, ...], np.dtype[np.object_]]:
        """What the members of a group are multiplied by, as a column."""
        found = [factor << (self.bits * m) for m in range(self.members)]
        return np.array(found, dtype=object).reshape(-1, 1)

    def packed(
        self, rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.object_]]:
        """``[n, outputs]`` as ``[n, groups]``."""
        room = self.groups * self.members - rows.shape[1]
        whole = np.vectorize(int, otypes=[object])(np.pad(rows, ((0, 0), (0, room))))
        folded = whole.reshape(len(rows), self.groups, self.members)
        packed: np.ndarray[tuple[int, ...], np.dtype[np.object_]] = (
            folded * self.powers(1)[:, 0]
        ).sum(axis=2)
        return packed


class _Emission:
    """One circuit being written."""

    def __init__(
        self, writer: Writer, arrangement: Arrangement, packs: list[_Packing | None]
    ) -> None:
        self.writer, self.arrangement, self.packs = writer, arrangement, packs
        self.network, self.steps = arrangement.network, arrangement.steps
        data = writer.input(DATA, arrangement.elements)
        self.folded: Tensor | None = None
        if arrangement.weights is Weights.SHOWN:
            count = sum(folded_count(layer) for layer in self.network.layers)
            self.folded = writer.input(FOLDED, count)
        self.taken = 0
        self.names = challenge_names(arrangement.lanes, arrangement.weights)
        self.point = writer.input(POINT, len(self.names))
        places = [n for piece in arrangement.pieces for n in range(*piece)]
        self.parts: dict[str, Tensor] = {}
        at = 0
        for part in arrangement.parts:
            self.parts[part.name] = writer.take(data, places[at : at + part.size])
            at += part.size
        self.output, self.row, self.column = (self._challenge(n) for n in CHALLENGES[:3])
        self._powers()
        self.maps: list[Tensor] = [self._input()]

    def run(self, result: str) -> tuple[tuple[int, int] | None, int]:
        """Writes everything; the shape in which the input is evaluated, and how many residues.

        Look-ups are of each lane's elements. Whatever is linear in these is so in all lanes under
        powers of their challenge, too: the rest of the circuit is that of one lane.
        """
        writer, residues, folded = self.writer, [], []
        for number, layer in enumerate(self.network.hidden):
            low = self._join_lanes(writer.rectified(self.parts[f"remainders-{number}"]))
            if isinstance(layer, Convolutional):
                folded.append(self._convolution(layer, number, low))
            elif self.folded is None:
                residues.append(self._packed_dense(layer, number, low))
            else:
                folded.append(self._folded_dense(layer, number, low))
            self.active = writer.rectified(self.parts[f"quotients-{number}"])
            active = self._join_lanes(self.active)
            self.maps.append(writer.cut(active, 0, active.size - self.arrangement.padding[number]))
        residues = [*self._rescaled(folded), *residues]
        if self.arrangement.gives_result:
            residues.append(self._result_residue())
        looked_up = writer.total(writer.rectified(self.parts["salt"]))
        residues.append(writer.subtract(looked_up, self.parts["sum"]))
        writer.output(SHOWN, writer.add(self.point, self.point))
        evaluated = None
        if self.arrangement.shown:
            evaluated = self._evaluate(self.given, "input", EVALUATION)
        if self.folded is not None:
            self._evaluate(self.folded, "weights", WEIGHTS_EVALUATION)
        writer.output(result, self._result())
        writer.output(RESIDUES, writer.join(residues))
        return evaluated, sum(r.size for r in residues)

    # --- challenges --------------------------------------------------------------------------

    def _challenge(self, name: str) -> Tensor:
        at = self.names.index(name)
        return self.writer.cut(self.point, at, at + 1)

    def _powers(self) -> None:
        maps = [n for n in self.network.hidden if isinstance(n, Convolutional)]
        under = maps if self.folded is None else self.network.layers
        groups = [pack.groups for pack in self.packs if pack is not None]
        if self.arrangement.gives_result:
            groups.append(len(self.network.layers[-1].bias))
        self.of_output = self.writer.powers(
            self.output, max([*groups, *(len(n.bias) for n in under)], default=1)
        )
        if (lanes := self.arrangement.lanes) > 1:
            self.of_lane = self.writer.powers(self._challenge(LANE), lanes)
            self.all_lanes = self.writer.total(self.of_lane)
        self.of_row = self.writer.powers(self.row, max((n.rows.last for n in maps), default=1))
        self.of_column = self.writer.powers(
            self.column, max((n.columns.last for n in maps), default=1)
        )

    def _outputs(self, start: int, end: int) -> Tensor:
        """The powers that tell these outputs, or groups of them, apart."""
        return self.writer.take(self.of_output, range(start, end))

    def _take(self, powers: Tensor, exponents_: list[int] | range) -> Tensor:
        return self.writer.take(powers, [e - 1 for e in exponents_])

    # --- lanes -------------------------------------------------------------------------------

    def _join_lanes(self, value: Tensor) -> Tensor:
        """Elements of all lanes, lane after lane, as a row of their sums under the powers of the
        lanes' challenge."""
        lanes = self.arrangement.lanes
        if lanes == 1:
            return value
        return self.writer.matmul(
            self.of_lane, self.writer.reshape(value, (lanes, value.size // lanes))
        )

    def _in_each_lane(self, constant: Tensor) -> Tensor:
        """What every lane's sum has in it, as their joined sum has it."""
        if self.arrangement.lanes == 1:
            return constant
        return self.writer.multiply(constant, self.all_lanes)

    # --- input and result --------------------------------------------------------------------

    def _input(self) -> Tensor:
        """The input, channels-last, plus its offset where a table bounds it."""
        given = self.parts["input"]
        if not self.arrangement.shown:
            given = self.writer.rectified(given)
        self.given = given = self._join_lanes(given)
        height, width, channels = self.network.input
        order = np.arange(given.size).reshape(channels, height, width).transpose(1, 2, 0)
        return self.writer.take(given, order.reshape(-1).tolist())

    def _evaluate(self, given: Tensor, what: str, name: str) -> tuple[int, int]:
        """Gives out elements under two challenges; the shape that they are in."""
        writer = self.writer
        height, width = evaluation_shape(given.size)
        whole, rest = divmod(given.size, width)
        powers = writer.powers(self._challenge(f"{what}-column"), width)
        lines = []
        if whole:
            block = writer.reshape(writer.cut(given, 0, whole * width), (whole, width))
            each = writer.matmul(block, writer.reshape(powers, (width, 1)))
            lines.append(writer.reshape(each, (1, whole)))
        if rest:
            line = writer.cut(given, whole * width, given.size)
            column = writer.reshape(writer.take(powers, range(rest)), (rest, 1))
            lines.append(writer.matmul(line, column))
        rows = writer.powers(self._challenge(f"{what}-row"), height)
        total = writer.matmul(writer.join(lines), writer.reshape(rows, (height, 1)))
        writer.output(name, total)
        return height, width

    def _next(self, count: int) -> Tensor:
        """The next elements that weights fold to."""
        assert self.folded is not None
        start, self.taken = self.taken, self.taken + count
        return self.writer.take(self.folded, range(start, self.taken))

    def _result(self) -> Tensor:
        """The result of each lane, as an operator's that stands for it alone: the engine ties it to
        what is committed to."""
        writer, lanes = self.writer, self.arrangement.lanes
        if not self.network.raw:
            if lanes == 1:
                return self.maps[-1]
            size, pad = self.active.size // lanes, self.arrangement.padding[-1]
            return writer.take(
                self.active, [lane * size + n for lane in range(lanes) for n in range(size - pad)]
            )
        if not self.arrangement.gives_result:
            return self._sums()
        return writer.add(self.parts["result"], writer.constant(np.zeros((1, 1), dtype=np.int64)))

    def _result_residue(self) -> Tensor:
        """Results that are hints less their true sums, under powers of their challenges."""
        given = self._join_lanes(self.parts["result"])
        if self.folded is None:
            return self._under(self.writer.subtract(given, self._sums()))
        last = self.network.layers[-1]
        assert isinstance(last, Dense)
        return self.writer.subtract(self._under(given), self._product(self._read(last.feed)))

    def _sums(self) -> Tensor:
        """The last layer's sums."""
        last = self.network.layers[-1]
        assert isinstance(last, Dense)
        read = self._read(last.feed)
        sums = self.writer.matmul(read, self.writer.constant(last.weights))
        bias = folded_bias(self.arrangement, last)
        if not np.any(bias):
            return sums
        return self.writer.add(sums, self._in_each_lane(self.writer.constant(bias[None])))

    # --- dense layers ------------------------------------------------------------------------

    def _read(self, feed: Feed) -> Tensor:
        """What a dense layer reads, as a row: sums over the pool's blocks."""
        source = self.maps[feed.source]
        if feed.area == 1:
            return source
        height, width, channels = self.network.shape(feed.source)
        places = np.arange(height * width * channels).reshape(height, width, channels)
        (high, wide), (rows, columns, _) = feed.pool, feed.shape((height, width, channels))
        cut = places[: rows * high, : columns * wide].reshape(rows, high, columns, wide, channels)
        order = cut.transpose(0, 2, 4, 1, 3).reshape(-1, feed.area)
        blocks = self.writer.take(source, order.reshape(-1).tolist())
        ones = self.writer.constant(np.ones((feed.area, 1), dtype=np.int64))
        sums = self.writer.matmul(self.writer.reshape(blocks, order.shape), ones)
        return self.writer.reshape(sums, (1, len(order)))

    def _product(self, read: Tensor) -> Tensor:
        """What a dense layer reads times what its weights fold to, and the bias."""
        weights = self.writer.reshape(self._next(read.size), (read.size, 1))
        bias = self._in_each_lane(self._next(1))
        return self.writer.add(self.writer.matmul(read, weights), bias)

    def _folded_dense(self, layer: Dense, number: int, low: Tensor) -> _Folded:
        true = self._product(self._read(layer.feed))
        quotients = self._under(self._join_lanes(self.parts[f"quotients-{number}"]))
        return _Folded(layer, quotients, self._under(low), true)

    def _packed_dense(self, layer: Dense, number: int, low: Tensor) -> Tensor:
        """The residue: groups of true sums less groups of those given, under the challenge."""
        writer, pack = self.writer, self.packs[number]
        assert pack is not None
        shape = (pack.groups, pack.members)
        true = writer.matmul(
            self._read(layer.feed), writer.constant(pack.packed(layer.weights.astype(np.int64)))
        )
        bias = writer.constant(pack.packed(folded_bias(self.arrangement, layer)[None]))
        true = writer.add(true, self._in_each_lane(bias))
        quotients = writer.reshape(self._join_lanes(self.parts[f"quotients-{number}"]), shape)
        given = writer.add(
            writer.matmul(quotients, writer.constant(pack.powers(self.steps.base))),
            writer.matmul(writer.reshape(low, shape), writer.constant(pack.powers(1))),
        )
        difference = writer.subtract(true, writer.reshape(given, (1, pack.groups)))
        powers = self._outputs(0, pack.groups)
        return writer.matmul(difference, writer.reshape(powers, (pack.groups, 1)))

    # --- convolutions ------------------------------------------------------------------------

    def _fold(
        self, values: Tensor, shape: tuple[int, ...], rows: Tensor, columns: Tensor
    ) -> Tensor:
        """``Σ v[i, j, f] · rows[i] · columns[j]`` for each f, as a row."""
        high, wide, outputs = shape
        part = self.writer.matmul(rows, self.writer.reshape(values, (high, wide * outputs)))
        return self.writer.matmul(columns, self.writer.reshape(part, (wide, outputs)))

    def _under(self, values: Tensor) -> Tensor:
        """A row of outputs under the challenge's powers."""
        powers = self._outputs(0, values.size)
        return self.writer.matmul(values, self.writer.reshape(powers, (values.size, 1)))

    def _convolution(self, layer: Convolutional, number: int, low: Tensor) -> _Folded:
        writer, rows, columns = self.writer, layer.rows, layer.columns
        high, wide = (
            self._take(self.of_row, rows.results),
            self._take(self.of_column, columns.results),
        )
        given = self._join_lanes(self.parts[f"quotients-{number}"])
        quotients = self._fold(given, layer.shape, high, wide)
        given = self._fold(low, layer.shape, high, wide)
        outputs = len(layer.bias)
        if rows.border:
            every = self._take(self.of_column, range(columns.first, columns.last + 1))
            shape = (len(rows.border), columns.length, outputs)
            edge = self._take(self.of_row, rows.border)
            border = self._join_lanes(self.parts[f"rows-{number}"])
            given = writer.add(given, self._fold(border, shape, edge, every))
        if columns.border:
            shape = (rows.outputs, len(columns.border), outputs)
            edge = self._take(self.of_column, columns.border)
            border = self._join_lanes(self.parts[f"columns-{number}"])
            given = writer.add(given, self._fold(border, shape, high, edge))
        true = None
        far = reach([t.height for t in layer.terms]), reach([t.width for t in layer.terms])
        for term in layer.terms:
            for part in self._products(term, far):
                true = part if true is None else writer.add(true, part)
        assert true is not None
        places = self._in_each_lane(writer.multiply(writer.total(high), writer.total(wide)))
        if self.folded is not None:
            true = writer.add(true, writer.multiply(places, self._next(1)))
        return _Folded(layer, self._under(quotients), self._under(given), true, places)

    def _products(self, term: Term, far: tuple[int, int]) -> list[Tensor]:
        """Feature maps times weights, a product of polynomials for each phase."""
        source = self.network.shape(term.feed.source)
        sealed = None if self.folded is not None else self._weights(term)
        found = []
        for (_, high, down), (_, wide, across) in pairs(term.height.phases, term.width.phases):
            values = self._phase(term, source, (high, wide), far)
            if sealed is None:
                each = self.writer.reshape(self._next(source[2]), (source[2], 1))
            else:
                each = self._of_phase(term, sealed, down, across)
            found.append(self.writer.matmul(values, each))
        return found

    def _of_phase(self, term: Term, weights: Tensor, down: list[int], across: list[int]) -> Tensor:
        """A phase's weights under the challenges' powers: a column of channels."""
        writer, channels = self.writer, term.weights.shape[1]
        taps = term.height.taps * term.width.taps
        places = [
            c * taps + t * term.width.taps + u
            for c in range(channels)
            for t, u in pairs(down, across)
        ]
        rows = [tap_exponent(term.height, t) for t, _ in pairs(down, across)]
        columns = [tap_exponent(term.width, u) for _, u in pairs(down, across)]
        powers = writer.multiply(self._take(self.of_row, rows), self._take(self.of_column, columns))
        own = writer.reshape(writer.take(weights, places), (channels, len(rows)))
        return writer.matmul(own, writer.reshape(powers, (len(rows), 1)))

    def _weights(self, term: Term) -> Tensor:
        """Weights under the challenge's powers: a row of channels and, in each, taps."""
        outputs, channels = term.weights.shape[:2]
        own, ours = channels // term.groups, outputs // term.groups
        found = []
        for g in range(term.groups):
            part = term.weights[g * ours : (g + 1) * ours, g * own : (g + 1) * own]
            matrix = part.transpose(1, 2, 3, 0).reshape(-1, ours)
            powers = self._outputs(g * ours, (g + 1) * ours)
            under = self.writer.matmul(
                self.writer.constant(matrix), self.writer.reshape(powers, (ours, 1))
            )
            found.append(self.writer.reshape(under, (1, len(matrix))))
        return self.writer.join(found)

    def _phase(
        self, term: Term, source: Shape, ranges: tuple[range, range], far: tuple[int, int]
    ) -> Tensor:
        """One phase of a feature map under the challenges' powers: a row of channels. The blocks of
        a pool share a power."""
        height, width, channels = source
        places = np.arange(height * width * channels).reshape(height, width, channels)
        rows = [(e, e * term.feed.pool[0] + i) for e in ranges[0] for i in range(term.feed.pool[0])]
        columns = [
            (e, e * term.feed.pool[1] + i) for e in ranges[1] for i in range(term.feed.pool[1])
        ]
        own = places[np.ix_([r for _, r in rows], [c for _, c in columns])]
        high = self._take(self.of_row, [exponents(term.height, e, far[0]) for e, _ in rows])
        wide = self._take(self.of_column, [exponents(term.width, e, far[1]) for e, _ in columns])
        values = self.writer.take(self.maps[term.feed.source], own.reshape(-1).tolist())
        folded = self._fold(values, own.shape, high, wide)
        if term.feed.source or not self.arrangement.offset:
            return folded
        whole = self.writer.multiply(self.writer.total(high), self.writer.total(wide))
        whole = self._in_each_lane(whole)
        offset = self.writer.constant(np.array([[self.arrangement.offset]]))
        return self.writer.subtract(folded, self.writer.multiply(whole, offset))

    def _rescaled(self, folded: list[_Folded]) -> list[Tensor]:
        """The residues of layers that are single elements: base times quotients, remainders and
        border, less products and bias."""
        if not folded:
            return []
        writer = self.writer
        base = writer.constant(np.array([[self.steps.base]]))
        scaled = writer.multiply(writer.join([f.quotients for f in folded]), base)
        given = writer.add(scaled, writer.join([f.given for f in folded]))
        true = writer.join([f.true for f in folded])
        if self.folded is None:
            true = writer.add(true, self._sealed_bias(folded))
        return [writer.subtract(given, true)]

    def _sealed_bias(self, folded: list[_Folded]) -> Tensor:
        """The biases of convolutions at all their places."""
        writer, count = self.writer, len(folded)
        most = max(len(f.layer.bias) for f in folded)
        biases = np.zeros((count, most), dtype=np.int64)
        for n, f in enumerate(folded):
            biases[n, : len(f.layer.bias)] = f.layer.bias
        powers = writer.reshape(self._outputs(0, most), (most, 1))
        bias = writer.reshape(writer.matmul(writer.constant(biases), powers), (1, count))
        places = [f.places for f in folded if f.places is not None]
        return writer.multiply(bias, writer.join(places))


@dataclass(frozen=True)
class _Folded:
    """A layer as single elements: its quotients, remainders with the border (``given``), and
    products under the challenges; of a convolution also the sum of its results' powers. The
    products have the bias in them where weights are folded."""

    layer: Layer
    quotients: Tensor
    given: Tensor
    true: Tensor
    places: Tensor | None = None
