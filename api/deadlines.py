"""Deadline and urgency of a request's job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from prover.errors import DeadlineInvalid
from prover.records.job import URGENCY

#: The year 10000, in seconds: later dates cannot be printed.
_MAX_SECONDS = 253_402_300_800


class DeadlineIn(BaseModel):
    """The part of a body with deadline and urgency."""

    model_config = ConfigDict(extra="forbid")

    deadline: Annotated[int, Field(strict=True, ge=0, lt=_MAX_SECONDS)] | str | None = Field(
        None,
        description="Seconds since 1970, or an RFC 3339 time with a UTC offset. An unfinished job"
        " expires then.",
    )
    deadline_s: float | None = Field(
        None, strict=True, gt=0, le=1e9, description="The deadline in seconds from now."
    )
    urgency: int = Field(
        URGENCY,
        strict=True,
        ge=0,
        le=7,
        description="Order among your own jobs: 0 before 7.",
    )

    @model_validator(mode="after")
    def _one_deadline(self) -> DeadlineIn:
        if self.deadline is not None and self.deadline_s is not None:
            raise ValueError("give either deadline or deadline_s")
        return self

    def deadline_at(self) -> datetime | None:
        """The deadline's time. Raises ``DeadlineInvalid`` if it is invalid or has passed."""
        now = datetime.now(UTC)
        if self.deadline_s is not None:
            return now + timedelta(seconds=self.deadline_s)
        if self.deadline is None:
            return None
        moment = _moment(self.deadline)
        if moment <= now:
            raise DeadlineInvalid("The deadline has already passed.")
        return moment


def _moment(value: int | str) -> datetime:
    if isinstance(value, int):
        return datetime.fromtimestamp(value, UTC)
    try:
        moment = datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise DeadlineInvalid("deadline is neither seconds nor an RFC 3339 time.") from None
    if datetime.fromisoformat(value).tzinfo is None:
        raise DeadlineInvalid("deadline has no UTC offset.")
    return moment
