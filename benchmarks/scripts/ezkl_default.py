"""One step of EZKL's documented default flow, in a process of its own.

    python ezkl_default.py STEP WORK [ARGUMENT...]

This file is a program, not a module: its folder has no ``__init__.py``, because within
the packages only ``circuits.engine.calls`` may import ezkl. It does what EZKL's own examples do,
with EZKL's own defaults, and knows nothing of this project, so that the comparison is with EZKL and
not with a second use of our code. The last line on stdout is JSON: ``seconds`` of the call itself,
without interpreter start and import, and what the step has to tell.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The wheel's type stubs call arguments required that have defaults, hence Any.
ezkl: Any = importlib.import_module("ezkl")


def settings(work: Path) -> None:
    arguments = ezkl.PyRunArgs()
    # Set because the Python and command-line defaults differ; these are the examples' values.
    arguments.input_visibility = "public"
    arguments.output_visibility = "public"
    arguments.param_visibility = "fixed"
    ezkl.gen_settings(str(work / "model.onnx"), str(work / "settings.json"), py_run_args=arguments)


def calibrate(work: Path) -> None:
    ezkl.calibrate_settings(
        str(work / "calibration.json"),
        str(work / "model.onnx"),
        str(work / "settings.json"),
        "resources",
    )


def compile_(work: Path) -> None:
    ezkl.compile_circuit(
        str(work / "model.onnx"), str(work / "model.compiled"), str(work / "settings.json")
    )


def srs(path: str, logrows: str) -> None:
    partial = Path(path + ".partial")
    ezkl.gen_srs(str(partial), int(logrows))
    partial.replace(path)


def setup(work: Path, srs_path: str) -> None:
    ezkl.setup(str(work / "model.compiled"), str(work / "vk"), str(work / "pk"), srs_path)


def witness(work: Path) -> None:
    ezkl.gen_witness(
        str(work / "input.json"), str(work / "model.compiled"), str(work / "witness.json")
    )


def prove(work: Path, srs_path: str) -> None:
    ezkl.prove(
        str(work / "witness.json"),
        str(work / "model.compiled"),
        str(work / "pk"),
        str(work / "proof.json"),
        srs_path,
    )


def verify(work: Path, srs_path: str) -> dict[str, Any]:
    good = ezkl.verify(
        str(work / "proof.json"), str(work / "settings.json"), str(work / "vk"), srs_path
    )
    return {"verified": bool(good)}


def outputs(work: Path) -> dict[str, Any]:
    """The circuit's own answers for every sample in ``held_out.json``, without proofs."""
    samples = json.loads((work / "held_out.json").read_text())
    answers = []
    for sample in samples:
        data = json.dumps({"input_data": sample})
        answer = ezkl.gen_witness(data, str(work / "model.compiled"), None)
        answers.append(answer["outputs"])
    return {"outputs": answers}


STEPS: dict[str, Callable[..., dict[str, Any] | None]] = {
    "settings": settings,
    "calibrate": calibrate,
    "compile": compile_,
    "srs": srs,
    "setup": setup,
    "witness": witness,
    "prove": prove,
    "verify": verify,
    "outputs": outputs,
}


def main(step: str, first: str, *rest: str) -> None:
    begin = time.perf_counter()
    output = STEPS[step](first if step == "srs" else Path(first), *rest)
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, **(output or {})}))


if __name__ == "__main__":
    # A panic of the engine is no Exception: it ends this process with a trace on stderr.
    main(*sys.argv[1:])
