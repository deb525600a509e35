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

from circuits.cost.model import QUANTITIES, CostModel, features
from circuits.engine.port import CircuitFiles, Engine, LayoutStats, Limits, RunArgs, set_up_files
from circuits.errors import CalibrationError, EngineError
from circuits.format.field import to_felt
from circuits.plan.effort import SrsOf

#: k from … to … of the circuits measured: larger ones are extrapolated, which linear costs allow.
LOGROWS = range(8, 15)
COLUMNS = (1, 2, 4, 8)
#: One proof in this many is left out of the fit, to say how well it predicts.
_HELD_OUT = 4
_LEAST = 12


@dataclass(frozen=True, kw_only=True)
class Family:
    """A made-up network: layer widths, the activation between them, rows of input."""

    name: str
    widths: tuple[int, ...]
    activation: str | None
    rows: int


#: Together they vary every term of the model: range checks and lookups, and rows against columns.
FAMILIES = (
    Family(name="linear", widths=(16, 8), activation=None, rows=1),
    Family(name="relu", widths=(16, 16, 8), activation="Relu", rows=1),
    Family(name="sigmoid", widths=(16, 32, 8), activation="Sigmoid", rows=1),
    Family(name="rows", widths=(32, 16, 8), activation="Relu", rows=8),
)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One measured proof."""

    layout: LayoutStats
    cost: dict[str, float]


def measure(
    engine: Engine,
    srs: SrsOf,
    folder: Path,
    limits: Limits,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Sample]:
    """Proves each family at each size and shape, in an order that spreads drift over all of them.

    ``folder`` is for keys and may be removed afterwards. A circuit that does not work at a size is
    left out.
    """
    todo = list(_candidates())
    random.Random(0).shuffle(todo)  # noqa: S311 - an order, not a secret
    samples = []
    for done, (family, args) in enumerate(todo):
        sample = _measure_one(engine, family, args, srs, folder, limits)
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


def _candidates() -> Iterator[tuple[Family, RunArgs]]:
    for k in LOGROWS:
        for columns in COLUMNS:
            for family in FAMILIES:
                yield (
                    family,
                    RunArgs(
                        input_scale=0,
                        param_scale=0,
                        scale_rebase_multiplier=1,
                        logrows=k,
                        num_inner_cols=columns,
                        decomp_base=min(128, 1 << (k - 1)),
                        decomp_legs=4,
                        lookup_range=(-100, 100),
                    ),
                )


def _measure_one(
    engine: Engine, family: Family, args: RunArgs, srs: SrsOf, folder: Path, limits: Limits
) -> Sample | None:
    model = _network(family)
    layout = engine.measure_layout(model, [args], limits)[0]
    if isinstance(layout, EngineError) or layout.rows > 1 << args.logrows:
        return None
    path = srs(args.logrows)
    try:
        engine.setup(model, layout.settings, path, folder, limits)
        files = CircuitFiles.of(set_up_files(folder, path))
        zeros = [[to_felt(1)] * (family.rows * family.widths[0])]
        proofs = [engine.prove(files, zeros, limits) for _ in range(2)]
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
        [_tensor("x", family.rows, family.widths[0])],
        [_tensor(current, family.rows, family.widths[-1])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def _tensor(name: str, rows: int, width: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, width])
