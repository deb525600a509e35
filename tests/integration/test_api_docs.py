"""The commands of docs/http.md, pasted into a shell one after the other, against the real thing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from prover.app import App
from prover.settings import Settings
from tests.unit.fake_app import serving

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "benchmarks" / "demo" / "digits"
ADDRESS = "http://127.0.0.1:8000"
MARK = "-- next --\n"
BETWEEN = f"\necho; echo -n '{MARK}'\n"
COMMANDS = re.findall(
    r"^```sh\n(.*?)^```", (ROOT / "docs" / "http.md").read_text(), re.MULTILINE | re.DOTALL
)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[str]:
    """The API over the real application, whose jobs are run in this process."""
    app = App.open(Settings(home=tmp_path / "home"))
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.05):
            for job_id in app.store.runnable(grace_s=0):
                app.run(job_id, "docs")

    worker = threading.Thread(target=work)
    worker.start()
    try:
        with serving(app) as url:
            yield url
    finally:
        done.set()
        worker.join()
        app.close()


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
@pytest.mark.long
def test_the_commands_do_what_the_page_says(service: str, tmp_path: Path) -> None:
    for name in ("digits.onnx", "sample.json"):
        shutil.copy(DIGITS / name, tmp_path)
    blocks = [BETWEEN.join(("", command)) for command in COMMANDS]
    script = "set -euo pipefail\n" + "".join(blocks).replace(ADDRESS, service)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        check=True,
        text=True,
        timeout=300,
    )
    answers = done.stdout.split(MARK)[1:]

    assert len(answers) == len(COMMANDS)
    problems = [json.loads(a)["code"] for a in answers if a.startswith('{"type":"/problems/')]
    # The one that is looked up, and the job that is canceled after it has ended.
    assert sorted(problems) == ["job_already_done", "model_not_onnx"]
    job = next(json.loads(a) for a in answers if a.startswith('{"id"') and '"proof"' in a)
    assert job["state"] == "succeeded"
    assert (tmp_path / "digits.zkml").stat().st_size > 10_000
    (verdict,) = [json.loads(a) for a in answers if a.startswith('{"ok"')]
    assert verdict["ok"] is True
