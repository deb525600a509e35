"""Checks (5), (6) and (36): the issuer's signature, and the model owner's."""

from __future__ import annotations

from datetime import datetime

from prover.errors import EthereumMissing, OwnerSignatureInvalid
from prover.statement.keys import KeyState, parse_signer_document
from prover.statement.ownership import OwnerSignature
from prover.verify.checks.evidence import (
    Evidence,
    refuse,
    skip,
    warn,
)


# (5)
def signature(e: Evidence) -> str:
    receipt = e.receipt.value
    carried = parse_signer_document(e.bundle.value.signer)
    if carried.keyid != receipt.keyid:
        refuse(f"the bundle has key {carried.keyid[:16]}, the signature names {receipt.keyid[:16]}")
    # The verifier's own record of a key takes precedence: it knows of revocations.
    on_record = (*(e.policy.trusted or ()), *e.policy.own)
    key = next((k for k in on_record if k.keyid == carried.keyid), carried)
    if not key.verifies(receipt.signature, receipt.pae):
        refuse(f"the signature is not that of key {receipt.keyid[:16]}")
    e.signer.fill(key)
    return f"{key.scheme} signature of key {key.keyid[:16]}"


# (6)
def signer(e: Evidence) -> str:
    key = e.signer.value
    known = {k.keyid for k in e.policy.trusted or ()} | (e.policy.keyids or frozenset())
    if e.policy.names_signers and key.keyid not in known:
        refuse(f"key {key.keyid[:16]} is unknown: the policy does not trust it")
    if key.state is KeyState.REVOKED or key.keyid in e.policy.revoked:
        refuse(f"key {key.keyid[:16]} is revoked: {key.reason or 'no reason given'}")
    if key.state is KeyState.RETIRED and key.retired_at is not None:
        issued = datetime.fromisoformat(e.predicate.issued_at)
        if issued > datetime.fromisoformat(key.retired_at):
            refuse(f"key {key.keyid[:16]} was retired at {key.retired_at}, before the issue")
    if not e.policy.names_signers:
        if key.keyid in {k.keyid for k in e.policy.own}:
            return f"key {key.keyid[:16]} is this deployment's own and {key.state.value}"
        warn(f"key {key.keyid[:16]} comes with the bundle: no policy says to trust it")
    return f"key {key.keyid[:16]} is trusted and {key.state.value}"


# (36)
def owner(e: Evidence) -> str:
    claim = e.predicate.owner
    if claim is None:
        skip("the model's manifest is not signed")
    try:
        made = OwnerSignature.read(claim.scheme, claim.signer, claim.signature)
        if made.to_json() != claim.model_dump(mode="json", exclude={"licence"}):
            refuse("the owner's signature is not in canonical form")
        made.check(e.predicate.model.sha256, claim.licence)
    except OwnerSignatureInvalid as error:
        refuse(f"the owner's signature does not match this model's manifest: {error.detail}")
    except EthereumMissing as error:
        warn(f"the signature of {claim.signer} cannot be checked here: {error.advice}")
    return f"{claim.signer[:18]} signed for this model and its licence; identity not checked"
