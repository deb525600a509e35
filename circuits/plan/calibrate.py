"""Fits the cost model on the machine it runs on, from proofs of small made-up circuits.

``zkml doctor --calibrate`` takes a few minutes; the coefficients are kept with the machine's
fingerprint and used only there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy.optimize import nnls

from circuits.committed.arithmetic import InputSteps
from circuits.cost.model import QUANTITIES, CostModel, features
from circuits.engine.port import CircuitFiles, Engine, LayoutStats, Limits, RunArgs, set_up_files
from circuits.errors import CalibrationError, EngineError
from circuits.format.commitments import Commitments
from circuits.format.field import Felts, to_felt
from circuits.format.profile import Profile
from circuits.lower.committed.quantising.steps import choose_steps, integer_network
from circuits.lower.committed.reading.network import read_network
from circuits.lower.committed.reading.responses import responses
from circuits.lower.committed.writing.circuit import write_circuit
from circuits.plan.committed import committed_args
from circuits.plan.effort import SrsOf

#: One proof in this many is left out of the fit, to say how well it predicts.
_HELD_OUT = 4
_LEAST = 12
_PROOFS = 3
#: Bits of integers with committed hints, and of inputs of -1…1.
_BITS, _SCALE = 8, 6


@dataclass(frozen=True, kw_only=True)
class Family:
    """A made-up network: layer widths and the activation between them, in circuits of so many
    ``logrows`` and ``columns``, with ``committed`` hints or without."""

    name: str
    widths: tuple[int, ...]
    activation: str | None
    logrows: Sequence[int] = (8, 10, 12, 13, 14)
    columns: Sequence[int] = (1, 2, 4, 8)
    committed: bool = False


#: Together they vary every term of the model: range checks, lookups and committed columns, and rows
#: against columns. Larger circuits are extrapolated, which linear costs allow. How many cells are
#: filled hardly matters: circuits that were full took at most 8 % longer.
FAMILIES = (
    Family(name="linear", widths=(16, 8), activation=None),
    Family(name="relu", widths=(16, 16, 8), activation="Relu"),
    Family(name="sigmoid", widths=(16, 32, 8), activation="Sigmoid"),
    Family(
        name="committed",
        widths=(16, 16, 8),
        activation="Relu",
        logrows=range(10, 16),
        columns=(1, 2, 4),
        committed=True,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One measured circuit: the least time that a proof took, and the most memory."""

    layout: LayoutStats
    cost: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class _Circuit:
    """A graph, the size that it is proved in, and an input. ``network`` and ``commitments``: of
    committed hints."""

    onnx: bytes
    args: RunArgs
    inputs: list[Felts]
    network: bytes | None = None
    commitments: Commitments | None = None


def measure(
    engine: Engine,
    srs: SrsOf,
    folder: Path,
    limits: Limits,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Sample]:
    """Proves each family in each size, in an order that spreads drift over all of them.

    ``folder`` is for keys and may be removed afterwards. A circuit that does not work at a size is
    left out.
    """
    todo = list(_candidates())
    random.Random(0).shuffle(todo)  # noqa: S311 - an order, not a secret
    samples = []
    for done, circuit in enumerate(todo):
        sample = _measure_one(engine, circuit, srs, folder, limits)
        if sample is not None:
            samples.append(sample)
        if on_progress is not None:
            on_progress(done + 1, len(todo))
    return samples


def fit(samples: Sequence[Sample], source: str) -> CostModel:
    """Non-negative least squares of relative errors; every fourth sample only judges.

    Raises ``CalibrationError`` for too few samples.
    """
    if len(samples) < _LEAST:
        raise CalibrationError(
            f"only {len(samples)} of the calibration circuits could be proved",
            advice="Run `zkml doctor` to see what is wrong with the engine.",
        )
    judged = np.arange(len(samples)) % _HELD_OUT == 0
    coefficients, error = {}, {}
    for quantity in QUANTITIES:
        x = np.array([features(s.layout, quantity) for s in samples], dtype=np.float64)
        y = np.array([s.cost[quantity] for s in samples], dtype=np.float64)
        off = np.abs(x[judged] @ _solve(x[~judged], y[~judged]) - y[judged]) / y[judged]
        error[quantity] = round(float(np.median(off)), 3)
        coefficients[quantity] = tuple(float(f"{v:.6g}") for v in _solve(x, y))
    return CostModel(coefficients=coefficients, error=error, source=source)


