"""A batch bundle: shared parts once, each item the bytes of its own bundle, canonical form."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prover.batch.bundle import BatchBundleWriter, is_batch_bundle, open_batch_bundle
from prover.errors import BundleInvalid
from prover.statement.bundle import Bundle, write_bundle

PROOF = b"a proof of two lanes"
ALONE = Bundle(
    proof=PROOF,
    settings=b"settings",
    vk=b"key",
    srs_part=b"part",
    manifest=b"manifest",
    plan=b"plan",
    receipt=b"receipt 1",
    signer=b"signer",
    input=b"input 1",
)
ITEMS = [
    ("a", 1, ALONE),
    ("b", 2, replace(ALONE, receipt=b"receipt 2", input=b"input 2")),
    (None, 4, replace(ALONE, proof=b"another proof", receipt=b"receipt 4", input=None)),
]


def written() -> bytes:
    out = io.BytesIO()
    writer = BatchBundleWriter(out, "batch-1")
    for item in ITEMS:
        writer.add(*item)
    writer.close()
    return out.getvalue()


GOOD = written()


def test_every_item_comes_back_as_its_own_bundle(tmp_path: Path) -> None:
    batch = open_batch_bundle(io.BytesIO(GOOD))
    assert [(e.id, e.number) for e in batch.entries] == [("a", 1), ("b", 2), (None, 4)]
    assert [write_bundle(batch.bundle(e)) for e in batch.entries] == [
        write_bundle(bundle) for _, _, bundle in ITEMS
    ]
    (tmp_path / "x").write_bytes(GOOD)
    (tmp_path / "y").write_bytes(write_bundle(ALONE))
    assert (is_batch_bundle(tmp_path / "x"), is_batch_bundle(tmp_path / "y")) == (True, False)


def test_what_items_share_is_stored_once_and_is_one_object() -> None:
    batch = open_batch_bundle(io.BytesIO(GOOD))
    assert GOOD.count(PROOF) == 1
    assert batch.bundle(batch.entries[0]).proof is batch.bundle(batch.entries[1]).proof


def test_equal_batches_are_equal_bytes() -> None:
    assert written() == GOOD


@settings(deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_no_other_bytes_are_a_batch_bundle(at: int, change: int) -> None:
    edited = GOOD[:at] + bytes([GOOD[at] ^ change]) + GOOD[at + 1 :]
    for data in (edited, GOOD[:at], GOOD[:at] + bytes([change]) + GOOD[at:], GOOD + GOOD[at:]):
        with pytest.raises(BundleInvalid):
            open_batch_bundle(io.BytesIO(data))
