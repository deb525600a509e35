"""How many bits each layer needs: measured on calibration data, in milliseconds a candidate.

Every bit of input or weights makes all later values one bit longer, and what is paid for is the
longest value that a ReLU or a comparison takes apart. The last layer's bits are free: nothing
after it is taken apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.calibration.accuracy import top1_agreement
from circuits.format.tensors import quantised
from circuits.integers.interpreter import run_graph
from circuits.lower.committed.reading.decisions import bits_for_decisions
from circuits.lower.errors import CannotLower
from circuits.lower.lower_graph import lower
from circuits.lower.thresholds import bits_for_thresholds, showing_compared
from circuits.lower.variant import BitWidths, GraphVariant
from circuits.rewrite.compare import run

Sample = Mapping[str, NDArray[Any]]

MIN_BITS, MAX_BITS = 2, 14
#: Bits of tables: below the first nothing is exact enough, the last is as wide as a table may be.
MIN_TABLE, MAX_TABLE = 2, 12
#: Share of the error that tables may use up by themselves.
_TABLE_SHARE = 0.8
#: Share of the tolerance that a choice may use up on its own samples: others may fare worse.
_SAFETY_FACTOR = 0.7
#: A second, finer choice uses this share.
_FINE = 0.25
#: With tables, of which a bit more doubles the rows, there is one between.
_BETWEEN = 0.45
#: Share of the tolerance that values which are compared with constants may use up.
_COMPARED = 0.25
#: Layers are trimmed one by one up to this many, and in this many groups beyond.
_GROUPS = 8
#: Bits of a last layer, which nothing after it takes apart.
_LAST = 12
#: And of the leaves of trees, whose decisions need long numbers anyway.
_LEAVES = 18
#: Bits with which a model is lowered to see what it is made of.
_TYPICAL = BitWidths(input=6, weights=(6,), table=10)


@dataclass(frozen=True)
class Error:
    """Largest error over the output's range, and the share of top answers that are the same."""

    largest: float
    agreement: float

    def within(self, max_error: float, agreement: float) -> bool:
        return self.largest <= max_error and self.agreement >= agreement


class Calibrator:
    """A model with its samples and onnxruntime's answers, against which bits are tried.

    ``onnx`` may have more outputs than the first ``answers`` of them: what it compares with
    constants. These have to be more exact, since nothing else tells how close a decision is.
    """

    def __init__(
        self,
        onnx: bytes,
        samples: Sequence[Sample],
        input_bounds: Mapping[str, tuple[float, float]],
        answers: int | None = None,
    ) -> None:
        self.onnx = onnx
        self.input_bounds = input_bounds
        names = list(input_bounds)
        self.inputs = {n: np.stack([np.asarray(s[n]) for s in samples]) for n in names}
        found = run(onnx, samples)
        self.expected = [np.stack([a[i] for a in found]) for i in range(len(found[0]))]
        self.answers = len(self.expected) if answers is None else answers
        #: The fewest fractional bits of an input: what it is compared with is told apart by them.
        decisions = bits_for_decisions(onnx, samples[0])
        self.least_input = max(
            bits_for_thresholds(onnx, samples),
            *(int(bits.max(initial=0)) for bits in decisions.values()),
        )
        self._errors: dict[BitWidths, Error] = {}

    def variant(self, bits: BitWidths) -> GraphVariant:
        """The model lowered with these bits, not written."""
        return lower(self.onnx, bits, self.input_bounds, write=False)

    def error(self, bits: BitWidths) -> Error:
        """What these bits cost in accuracy; infinite when they cannot be lowered."""
        if bits not in self._errors:
            self._errors[bits] = self._measured(bits)
        return self._errors[bits]

    def _measured(self, bits: BitWidths) -> Error:
        try:
            variant = self.variant(bits)
        except CannotLower:
            return Error(np.inf, 0.0)
        graph = variant.graph
        assert graph is not None
        scales = dict(zip(graph.inputs, variant.input_scales, strict=True))
        feeds = {n: quantised(v, scales[n]) for n, v in self.inputs.items()}
        # Nearly exact is enough here: float64 errs by 2^-53 of a value.
        outputs = run_graph(graph, feeds, np.float64)
        got = [np.ldexp(o, -s) for o, s in zip(outputs, variant.output_scales, strict=True)]
        error = measure(self.expected[: self.answers], got[: self.answers])
        compared = measure(self.expected[self.answers :], got[self.answers :])
        return replace(error, largest=max(error.largest, compared.largest / _COMPARED))


def measure(expected: Sequence[NDArray[np.float64]], got: Sequence[NDArray[np.float64]]) -> Error:
    """The error of outputs ``[samples, …]``."""
    largest, agreement = 0.0, 1.0
    for want, have in zip(expected, got, strict=True):
        if not want.size:
            continue
        spread = float(want.max() - want.min()) or float(np.abs(want).max()) or 1.0
        largest = max(largest, float(np.abs(want - have.reshape(want.shape)).max()) / spread)
        agreement = min(agreement, top1_agreement(want, have.reshape(want.shape)))
    return Error(largest, agreement)


