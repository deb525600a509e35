"""Verification: stateless, nothing is kept."""

from __future__ import annotations

from typing import Any

from api.port import AppLike
from api.problem import RequestInvalid
from api.requests import parse_json
from api.uploads import Upload
from api.verifications.schemas import VerificationOut


def verify(app: AppLike, upload: Upload) -> VerificationOut:
    """Checks a bundle; the policy is the form's ``policy`` field, a JSON object."""
    answer = app.verify(upload.data, _policy(upload.fields.get("policy")))
    return VerificationOut.model_validate(answer)


def _policy(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    policy = parse_json(text.encode())
    if not isinstance(policy, dict):
        raise RequestInvalid("The field 'policy' is not a JSON object.")
    return policy
