"""Usage as JSON and as a table."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from datetime import date, datetime

from pydantic import BaseModel, Field

from prover.records.usage import Grouping, Used


class UsageSumOut(BaseModel):
    """A sum of the ledger. Fields that are not grouped by are null."""

    model: str | None
    caller: str | None = Field(description="The tenant who asked.")
    key: str | None = Field(
        description="The caller's API key (as in `zkml api-keys list`), only for your own tenant."
    )
    owner: str | None = Field(description="The model owner's tenant.")
    circuit: str | None
    day: date | None = Field(description="UTC.")
    jobs: int = Field(description="Entries: ended jobs, and verifications.")
    proofs: int = Field(description="Receipts.")
    verifications: int
    proving_s: float = Field(
        description="The engine's seconds for witness, proof and verification; a shared proof is"
        " divided."
    )
    building_s: float = Field(description="Seconds for circuits.")
    peak_bytes: int | None = Field(description="The peak memory of a job.")


class UsageOut(BaseModel):
    """The tenant's usage, and other tenants' usage of its models."""

    by: list[Grouping]
    since: datetime | None
    until: datetime | None
    items: list[UsageSumOut]


def used_out(used: Used) -> UsageSumOut:
    return UsageSumOut(**asdict(used))


def as_csv(items: list[Used]) -> str:
    """A header and a row for each sum."""
    out = io.StringIO()
    table = csv.DictWriter(out, list(UsageSumOut.model_fields), lineterminator="\r\n")
    table.writeheader()
    for item in items:
        table.writerow({k: "" if v is None else v for k, v in asdict(item).items()})
    return out.getvalue()
