"""The receipt: a statement in a DSSE envelope with one signature.

The envelope is canonical: canonical JSON, standard base64 with padding, one signature.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from circuits.format.digests import canonical_json, parse_canonical_json
from prover.errors import ReceiptInvalid
from prover.statement.bundle import Bundle
from prover.statement.keys import PublicKey, signer_document
from prover.statement.statement import Statement

if TYPE_CHECKING:
    from securesystemslib.signer import Signer

PAYLOAD_TYPE = "application/vnd.in-toto+json"
#: Far above any real receipt; limits parsing.
MAX_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """A parsed envelope, untrusted until ``pae`` verifies under a trusted key."""

    payload: bytes
    keyid: str
    signature: bytes

    @property
    def pae(self) -> bytes:
        """The signed bytes: DSSE's pre-authentication encoding of payload type and payload."""
        kind = PAYLOAD_TYPE.encode()
        return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(self.payload), self.payload)

    def statement(self) -> Statement:
        """The statement inside. Raises ``ReceiptInvalid``."""
        return Statement.from_bytes(self.payload)

    def to_bytes(self) -> bytes:
        """The envelope, canonical."""
        return canonical_json(
            {
                "payload": _encode(self.payload),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"keyid": self.keyid, "sig": _encode(self.signature)}],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Receipt:
        """Reads an envelope strictly. Raises ``ReceiptInvalid``."""
        if len(data) > MAX_BYTES:
            raise ReceiptInvalid(f"the receipt has {len(data)} bytes; at most {MAX_BYTES} are read")
        try:
            envelope = parse_canonical_json(data)
            (signed,) = envelope["signatures"]
            if envelope["payloadType"] != PAYLOAD_TYPE:
                raise ValueError(f"payloadType is not {PAYLOAD_TYPE}")
            if not isinstance(signed["keyid"], str):
                raise ValueError("keyid is not text")
            receipt = cls(
                payload=base64.b64decode(envelope["payload"], validate=True),
                keyid=signed["keyid"],
                signature=base64.b64decode(signed["sig"], validate=True),
            )
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            raise ReceiptInvalid(
                f"the receipt is not a DSSE envelope with one signature: {str(error)[:120]}"
            ) from error
        if receipt.to_bytes() != data:
            raise ReceiptInvalid("the receipt's envelope is not in canonical form")
        return receipt


def sign(statement: Statement, signer: Signer) -> bytes:
    """Signs a statement. The signer's errors pass through."""
    unsigned = Receipt(payload=statement.to_bytes(), keyid="", signature=b"")
    signature = signer.sign(unsigned.pae)
    made = bytes.fromhex(signature.signature)
    return replace(unsigned, keyid=signature.keyid, signature=made).to_bytes()


def sign_bundle(statement: Statement, unsigned: Bundle, signer: Signer) -> Bundle:
    """The bundle with its receipt and the signer's public key."""
    key = signer_document(PublicKey.of(signer.public_key))
    return replace(unsigned, receipt=sign(statement, signer), signer=key)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
