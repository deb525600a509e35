"""Ten thousand rows pass through a process that never holds them together."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROWS = 10_000
LIMIT_MB = 300
PROGRAM = """
import re, sys
from pathlib import Path
from circuits.format.profile import Profile
from prover.app import App
from prover.batch.ingest import ingest
from prover.batch.options import BatchOptions
from prover.settings import Settings

home, rows, model, srs = map(Path, sys.argv[1:])
app = App.open(Settings.load(home=home, redis_url=None, srs_dir=srs, plan_effort="fast"))
app.engine.sandbox.start()
record, _ = app.add_model(model.read_bytes(), "wide")
batch = ingest(app.batches.services, record, rows, Profile(), None, BatchOptions(isolate=True))
app.run(batch.job_id, "test")
batch = app.store.batch(batch.id)
# Not ru_maxrss: that counts the memory of the test run, from before this program was executed.
status = Path("/proc/self/status").read_text()
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", status).group(1)) // 1024
print(batch.state.value, batch.remaining, peak)
app.close()
"""


@pytest.mark.long
def test_ten_thousand_rows_of_64_floats_stay_under_300_mb(tmp_path: Path, srs_cache: Path) -> None:
    from tests.cases.tiny import wide

    rows, model = tmp_path / "rows.jsonl", tmp_path / "model.onnx"
    model.write_bytes(wide(64))
    values = np.random.default_rng(0).uniform(-1, 1, (ROWS, 1, 64))
    with rows.open("w") as out:
        out.writelines(json.dumps({"inputs": {"x": v.tolist()}}) + "\n" for v in values)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "home", rows, model, srs_cache],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    state, remaining, peak_mb = done.stdout.split()
    assert (state, remaining) == ("running", str(ROWS))
    assert int(peak_mb) < LIMIT_MB
