"""A context's digest: what a contract computes too."""

from __future__ import annotations

import hashlib

import pytest

from prover.errors import ContextInvalid
from prover.statement.context import BITS, Context

CONSUMER = "0x" + "Ab" * 20


def test_the_digest_is_the_low_31_bytes_of_sha256_over_seven_words() -> None:
    context = Context(job_id="j", nonce="n", chain_id=1, consumer=CONSUMER, expires_at=2)
    words = [
        hashlib.sha256(b"zkml-prover/context/v1").digest(),
        (0b1111).to_bytes(32, "big"),
        hashlib.sha256(b"n").digest(),
        (1).to_bytes(32, "big"),
        bytes(12) + bytes.fromhex("ab" * 20),
        (2).to_bytes(32, "big"),
        hashlib.sha256(b"j").digest(),
    ]
    assert context.digest_hex == hashlib.sha256(b"".join(words)).hexdigest()[2:]
    assert context.digest < 1 << BITS


def test_every_field_changes_the_digest_and_absent_is_not_zero() -> None:
    contexts = [
        Context(job_id="j"),
        Context(job_id="k"),
        Context(job_id="j", nonce=""),
        Context(job_id="j", nonce="n"),
        Context(job_id="j", chain_id=0),
        Context(job_id="j", chain_id=1),
        Context(job_id="j", consumer="0x" + "00" * 20),
        Context(job_id="j", consumer=CONSUMER),
        Context(job_id="j", expires_at=0),
        Context(job_id="j", expires_at=1),
    ]
    assert len({c.digest for c in contexts}) == len(contexts)


def test_an_address_has_one_spelling_and_a_time_two() -> None:
    spelled = Context.from_request(
        "j", {"consumer": CONSUMER, "expires_at": "1970-01-01T01:00:02+01:00"}
    )
    assert spelled == Context(job_id="j", consumer=CONSUMER.lower(), expires_at=2)


@pytest.mark.parametrize(
    "request_",
    [
        {"nonce": 1},
        {"nonce": "x" * 257},
        {"nonce": "\ud800"},
        {"chain_id": -1},
        {"chain_id": 1 << 256},
        {"chain_id": True},
        {"consumer": "0x12"},
        {"consumer": "0x" + "ab" * 20 + "\n"},
        {"expires_at": "tomorrow"},
        {"expires_at": "2030-01-01T00:00:00"},
        {"expires_at": 1.5},
        {"job_id": "mine"},
    ],
)
def test_what_is_no_context_is_refused(request_: dict[str, object]) -> None:
    with pytest.raises(ContextInvalid):
        Context.from_request("j", request_)
