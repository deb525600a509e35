"""docs/examples/zkml.ts: compiled strictly, and run by Node against a service. Where there is no
Node, or npm cannot fetch the compiler, there is nothing to test it with."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from prover.records.job import JobState
from tests.unit.fake_app import FakeApp, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="needs Node"),
]

ROOT = Path(__file__).parents[2]
PACKAGES = ("typescript@5.9", "standardwebhooks@1", "@types/node@20")
OPTIONS = {
    "strict": True,
    "noUncheckedIndexedAccess": True,
    "target": "es2022",
    "module": "commonjs",
    "lib": ["es2022", "dom", "dom.iterable"],
    "types": ["node"],
    "esModuleInterop": True,
    "skipLibCheck": True,
    "outDir": "out",
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver and the client as JavaScript."""
    folder = tmp_path_factory.mktemp("typescript")
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("npm cannot fetch the compiler")
    shutil.copy(ROOT / "docs" / "examples" / "zkml.ts", folder)
    shutil.copy(ROOT / "tests" / "typescript" / "drive.ts", folder)
    (folder / "tsconfig.json").write_text(
        json.dumps({"compilerOptions": OPTIONS, "files": ["drive.ts"]})
    )
    run = subprocess.run(
        ["node", "node_modules/typescript/bin/tsc"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    return folder / "out" / "drive.js"


@pytest.mark.long
def test_it_proves_waits_and_verifies_webhooks(compiled: Path, tmp_path: Path) -> None:
    app = FakeApp(tmp_path / "home")
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.02):
            for job in app.store.jobs(state=JobState.QUEUED).items:
                app.work(job)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        with serving(app) as url:
            run = subprocess.run(
                ["node", str(compiled), url],
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )
    finally:
        done.set()
        worker.join()
        app.close()
    assert (run.returncode, run.stdout) == (0, "ok\n"), run.stderr


def test_it_depends_on_nothing() -> None:
    text = (ROOT / "docs" / "examples" / "zkml.ts").read_text()
    assert "import " not in text
    assert "require(" not in text
