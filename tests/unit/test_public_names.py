"""Names that users depend on: a change here changes the interface, so CHANGELOG.md says it."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from circuits.errors import Fault
from prover.cli.doctor import Finding
from prover.cli.root import command_line
from prover.records.job import JobKind, JobState, Stage
from prover.statement.schema import statement_schema

ROOT = Path(__file__).parents[2]


def test_commands() -> None:
    found = get_command(command_line(["zkml"]))
    assert isinstance(found, typer.core.TyperGroup)
    assert {"prove", "batch", "verify", "inspect", "plan", "srs", "keys", "doctor"} <= set(
        found.commands
    )
    assert {"up", "api", "worker", "demo", "bench"} <= set(found.commands)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (
            "prove",
            "--agreement --calibration --json --margin --nonce --out --soundness --target"
            " --tolerance --visibility",
        ),
        (
            "verify",
            "--ezkl --input --json --model --nonce --policy --rebuild --salt --settings --srs-part"
            " --strict --trusted --vk",
        ),
    ],
)
def test_options(command: str, options: str) -> None:
    found = get_command(command_line(["zkml", command]))
    assert isinstance(found, typer.core.TyperGroup)
    found = found.commands[command]
    names = {name for parameter in found.params for name in parameter.opts if name[:2] == "--"}
    assert set(options.split()) <= names


def test_words_in_jobs_and_problems() -> None:
    assert {f.value for f in Fault} >= {"input", "internal", "busy", "not-found"}
    assert {s.value for s in JobState} >= {
        "queued",
        "running",
        "succeeded",
        "failed",
        "canceled",
        "expired",
    }
    assert [s.value for s in Stage] == ["compile", "witness", "prove", "verify", "sign"]
    assert {k.value for k in JobKind} >= {"circuit", "proof", "batch", "pack"}


def test_findings_of_the_doctor() -> None:
    assert [f.name for f in fields(Finding)] == ["name", "level", "detail", "advice"]


def test_routes() -> None:
    paths = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))["paths"]
    assert set(paths) >= {
        "/v1/models",
        "/v1/models/{model_id}",
        "/v1/circuits",
        "/v1/circuits/{circuit_id}",
        "/v1/proofs",
        "/v1/proofs/{job_id}",
        "/v1/proofs/{job_id}/bundle",
        "/v1/proofs/{job_id}/receipt",
        "/v1/batches",
        "/v1/verifications",
        "/healthz",
        "/readyz",
    }


def test_the_predicate() -> None:
    predicate = statement_schema()["$defs"]["Predicate"]["properties"]
    assert set(predicate) >= {
        "receipt",
        "issuer",
        "proof_system",
        "model",
        "circuit",
        "srs",
        "profile",
        "instances",
        "input",
        "outputs",
        "context",
        "proof",
        "accuracy",
    }
