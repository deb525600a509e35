"""The ONNX project's node tests: which are accepted, and the results of their integer form.

``python -m benchmarks.node_tests -o FOLDER [--only TEXT] [--every N]``. Each test is a model with
inputs and the outputs that are expected. Inputs that decide a shape are bound to the test's data,
as an exporter would have written them; then the model is rewritten, and refused or accepted. What
has a form in integers is computed in these too, without the engine.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper

from circuits.calibration.samples import covering_ranges
from circuits.errors import InputNotFinite, ModelError, ZkmlError
from circuits.format.input_forms import by_name
from circuits.format.tensors import quantised
from circuits.lower import BitWidths, CannotLower, lower, run_integers
from circuits.rewrite import Rewritten, rewrite
from circuits.rewrite.compare import run

#: Bits with which rounding hardly shows.
_FINE = BitWidths(input=14, weights=(14,), table=12)
#: Operands that decide a shape, or that exporters write as constants (steps of quantisation, places
#: that are scattered to), by operator.
_DECIDING = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "CumProd": (1,),
    "ConvInteger": (2, 3),
    "CumSum": (1,),
    "DFT": (1, 2),
    "DequantizeLinear": (1, 2),
    "Dropout": (1, 2),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "GRU": (4,),
    "LSTM": (4,),
    "MatMulInteger": (2, 3),
    "MaxUnpool": (2,),
    "OneHot": (1,),
    "Pad": (1, 2, 3),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QuantizeLinear": (1, 2),
    "RNN": (4,),
    "Range": (0, 1, 2),
    "ReduceL1": (1,),
    "ReduceL2": (1,),
    "ReduceLogSum": (1,),
    "ReduceLogSumExp": (1,),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceMin": (1,),
    "ReduceProd": (1,),
    "ReduceSum": (1,),
    "ReduceSumSquare": (1,),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "STFT": (1, 3),
    "ScatterND": (1,),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Trilu": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of a test: ``accepted``, ``refused`` (by ``code`` and ``detail``) or ``defect``
    (an internal error); ``error`` is the rewritten model's largest difference from the outputs
    expected, over their range, ``integers`` that of its integers, where it has such a form."""

    name: str
    operators: tuple[str, ...]
    verdict: str
    code: str = ""
    detail: str = ""
    error: float | None = None
    integers: float | None = None


