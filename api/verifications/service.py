"""Stateless verification."""

from __future__ import annotations

from typing import Any

from api.problem import RequestInvalid
from api.requests import parse_json
from api.uploads import Files
from api.verifications.schemas import VerificationOut
from prover.app import App
from prover.verify.report import Status

_PARTS = ("proof", "settings", "vk")
#: Files of a form: a bundle, or the parts of a bare proof.
FILES = frozenset({"bundle", *_PARTS, "srs_part"})


def verify(app: App, bundle: bytes, policy: dict[str, Any] | None) -> VerificationOut:
    """Checks a bundle against a policy."""
    return VerificationOut.model_validate(app.verify(bundle, policy))


def verify_form(app: App, form: Files) -> VerificationOut:
    """Verifies a form's bundle with the form's ``policy``, or its bare proof."""
    files = form.files
    if set(files) == {"bundle"}:
        return verify(app, files["bundle"], _policy(form.fields.get("policy")))
    if "bundle" in files or not set(_PARTS) <= set(files):
        raise RequestInvalid(
            "The form must have either a file 'bundle' or the files of a bare proof.",
            advice="Send 'bundle', or 'proof', 'settings' and 'vk' (and 'srs_part').",
        )
    if "policy" in form.fields:
        raise RequestInvalid("A policy needs a statement, which a bare proof does not have.")
    proof, settings, vk = (files[name] for name in _PARTS)
    answer = app.verify_parts(proof, settings, vk, files.get("srs_part"))
    return VerificationOut.model_validate(answer)


def counts(answer: VerificationOut) -> bool:
    """Whether a verification belongs in the ledger: it is valid and its signer trusted."""
    signer = next((c for c in answer.checks if c.name == "signer"), None)
    return answer.ok and signer is not None and signer.status is Status.PASS


def meter(app: App, answer: VerificationOut) -> None:
    """Records it with the statement's model and circuit."""
    assert answer.statement is not None
    app.store.note_verification(answer.statement["model_sha256"], answer.statement["circuit"])


def _policy(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    policy = parse_json(text.encode())
    if not isinstance(policy, dict):
        raise RequestInvalid("The field 'policy' is not a JSON object.")
    return policy