def choose_bits(
    onnx: bytes,
    samples: Sequence[Sample],
    input_bounds: Mapping[str, tuple[float, float]],
    max_error: float,
    agreement: float,
) -> list[BitWidths]:
    """A few choices that keep the tolerance on the samples, from cheap to precise.

    ``onnx`` is the rewritten float graph. Raises ``CannotLower`` when it has no integer form; gives
    an empty list when no choice is exact enough.
    """
    trial = _trial(onnx, samples, input_bounds)
    typical = trial.variant(_TYPICAL)
    found: list[BitWidths] = []
    shares = (_SAFETY_FACTOR, _BETWEEN, _FINE) if typical.scale else (_SAFETY_FACTOR, _FINE)
    for share in shares:
        chosen = _cheapest(trial, typical, max_error * share, agreement)
        if chosen is not None and trial.least_input:
            chosen = _filled(trial, chosen)
        if chosen is not None and chosen not in found:
            found.append(chosen)
    return found


def _filled(trial: Calibrator, choice: BitWidths) -> BitWidths:
    """More bits for the last layer where they cost nothing: comparisons take longer numbers apart,
    and no table grows. A label then differs only where scores are closer than these bits tell."""
    bounds = trial.variant(choice).value_bounds
    for bits in range(_LEAVES, choice.weights[-1], -1):
        finer = replace(choice, weights=(*choice.weights[:-1], bits))
        try:
            found = trial.variant(finer).value_bounds
        except CannotLower:
            continue
        longer = found.decomposed.bit_length() > bounds.decomposed.bit_length()
        if not longer and found.lookup == bounds.lookup:
            return finer
    return choice


def _trial(
    onnx: bytes, samples: Sequence[Sample], input_bounds: Mapping[str, tuple[float, float]]
) -> Calibrator:
    plain = Calibrator(onnx, samples, input_bounds)
    shown = showing_compared(onnx)
    if shown == onnx:
        return plain
    trial = Calibrator(shown, samples, input_bounds, plain.answers)
    try:
        trial.variant(_TYPICAL)
    except CannotLower:  # what is compared has no integer form as an output
        return plain
    return trial


def _cheapest(
    trial: Calibrator, typical: GraphVariant, max_error: float, agreement: float
) -> BitWidths | None:
    """The first choice of table bits, then of uniform bits, that is exact enough, with every bit
    taken away that can be.

    A bit of a table doubles its rows, a bit anywhere else costs little: tables are as coarse as the
    finest of everything else allows. A last layer that no table follows is fine from the start, and
    kept so.
    """
    free = typical.tabled_layers < max(typical.layers, 1)
    for table in _tables(trial, typical, max_error, agreement):
        for bits in range(MIN_BITS, MAX_BITS + 1):
            weights = [bits] * max(typical.layers, 1)
            if free and len(weights) > 1:
                weights[-1] = max(bits, _LAST)
            choice = BitWidths(
                input=max(bits, trial.least_input), weights=tuple(weights), table=table
            )
            if trial.error(choice).within(max_error, agreement):
                return _shrink_bits(trial, choice, len(weights) - free, max_error, agreement)
    return None


def _tables(
    trial: Calibrator, typical: GraphVariant, max_error: float, agreement: float
) -> Iterator[int]:
    """Bits of tables that may do, the fewest first; without tables, any."""
    if not typical.scale:
        yield typical.bits.table
        return
    finest = (MAX_BITS,) * max(typical.layers, 1)
    for table in range(MIN_TABLE, MAX_TABLE + 1):
        best = BitWidths(input=max(MAX_BITS, trial.least_input), weights=finest, table=table)
        if trial.error(best).within(max_error * _TABLE_SHARE, agreement):
            yield table


def _shrink_bits(
    trial: Calibrator, choice: BitWidths, layers: int, max_error: float, agreement: float
) -> BitWidths:
    """Takes bits away one at a time, where it hurts least, while the error allows it.

    Where a bit cannot be spared it mostly cannot later, when others have gone: such places are
    asked again only once nothing else is left.
    """
    everywhere = list(_places(layers))
    places = everywhere
    while True:
        lesser = [(place, _one_less(choice, place, trial.least_input)) for place in places]
        tried = [(p, b, trial.error(b)) for p, b in lesser if b is not None]
        good = [(e.largest, p, b) for p, b, e in tried if e.within(max_error, agreement)]
        if good:
            _, _, choice = min(good, key=lambda g: (g[0], g[1].start))
            places = [place for _, place, _ in good]
        elif len(places) == len(everywhere):
            return choice
        else:
            places = everywhere


def _places(layers: int) -> Iterator[range]:
    """Where a bit may be taken away: at the input (an empty range), or in a group of layers."""
    yield range(0)
    width = max(1, -(-layers // _GROUPS))
    for start in range(0, layers, width):
        yield range(start, min(start + width, layers))


def _one_less(choice: BitWidths, group: range, least_input: int) -> BitWidths | None:
    """The choice with a bit less in one place; None where there are no more to take."""
    if not group:
        return replace(choice, input=choice.input - 1) if choice.input > least_input else None
    if any(choice.weights[i] <= MIN_BITS for i in group):
        return None
    weights = tuple(b - (i in group) for i, b in enumerate(choice.weights))
    return replace(choice, weights=weights)