def _solve(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients that make the relative errors small; columns are scaled to be comparable."""
    scale = np.maximum(x.max(axis=0), 1e-30)
    solved, _ = nnls(x / scale / y[:, None], np.ones(len(y)))
    return np.asarray(solved / scale, dtype=np.float64)


def _candidates() -> Iterator[_Circuit]:
    for family in FAMILIES:
        for logrows in family.logrows:
            for columns in family.columns:
                made = _committed if family.committed else _plain
                yield made(family, logrows, columns)


def _plain(family: Family, logrows: int, columns: int) -> _Circuit:
    args = RunArgs(
        input_scale=0,
        param_scale=0,
        scale_rebase_multiplier=1,
        logrows=logrows,
        num_inner_cols=columns,
        decomp_base=min(128, 1 << (logrows - 1)),
        decomp_legs=4,
        lookup_range=(-100, 100),
    )
    return _Circuit(onnx=_network(family), args=args, inputs=[[to_felt(1)] * family.widths[0]])


def _committed(family: Family, logrows: int, columns: int) -> _Circuit:
    read = read_network(_network(family))
    drawn = np.random.default_rng(0).uniform(-1, 1, (_LEAST, family.widths[0]))
    steps = choose_steps(
        read,
        responses(read.network, [drawn]).extents,
        base=1 << _BITS,
        logrows=logrows,
        inputs=[InputSteps(scale=_SCALE, offset=1 << _SCALE)],
        margin=2.0,
    )
    integers = integer_network(read, steps)
    made = write_circuit(integers, steps, shown=False, columns=columns, results=["y"])
    return _Circuit(
        onnx=made.onnx,
        args=committed_args(Profile(), logrows, columns, (steps.lowest, steps.base - 1)),
        inputs=[[to_felt(0)] * family.widths[0], [to_felt(0)]],  # the last is the context
        network=made.arrangement.to_bytes(),
        commitments=made.claim,
    )


def _measure_one(
    engine: Engine, circuit: _Circuit, srs: SrsOf, folder: Path, limits: Limits
) -> Sample | None:
    args = circuit.args
    layout = engine.measure_layout(circuit.onnx, [args], limits)[0]
    if isinstance(layout, EngineError) or layout.rows > 1 << args.logrows:
        return None
    path = srs(args.logrows)
    try:
        engine.setup(circuit.onnx, layout.settings, path, folder, limits)
        paths = set_up_files(folder, path)
        if circuit.network is not None:
            paths["hints"] = folder / "network"
            paths["hints"].write_bytes(circuit.network)
        files = CircuitFiles.of(paths, commitments=circuit.commitments)
        proofs = [engine.prove(files, circuit.inputs, limits) for _ in range(_PROOFS)]
    except EngineError:
        return None
    return Sample(
        layout=replace(layout, args=args),
        cost={
            "prove_s": min(p.seconds["prove"] for p in proofs),
            "peak_bytes": float(max(p.peak_rss_bytes for p in proofs)),
            "pk_bytes": float(files.pk.stat().st_size),
            "proof_bytes": float(len(proofs[0].proof)),
        },
    )


def _network(family: Family) -> bytes:
    rng = np.random.default_rng(0)
    nodes, constants, current = [], [], "x"
    pairs = list(zip(family.widths, family.widths[1:], strict=False))
    for i, (wide, narrow) in enumerate(pairs):
        weights = rng.integers(-2, 3, (wide, narrow)).astype(np.float32)
        constants.append(numpy_helper.from_array(weights, f"w{i}"))
        nodes.append(helper.make_node("MatMul", [current, f"w{i}"], [f"m{i}"]))
        current = f"m{i}"
        if family.activation and i < len(pairs) - 1:
            nodes.append(helper.make_node(family.activation, [current], [f"a{i}"]))
            current = f"a{i}"
    graph = helper.make_graph(
        nodes,
        family.name,
        [_tensor("x", family.widths[0])],
        [_tensor(current, family.widths[-1])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def _tensor(name: str, width: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width])
