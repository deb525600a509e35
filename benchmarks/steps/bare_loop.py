"""The engine's steps in a loop, without the service: the baseline of workers.

python -m benchmarks.steps.bare_loop INPUT.npz COUNT THREADS

``ZKML_HOME`` has one single-lane circuit. Prints ``ready`` once the engine is loaded, and starts at
a line on stdin.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace

import numpy as np

from circuits.engine.port import CircuitFiles
from prover.app import App
from prover.jobs.inputs import encode
from prover.settings import Settings
from prover.statement.context import Context


def main(sample: str, count: str, threads: str) -> int:
    app = App.open(Settings.load())
    found = app.store.every_tenant().circuits(100).items
    record = next(record for record in found if "lanes" not in record.manifest)
    circuit = app.registry.open(record.id)
    assert circuit is not None
    with np.load(sample) as archive:
        inputs = {name: archive[name] for name in archive.files}
    felts = encode(circuit.manifest, inputs, Context.from_request("bare", None))
    files: CircuitFiles = circuit.files
    limits = replace(app.settings.engine_limits, threads=int(threads))
    app.engine.prove(files, felts, limits)
    print("ready", flush=True)
    sys.stdin.readline()
    begin = time.perf_counter()
    for _ in range(int(count)):
        app.engine.prove(files, felts, limits)
    print(json.dumps({"seconds": time.perf_counter() - begin}))
    app.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