def cases() -> list[Any]:
    """All node tests with data."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [case for case in collect_testcases() if case.data_sets]


def judge(case: Any) -> Verdict:
    """One test, up to rewriting."""
    operators = tuple(sorted({node.op_type for node in case.model.graph.node}))
    try:
        model, sample, expected = prepared(case)
        data = model.SerializeToString()
        if any(values.dtype.kind not in "biuf" for values in sample.values()):
            named = {name: values.tolist() for name, values in sample.items()}
            sample = by_name(named, rewrite(data, []).signature).row(0)  # texts as their numbers
        found = rewrite(data, [sample])
    except ZkmlError as error:
        ours = type(error) is ModelError and ": pass " in error.detail
        return Verdict(
            name=case.name,
            operators=operators,
            verdict="defect" if ours else "refused",
            code=error.code,
            detail=error.detail,
        )
    except Exception as error:
        detail = f"{type(error).__name__}: {error}"[:300]
        return Verdict(name=case.name, operators=operators, verdict="defect", detail=detail)
    return Verdict(
        name=case.name,
        operators=operators,
        verdict="accepted",
        error=difference(run(found.onnx, [sample])[0], expected),
        integers=simulated(found, sample, expected),
    )


def simulated(
    found: Rewritten, sample: dict[str, NDArray[Any]], expected: list[Any]
) -> float | None:
    """How far the model's integers are from what is expected, with as many bits as may be of use;
    None where it has no such form."""
    try:
        accepted = covering_ranges(sample, ())
        variant = lower(found.onnx, _FINE, accepted)
    except (CannotLower, ZkmlError):
        return None
    scales = zip(accepted, variant.input_scales, strict=True)
    feeds = {name: quantised(sample[name][None], scale) for name, scale in scales}
    got = [
        np.ldexp(np.asarray(values, dtype=np.float64)[0], -scale)
        for values, scale in zip(run_integers(variant, feeds), variant.output_scales, strict=True)
    ]
    return difference(got, expected)


def prepared(case: Any) -> tuple[ModelProto, dict[str, NDArray[Any]], list[Any]]:
    """The model with shape inputs bound, the other inputs, and the expected outputs.

    Raises ``ModelError`` for inputs that are not tensors, ``InputNotFinite``.
    """
    inputs, outputs = case.data_sets[0]
    model = ModelProto()
    model.CopyFrom(case.model)
    names = [value.name for value in model.graph.input]
    given = dict(zip(names, inputs, strict=False))
    if any(isinstance(value, (list, dict)) or value is None for value in given.values()):
        raise ModelError("an input is a sequence, a map or an optional")
    arrays = {
        name: numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)
        for name, value in given.items()
    }
    for name, values in arrays.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputNotFinite(f"input {name!r} holds NaN or an infinity")
    bind = _deciding(model) & arrays.keys()
    for position in reversed(range(len(model.graph.input))):
        if model.graph.input[position].name in bind:
            del model.graph.input[position]
    for name in sorted(bind):
        model.graph.initializer.append(numpy_helper.from_array(arrays[name], name))
    return model, {n: a for n, a in arrays.items() if n not in bind}, list(outputs)


def _deciding(model: ModelProto) -> set[str]:
    """Inputs that decide a shape, directly or through operators."""
    wanted: set[str] = set()
    for node in reversed(model.graph.node):
        for position in _DECIDING.get(node.op_type, ()):
            if position < len(node.input) and node.input[position]:
                wanted.add(node.input[position])
        if wanted.intersection(node.output) and node.op_type not in ("Shape", "Size"):
            wanted.update(node.input)
    return wanted


def difference(got: Sequence[NDArray[Any]], expected: list[Any]) -> float:
    """The largest difference of outputs from what is expected, over its range."""
    worst = 0.0
    for want, have in zip(expected, got, strict=False):
        held = numpy_helper.to_array(want) if isinstance(want, TensorProto) else want
        values = np.asarray(held, dtype=np.float64)
        if values.size != have.size:
            return float("inf")
        finite = np.isfinite(values)
        if not finite.any():
            continue
        largest = float(np.abs(values[finite]).max())
        width = float(np.ptp(values[finite]))
        spread = (width if width > 1e-2 * largest else largest) or 1.0
        worst = max(
            worst, float(np.abs(values[finite] - have.reshape(values.shape)[finite]).max()) / spread
        )
    return worst


def table(verdicts: list[Verdict]) -> Iterator[str]:
    """The results of the tests, by verdict and reason."""
    counts = Counter(v.verdict for v in verdicts)
    yield f"{len(verdicts)} tests: " + ", ".join(f"{n} {what}" for what, n in counts.items())
    wrong = [v for v in verdicts if v.verdict == "accepted" and (v.error or 0) > 1e-3]
    yield f"accepted and not as expected: {len(wrong)} {[v.name for v in wrong[:40]]}"
    whole = [v for v in verdicts if v.integers is not None]
    off = sorted((v.integers or 0.0, v.name) for v in whole if (v.integers or 0.0) > 1e-2)
    yield f"of these in integers: {len(whole)}, further off than 1 %: {len(off)} {off[:60]}"
    reasons = Counter((v.verdict, v.operators[:3], v.code, v.detail[:140]) for v in verdicts)
    for (verdict, operators, code, detail), count in reasons.most_common():
        if verdict != "accepted":
            yield f"{count:4d} {verdict} {' '.join(operators)} [{code}] {detail}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="only tests with this in their name")
    parser.add_argument("--every", type=int, default=1, help="only every N-th of them")
    options = parser.parse_args()
    chosen = [c for c in cases() if options.only in c.name][:: options.every]
    options.out.mkdir(parents=True, exist_ok=True)
    verdicts = []
    with (options.out / "node-tests.jsonl").open("w") as out:
        for case in chosen:
            verdicts.append(judge(case))
            out.write(json.dumps(asdict(verdicts[-1])) + "\n")
            out.flush()
    text = "\n".join(table(verdicts))
    (options.out / "node-tests.txt").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
