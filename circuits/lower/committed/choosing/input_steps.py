"""Steps of inputs: how fine their integers are, and what bounds them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from circuits.calibration.samples import Range, Sample
from circuits.committed.arithmetic import ColumnSteps, InputSteps
from circuits.committed.network import ZERO, Integers, Kind, Network, Step, Sum
from circuits.format.tensors import InputEncoding, TensorSpec, scale_wanted
from circuits.lower.committed.quantising.steps import EXACT, FINER_BITS, MOST_FINER
from circuits.lower.committed.reading.columns import Group
from circuits.lower.committed.reading.decisions import bits_for_decisions
from circuits.lower.committed.reading.network import Read
from circuits.lower.graphs import FloatGraph, LoweringTask
from circuits.lower.levels import decided
from circuits.lower.thresholds import bits_between

#: Bits by which an input's steps are finer than those of its smallest column.
_FINER_THAN_COLUMNS = 2


def choose_inputs(
    network: Network,
    graph: FloatGraph,
    task: LoweringTask,
    base: int,
    shown: bool,
    told_apart: int | None,
    least: Mapping[str, Integers],
    columns: Sequence[Sequence[Group]],
) -> list[InputSteps] | None:
    """The steps of all inputs; None where the range of one has too many of them.

    ``shown``: whether they are public, and so bounded by whoever verifies. ``told_apart``:
    fractional bits that tell what is compared with constants from these. ``least``: those
    that tell apart what is decided of each element, by the inputs' names. ``columns``: the groups
    of those that have steps of their own.
    """
    found: list[InputSteps] = []
    for row, tensor in enumerate(graph.signature.inputs):
        accepted, wanted = task.accepted[tensor.name], task.input_scale
        if columns[row]:
            own = split_steps(accepted, columns[row], base, shown)
        elif told_apart is not None and is_tested(network, row):
            own = tested_steps(tensor.dtype, accepted, base, told_apart, shown, wanted)
        else:
            fine = shown and is_rounded(network, row)
            own = input_steps(tensor.dtype, accepted, base, fine=fine, wanted=wanted)
        if own is None:
            return None
        if tensor.name in least and np.any(own.scales(tensor.size) < least[tensor.name]):
            return None
        if not (shown or accepted_input(accepted, tensor, own, base, shown).in_dtype):
            return None
        found.append(own)
    return found


def accepted_input(
    accepted: Range, tensor: TensorSpec, own: InputSteps, base: int, shown: bool
) -> InputEncoding:
    """An input as the circuit accepts it: where its table bounds it, up to the table's ends."""
    lower, upper = accepted if shown else bounded_range(own, base)
    return InputEncoding(tensor=tensor, scale=own.scale, lower=lower, upper=upper)


def whole_range(own: InputSteps, base: int) -> Range:
    """The values of as many steps as an input has."""
    lower, upper = (-own.offset, (base << own.finer) - 1 - own.offset)
    return math.ldexp(lower, -own.scale), math.ldexp(upper, -own.scale)


def bounded_range(own: InputSteps, base: int) -> Range:
    """The values that a circuit bounds an input to: each of its columns has a table of its own."""
    lower, upper = whole_range(own, base)
    if not own.columns:
        return lower, upper
    low, high = zip(*(part.range(base) for part in own.columns), strict=True)
    return max(lower, min(low)), min(upper, max(high))


def is_rounded(network: Network, row: int) -> bool:
    """Whether an input is rounded before anything else is done with it: then how far it lies from
    the middle between two steps decides, and no table is asked."""
    readers = _readers(network, row)
    return bool(readers) and all(isinstance(step, Sum) and step.rounded for step in readers)


def _readers(network: Network, row: int) -> list[Step]:
    """Steps that read a row, and not only zeros in its stead."""
    return [
        step
        for step in network.steps
        if any(row in view.rows and np.any(view.places != ZERO) for view in step.views)
    ]


def compares(network: Network, row: int) -> bool:
    """Whether an input is compared with constants."""
    return any(s.kind is Kind.DECIDED for _, s in network.sums if row in s.views[0].rows)


def is_tested(network: Network, row: int) -> bool:
    """Whether an input is compared with constants, and nothing else is done with it: then no step
    looks it up as it is."""
    readers = _readers(network, row)
    alone = all(isinstance(s, Sum) and s.kind is Kind.DECIDED for s in readers)
    return bool(readers) and alone and not any(row in output.rows for output in network.outputs)


