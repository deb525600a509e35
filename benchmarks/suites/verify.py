"""The cost of verification against EZKL's own.

``python -m benchmarks.suites.verify BUNDLE MODEL [TIMES]``

Prints, for one bundle: the median time of raw ``ezkl.verify`` in a process that has it loaded, of
``verify_bundle`` (35 checks, engine in a child process), the allowance (1.5 times raw plus 50 ms),
the bundle's size by member, and what the context input costs: the same graph layout with and
without it. Run it on a quiet machine.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from circuits.calibration.samples import draw
from circuits.compiler.recipe import Recipe
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import LayoutStats, Limits, RunArgs
from circuits.engine.sandbox import Sandbox
from circuits.format.manifest import CircuitManifest
from circuits.format.tensors import Signature
from circuits.rebuild import recompiled_graph
from prover.statement.bundle import Bundle, read_bundle
from prover.verify.bundle import verify_bundle

_RAW = Path(__file__).parents[1] / "scripts" / "raw_verify.py"
_LIMITS = Limits(deadline_s=120, memory_bytes=4 << 30)
_ALLOWED_FACTOR, _ALLOWED_S = 1.5, 0.05


def raw_seconds(bundle: Bundle, times: int) -> list[float]:
    """``ezkl.verify`` of the bundle's parts, call by call."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "proof.json").write_bytes(bundle.proof)
        (place / "settings.json").write_bytes(bundle.settings)
        (place / "vk").write_bytes(bundle.vk)
        (place / "srs").write_bytes(bundle.srs_part)
        command = [sys.executable, str(_RAW), folder, str(times)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds: list[float] = json.loads(done.stdout.splitlines()[-1])["seconds"]
    return seconds


def bundle_seconds(data: bytes, engine: EzklEngine, times: int) -> list[float]:
    """``verify_bundle``, call by call, after one that is not counted."""
    seconds = []
    for _ in range(times + 1):
        begin = time.perf_counter()
        report = verify_bundle(data, engine=engine)
        seconds.append(time.perf_counter() - begin)
        assert report.ok, report.failures
    return seconds[1:]


def context_cost(bundle: Bundle, model: bytes, engine: EzklEngine) -> dict[str, Any]:
    """The circuit's layout with the context input, without it, and the instances that it takes."""
    manifest = CircuitManifest.from_json(json.loads(bundle.manifest))
    args = RunArgs.of(json.loads(bundle.settings))
    signature = Signature(
        inputs=tuple(i.tensor for i in manifest.inputs),
        outputs=tuple(o.tensor for o in manifest.outputs),
    )
    recipe = Recipe.of(manifest)
    samples = list(draw(signature, recipe.accepted).plan)
    costs = {}
    for name, limbs in (("with", recipe.limbs), ("without", 0)):
        same = dataclasses.replace(recipe, limbs=limbs)
        without_context = engine.sandbox.call(
            f"{recompiled_graph.__module__}:recompiled_graph", model, samples, same, limits=_LIMITS
        )
        (layout,) = engine.measure_layout(without_context.onnx, [args], _LIMITS)
        if not isinstance(layout, LayoutStats):
            raise layout
        costs[name] = {"rows": layout.rows, "assignments": layout.assignments}
    return costs | {"instances": manifest.context.limbs * manifest.lanes}


def main(bundle_path: str, model_path: str, times: str = "20") -> int:
    data = Path(bundle_path).read_bytes()
    bundle = read_bundle(data)
    sandbox = Sandbox()
    sandbox.start()
    try:
        engine = EzklEngine(sandbox)
        ours = statistics.median(bundle_seconds(data, engine, int(times)))
        raw = statistics.median(raw_seconds(bundle, int(times)))
        context = context_cost(bundle, Path(model_path).read_bytes(), engine)
    finally:
        sandbox.close()
    sizes = {f.name: len(getattr(bundle, f.name) or b"") for f in dataclasses.fields(bundle)}
    allowed = _ALLOWED_FACTOR * raw + _ALLOWED_S
    output = {
        "raw_s": round(raw, 5),
        "bundle_s": round(ours, 5),
        "allowed_s": round(allowed, 5),
        "within": ours <= allowed,
        "bytes": len(data),
        "members": sizes,
        "context": context,
    }
    print(json.dumps(output, indent=2))
    return 0 if ours <= allowed else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
