"""``verify_bundle`` in a separate process, timed without interpreter start and imports.

python -m benchmarks.steps.verify_flow BUNDLE
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.sandbox import Sandbox
from prover.verify.bundle import verify_bundle


def main(bundle: str) -> int:
    data = Path(bundle).read_bytes()
    sandbox = Sandbox()
    sandbox.start()
    try:
        engine = EzklEngine(sandbox)
        verify_bundle(
            data, engine=engine
        )  # the sandbox loads the engine while the first call waits
        begin = time.perf_counter()
        report = verify_bundle(data, engine=engine)
        seconds = time.perf_counter() - begin
    finally:
        sandbox.close()
    print(json.dumps({"seconds": seconds, "ok": report.ok, "checks": len(report.checks)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
