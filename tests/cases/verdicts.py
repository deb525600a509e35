"""What verification says of a bundle."""

from __future__ import annotations

from datetime import UTC, datetime

from circuits.engine.ezkl_engine import EzklEngine
from prover.statement.bundle import Bundle, write_bundle
from prover.verify.bundle import verify_bundle
from prover.verify.policy import Policy
from prover.verify.report import Report
from tests.conformance.make_vectors import lane_input, public_key

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def judged(bundle: Bundle, engine: EzklEngine, lane: int | None = None) -> Report:
    return verify_bundle(
        write_bundle(bundle),
        engine=engine,
        policy=Policy(trusted=(public_key(1),)),
        inputs=None if lane is None else lane_input(lane),
        now=NOW,
    )


def names(report: Report) -> list[str]:
    return [c.name for c in report.failures]
