"""The machinery of verification: no check crashes its caller, none goes missing in silence."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import cast

from circuits.engine.port import Engine
from prover.verify.bundle import verify_bundle
from prover.verify.checks.evidence import Evidence, Step, perform, refuse, skip, warn
from prover.verify.policy import Policy
from prover.verify.report import Check, Layer, Status

NO_ENGINE = cast(Engine, None)


def performed(*runs: object, strict: bool = False) -> tuple[Check, ...]:
    evidence = Evidence(policy=Policy(strict=strict), engine=NO_ENGINE, now=datetime.now(UTC))
    steps = [Step(n, "check", Layer.SCHEMA, run) for n, run in enumerate(runs, 1)]  # type: ignore[arg-type]
    return perform(steps, evidence)


def test_every_check_is_reported_whatever_the_others_found() -> None:
    checks = performed(
        lambda e: "fine",
        lambda e: refuse("wrong"),
        lambda e: warn("beware"),
        lambda e: skip("not asked for"),
        lambda e: 1 / 0,
    )
    assert [c.status for c in checks] == ["pass", "fail", "warn", "skip", "fail"]
    assert "ZeroDivisionError" in checks[-1].detail


def test_strictness_turns_warnings_into_failures() -> None:
    (check,) = performed(lambda e: warn("beware"), strict=True)
    assert check.failed


def test_what_is_missing_is_skipped_only_after_the_failure_that_explains_it() -> None:
    def needs(e: Evidence) -> str:
        return str(e.bundle.value)

    (alone,) = performed(needs)
    assert alone.status is Status.FAIL
    _, after = performed(lambda e: refuse("no bundle"), needs)
    assert after.status is Status.SKIP


def test_bytes_that_are_no_bundle_get_the_whole_list() -> None:
    for data in (b"", b"PK\x03\x04", b"{}" * 100):
        report = verify_bundle(data, engine=NO_ENGINE)
        assert [c.number for c in report.checks] == list(range(1, 41))
        assert not report.ok
        assert report.failures[0].name == "bundle"


def test_the_docstring_lists_the_checks_that_are_performed() -> None:
    listed = verify_bundle.__doc__ or ""
    for check in verify_bundle(b"", engine=NO_ENGINE).checks:
        assert f"({check.number}) {check.name}" in listed


def test_verifying_needs_neither_onnx_nor_a_database() -> None:
    heavy = {
        "onnx",
        "onnxruntime",
        "onnxscript",
        "ezkl",
        "sqlalchemy",
        "redis",
        "celery",
        "fastapi",
    }
    code = (
        "import sys, prover.verify.bundle, prover.verify.bare_proof, circuits.engine.ezkl_engine\n"
        f"sys.exit(', '.join(sorted({heavy!r} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