def least_scale(network: Network, row: int, dtype: str) -> int:
    """The scale that an input which is only compared with constants has at least, of whatever
    samples: one that tells these apart."""
    if not dtype.startswith("f"):
        return 0
    places, levels = [], []
    for _, step in network.sums:
        view = step.views[0] if step.kind is Kind.DECIDED else None
        if view is None or row not in view.rows:
            continue
        start = sum(network.sizes[n] for n in view.rows if n < row)
        place = view.places.reshape(-1) - start
        own = (place >= 0) & (place < network.sizes[row])
        op = "GreaterOrEqual" if step.inclusive else "Greater"
        levels.append(decided(op, -step.bias[own])[0])
        places.append(place[own])
    place, level = np.concatenate(places), np.concatenate(levels)
    return max(bits_between(level[place == n]) for n in np.unique(place))


def finest_wanted(read: Read, graph: FloatGraph, samples: Sequence[Sample]) -> dict[str, Integers]:
    """Fractional bits that each element of an input takes at least, by the inputs' names: see
    ``bits_for_decisions``. A comparison of an input as it comes has steps of its own, and one of
    computed values only what tells the numbers apart at which it decides otherwise."""
    return bits_for_decisions(graph.plain, samples[0], read.decided) if samples else {}


def tested_steps(
    dtype: str, accepted: Range, base: int, told_apart: int, shown: bool, wanted: int | None
) -> InputSteps | None:
    """Steps of an input that is only compared with constants: as fine as its values are told from
    these; None where nothing tells them or a range has too many steps. One that is not public has
    whole digits, each of which the table bounds."""
    if dtype.startswith("f") and not told_apart:
        return None
    scale = scale_wanted(dtype, told_apart if wanted is None else wanted)
    return _long_steps(accepted, base, scale, shown)


def split_steps(
    accepted: Range, groups: Sequence[Group], base: int, shown: bool
) -> InputSteps | None:
    """Steps of an input whose columns have steps of their own: finer than any of these."""
    columns = [_column_steps(group, base) for group in groups]
    scale = max(own.scale for own in columns) + _FINER_THAN_COLUMNS
    found = _long_steps(accepted, base, scale, shown)
    return None if found is None else replace(found, columns=tuple(columns))


def _column_steps(group: Group, base: int) -> ColumnSteps:
    """Steps of columns, as fine as the table allows, with as much room on both sides; none below
    zero for what is not."""
    lower, upper = group.accepted
    scale = math.floor(math.log2((base - 1) / (upper - lower)))
    low, high = math.floor(math.ldexp(lower, scale)), math.ceil(math.ldexp(upper, scale))
    if high - low > base - 1:
        scale -= 1
        low, high = math.floor(math.ldexp(lower, scale)), math.ceil(math.ldexp(upper, scale))
    first = low - (base - 1 - (high - low)) // 2
    return ColumnSteps(
        places=group.places, scale=scale, offset=-(max(first, 0) if low >= 0 else first)
    )


def _long_steps(accepted: Range, base: int, scale: int, shown: bool) -> InputSteps | None:
    """Steps of this scale, more than the table has entries."""
    lower, upper = (math.ldexp(end, scale) for end in accepted)
    low, high = math.floor(lower), math.ceil(upper)
    digit = base.bit_length() - 1
    more = max(0, (max(high, 0) - min(low, 0)).bit_length() - digit)
    more = more if shown else math.ceil(more / digit) * digit
    if more > MOST_FINER or base << more > EXACT:
        return None
    return InputSteps(scale=scale, offset=max(0, -low), finer=more)


def input_steps(
    dtype: str, accepted: Range, base: int, *, fine: bool = False, wanted: int | None = None
) -> InputSteps | None:
    """An input's steps, of the scale that is ``wanted`` of floats if any; None where a range has
    more of them than the table. ``fine``: far more than the table has entries."""
    lower, upper = accepted
    if wanted is not None:
        scale = scale_wanted(dtype, wanted)
        low, high = math.floor(math.ldexp(lower, scale)), math.ceil(math.ldexp(upper, scale))
        fits = max(high, 0) - min(low, 0) <= base - 1
        return InputSteps(scale=scale, offset=max(0, -low)) if fits else None
    if fine and dtype.startswith("f"):
        steps = input_steps(dtype, accepted, base << FINER_BITS)
        return None if steps is None else replace(steps, finer=FINER_BITS)
    scale = math.floor(math.log2((base - 1) / max(upper - lower, abs(lower), abs(upper), 1e-9)))
    if not dtype.startswith("f"):
        scale = min(scale, 0)
        if upper - lower > base - 1:
            return None
    low, high = math.floor(math.ldexp(lower, scale)), math.ceil(math.ldexp(upper, scale))
    if max(high, 0) - low > base - 1:
        scale -= 1
        low = math.floor(math.ldexp(lower, scale))
    return InputSteps(scale=scale, offset=max(0, -low))
