"""The specification of a circuit that is still to be built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from circuits.format.profile import Profile


@dataclass(frozen=True, kw_only=True)
class BuildSpec:
    """The specification of a circuit to build, as in a job's ``request["circuit"]``.

    ``calibration`` is the artifact with calibration data; without it ``ranges`` are declared. The
    ``id`` is a function of the other fields.
    """

    id: str
    model_id: str
    profile: Profile
    calibration: str | None
    ranges: dict[str, tuple[float, float]]

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "model": self.model_id,
            "profile": self.profile.to_json(),
            "calibration": self.calibration,
            "ranges": {name: list(r) for name, r in self.ranges.items()},
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> BuildSpec:
        return cls(
            id=data["id"],
            model_id=data["model"],
            profile=Profile.from_json(data["profile"]),
            calibration=data["calibration"],
            ranges={name: (low, high) for name, (low, high) in data["ranges"].items()},
        )
