"""Jobs from order to bundle in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from circuits.format.profile import Profile
from prover.app import App
from prover.app.requests import NO_OPTIONS
from prover.records.job import Job, JobOptions, JobState
from prover.settings import Settings

#: An input of ``tests.cases.tiny.linear``, and its output.
INPUT = {"x": [[1.0, -1.0, 2.0, 0.0]]}
OUTPUT = [[0.0, 0.25, 2.25]]


def open_app(home: Path, srs: Path, **settings: Any) -> App:
    return App.open(Settings.load(home=home, srs_dir=srs, plan_effort="fast", **settings))


def ordered(
    app: App,
    model: bytes,
    inputs: dict[str, Any],
    profile: Profile | None = None,
    context: dict[str, Any] | None = None,
    options: JobOptions = NO_OPTIONS,
) -> Job:
    record, _ = app.add_model(model, "model")
    return app.request_proof(
        model_id=record.id,
        circuit_id=None,
        payload={"inputs": inputs},
        profile=profile or Profile(),
        context=context,
        options=options,
    )


def proved(app: App, model: bytes, inputs: dict[str, Any], **order: Any) -> Job:
    job = ordered(app, model, inputs, **order)
    app.run(job.id, "test")
    return app.store.job(job.id)


def outputs(job: Job) -> dict[str, Any]:
    assert job.state is JobState.SUCCEEDED, job.problem
    assert job.result is not None
    found: dict[str, Any] = job.result["outputs"]
    return found


def inputs_kept(app: App) -> list[Path]:
    folder = app.settings.home / "artifacts"
    return [p for p in folder.rglob("*") if p.is_file() and "private" in str(p.relative_to(folder))]
