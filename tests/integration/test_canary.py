"""A private input is only in its own place: a unique number is searched
for in logs, rows, artifacts, metrics and errors, of jobs that succeed and of jobs that fail."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
import structlog

from api.metrics import render
from circuits.engine.ezkl_engine import EzklEngine
from circuits.errors import EngineError
from circuits.format.profile import Profile, Visibility
from prover.app import App
from prover.records.job import Job, JobState
from prover.settings import Settings
from tests.cases import tiny

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CANARY = 0.81234567
#: As people and programs would write it.
TRACES = (
    b"81234567",
    b"0.8123",
    struct.pack("<d", CANARY),
    struct.pack("<f", CANARY),
    struct.pack(">d", CANARY),
)


@pytest.fixture
def app(tmp_path: Path, srs_cache: Path) -> Any:
    opened = App.open(Settings.load(home=tmp_path / "home", srs_dir=srs_cache, plan_effort="fast"))
    yield opened
    opened.close()


def proved(app: App) -> Job:
    model, _ = app.add_model(tiny.linear(), "model")
    job = app.request_proof(
        model_id=model.id,
        circuit_id=None,
        payload={"inputs": {"x": [[CANARY, -1.0, 0.5, 0.25]]}},
        profile=Profile(visibility=Visibility.PRIVATE_INPUT),
        context=None,
    )
    app.run(job.id, "test")
    return app.store.job(job.id)


def test_a_private_input_leaves_no_trace(
    app: App, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    structlog.reset_defaults()  # a command that ran in this process logs defects only
    monkeypatch.setattr("prover.logs._of_commands", [])
    assert proved(app).state is JobState.SUCCEEDED

    def telling(*_: Any, **__: Any) -> None:
        raise EngineError(f"the proof engine failed: value {CANARY} at [{CANARY}, -1.0]")

    monkeypatch.setattr(EzklEngine, "prove", telling)
    failed = proved(app)
    assert failed.state is JobState.FAILED
    assert failed.problem is not None
    assert failed.problem["detail"].startswith("the proof engine failed")

    said = "".join(capfd.readouterr()).encode()
    assert b"attempt_failed" in said
    places = {"logs": said, "metrics": render(app.store), "problem": str(failed.problem).encode()}
    places |= {str(p): p.read_bytes() for p in app.settings.home.rglob("*") if p.is_file()}
    assert any(name.endswith("zkml.db") for name in places)
    found = {name: trace for name, data in places.items() for trace in TRACES if trace in data}
    assert found == {}
