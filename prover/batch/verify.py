"""Verification of a batch bundle: each item by itself, shared parts once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import IO

from circuits.engine.port import Engine
from prover.batch.bundle import Entry, open_batch_bundle
from prover.memo import Memo
from prover.verify.bundle import verify_item
from prover.verify.policy import Policy
from prover.verify.report import Report


def verify_batch(
    file: IO[bytes],
    *,
    engine: Engine,
    policy: Policy | None = None,
    now: datetime | None = None,
) -> Iterator[tuple[Entry, Report]]:
    """The report of each item (see ``verify.verify_bundle``), in the order of the index.

    Raises ``BundleInvalid`` at once for a file that is not a canonical batch bundle. The batch is
    ok only if every report is.
    """
    batch = open_batch_bundle(file)
    memo, about = Memo(), ""
    for entry in batch.entries:
        proof = entry.members.get("proof", "")
        if proof != about:
            memo, about = Memo(), proof
        bundle = batch.bundle(entry)
        yield entry, verify_item(bundle, engine=engine, memo=memo, policy=policy, now=now)
