"""The owner's signature of a model and its licence.

The signature is over the *model manifest*, canonical JSON of the model's digest and the licence's
text. The service never has the owner's key. Receipts carry the signature, so that a verifier sees
whose model was proved.

There is no price yet. It would be a field of the manifest beside ``licence``, in a manifest of
another type, and a column of the ledger's entries.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Any

from circuits.format.digests import canonical_json
from prover.errors import EthereumMissing, OwnerSignatureInvalid
from prover.statement.keys import verifies_ed25519

#: The type of a model manifest; under .invalid, as the predicate's type.
MANIFEST_TYPE = "https://zkml-prover.invalid/model/v1"
#: Maximum length of a licence's text.
MAX_LICENCE = 16_384

_ED25519_KEY = re.compile(r"[0-9a-f]{64}")
_ED25519_SIGNATURE = re.compile(r"[0-9a-f]{128}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_EIP191_SIGNATURE = re.compile(r"(?:0x)?[0-9a-fA-F]{130}")
#: Half of secp256k1's order: signatures with a larger ``s`` are refused (EIP-2).
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


class Scheme(enum.StrEnum):
    """How an owner signs."""

    ED25519 = "ed25519"  # ``signer`` is a public key, 64 hex digits
    EIP191 = "eip191"  # ``signer`` is an Ethereum address (personal_sign)


def model_manifest(model_id: str, licence: str) -> bytes:
    """The signed bytes for the model ``sha256:…`` and a licence's text."""
    return canonical_json({"licence": licence, "model": model_id, "type": MANIFEST_TYPE})


@dataclass(frozen=True, kw_only=True)
class OwnerSignature:
    """The signer, scheme and signature of a model's manifest (lower-case hex)."""

    scheme: Scheme
    signer: str
    signature: str

    def check(self, model_id: str, licence: str) -> None:
        """Raises ``OwnerSignatureInvalid`` unless it is ``signer``'s signature of this manifest,
        ``EthereumMissing`` if Ethereum signatures cannot be checked here."""
        manifest = model_manifest(model_id, licence)
        if self.scheme is Scheme.ED25519:
            if not verifies_ed25519(self.signer, bytes.fromhex(self.signature), manifest):
                raise OwnerSignatureInvalid(signer=self.signer)
        elif _recovered(self.signature, manifest) != self.signer:
            raise OwnerSignatureInvalid(signer=self.signer)

    def to_json(self) -> dict[str, Any]:
        return {"scheme": self.scheme.value, "signer": self.signer, "signature": self.signature}

    @classmethod
    def read(cls, scheme: Scheme, signer: str, signature: str) -> OwnerSignature:
        """Parses a client's signature into canonical form. Raises ``OwnerSignatureInvalid``."""
        forms = {
            Scheme.ED25519: (_ED25519_KEY, _ED25519_SIGNATURE),
            Scheme.EIP191: (_ADDRESS, _EIP191_SIGNATURE),
        }
        of_signer, of_signature = forms[scheme]
        if not of_signer.fullmatch(signer):
            raise OwnerSignatureInvalid(f"the signer does not fit scheme {scheme.value}")
        if not of_signature.fullmatch(signature):
            raise OwnerSignatureInvalid(f"the signature does not fit scheme {scheme.value}")
        return cls(
            scheme=scheme,
            signer=signer.lower(),
            signature=signature.lower().removeprefix("0x"),
        )


def _recovered(signature: str, manifest: bytes) -> str:
    """The address that made an EIP-191 signature (version 0x45) of ``manifest``."""
    try:
        from coincurve import PublicKey
        from Crypto.Hash import keccak
    except ImportError:
        raise EthereumMissing from None
    raw = bytes.fromhex(signature)
    recovery = raw[64] - 27 if raw[64] >= 27 else raw[64]
    if recovery not in (0, 1) or int.from_bytes(raw[32:64], "big") > _HALF_ORDER:
        raise OwnerSignatureInvalid("the signature is not canonical (EIP-2)")
    message = b"\x19Ethereum Signed Message:\n%d" % len(manifest) + manifest

    def digest(data: bytes) -> bytes:
        made: bytes = keccak.new(digest_bits=256, data=data).digest()
        return made

    try:
        key = PublicKey.from_signature_and_message(
            raw[:64] + bytes([recovery]), digest(message), hasher=None
        )
    except Exception:  # the library raises various types for an invalid signature
        raise OwnerSignatureInvalid from None
    return "0x" + digest(key.format(compressed=False)[1:])[-20:].hex()
