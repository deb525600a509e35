"""The DSSE envelope around a statement."""

from __future__ import annotations

import json

import pytest
from securesystemslib.dsse import Envelope

from circuits.format.digests import canonical_json
from prover.errors import ReceiptInvalid
from prover.statement.bundle import read_bundle
from prover.statement.envelope import MAX_BYTES, PAYLOAD_TYPE, Receipt, sign
from prover.statement.statement import Statement
from tests.conformance.make_vectors import FOLDER, public_key, signer

RECEIPT = read_bundle((FOLDER / "public.zkml").read_bytes()).receipt
ENVELOPE = json.loads(RECEIPT)


def test_another_dsse_implementation_verifies_it() -> None:
    envelope = Envelope.from_dict(json.loads(RECEIPT))
    accepted = envelope.verify([signer(1).public_key], threshold=1)
    assert list(accepted) == [public_key(1).keyid]


def test_what_is_signed_is_dsses_pre_authentication_encoding() -> None:
    receipt = Receipt(payload=b"hello", keyid="k", signature=b"")
    kind = PAYLOAD_TYPE.encode()
    assert receipt.pae == b"DSSEv1 %d %s 5 hello" % (len(kind), kind)


def test_signing_again_gives_the_same_receipt() -> None:
    receipt = Receipt.from_bytes(RECEIPT)
    assert sign(Statement.from_bytes(receipt.payload), signer(1)) == RECEIPT
    assert public_key(1).verifies(receipt.signature, receipt.pae)
    assert not public_key(2).verifies(receipt.signature, receipt.pae)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        RECEIPT + b" ",
        canonical_json({**ENVELOPE, "signatures": []}),
        canonical_json({**ENVELOPE, "signatures": [1]}),
        canonical_json({**ENVELOPE, "signatures": ENVELOPE["signatures"] * 2}),
        canonical_json({**ENVELOPE, "payload": 1}),
        canonical_json({**ENVELOPE, "payloadType": "text/plain"}),
        canonical_json({**ENVELOPE, "more": 1}),
        b" " * (MAX_BYTES + 1),
    ],
    ids=range(12),
)
def test_anything_else_is_no_receipt(data: bytes) -> None:
    with pytest.raises(ReceiptInvalid):
        Receipt.from_bytes(data)
