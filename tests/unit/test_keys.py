"""Signing keys: created, rotated, revoked, published."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner

from prover.errors import KeyringUnusable, KeyUnknown, PolicyInvalid, ReceiptInvalid
from prover.statement.keys import (
    KeyRing,
    KeyState,
    PublicKey,
    parse_public_document,
    parse_signer_document,
    signer_document,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def signs(ring: KeyRing, key: PublicKey) -> bool:
    return key.verifies(bytes.fromhex(ring.signer().sign(b"message").signature), b"message")


def test_a_key_is_made_on_first_run_for_the_owner_alone(folder: Path) -> None:
    ring = KeyRing.open(folder)
    assert signs(ring, ring.active)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()} == {0o600}
    assert KeyRing.open(folder).active == ring.active


def test_processes_that_open_at_once_get_one_key(folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: KeyRing.open(folder), range(8)))
    assert len({r.active.keyid for r in rings}) == 1
    assert len(list(folder.glob("*.pem"))) == 1


def test_a_private_key_that_others_can_read_is_not_used(folder: Path) -> None:
    KeyRing.open(folder)
    (pem,) = folder.glob("*.pem")
    pem.chmod(0o644)
    with pytest.raises(KeyringUnusable, match="other users can read"):
        KeyRing.open(folder)


def test_rotation_retires_the_old_key_after_the_overlap(folder: Path) -> None:
    ring = KeyRing.open(folder)
    old = ring.active
    new = ring.rotate(overlap=timedelta(hours=1))
    assert signs(ring, new)
    assert [k.keyid for k in ring.keys] == [new.keyid, old.keyid]
    assert ring.keys[1].state is KeyState.RETIRED
    assert (ring.keys[1].retired_at or "") > new.created_at


def test_revoking_the_active_key_replaces_it(folder: Path) -> None:
    ring = KeyRing.open(folder)
    old = ring.active
    ring.revoke(old.keyid, "lost laptop")
    assert ring.active.keyid != old.keyid
    assert (ring.keys[1].state, ring.keys[1].reason) == (KeyState.REVOKED, "lost laptop")
    with pytest.raises(KeyUnknown):
        ring.revoke("0" * 64, "no such key")


def test_a_key_held_elsewhere_signs_by_its_uri(folder: Path, tmp_path: Path) -> None:
    elsewhere = CryptoSigner.generate_ecdsa()
    path = tmp_path / "other.pem"
    path.write_bytes(elsewhere.private_bytes)
    path.chmod(0o600)
    ring = KeyRing.open(folder)
    key = ring.use_external(f"file2:{path}", elsewhere.public_key)
    assert signs(ring, key)
    assert str(path) not in ring.document().decode()


def test_the_published_set_reads_back_and_holds_no_secret(folder: Path) -> None:
    ring = KeyRing.open(folder)
    ring.rotate()
    document = ring.document()
    assert parse_public_document(document) == ring.keys
    assert b"PRIVATE" not in document
    assert b"pem" not in document


def test_a_key_with_another_keyid_is_refused(folder: Path) -> None:
    first, second = (KeyRing.open(folder).active, CryptoSigner.generate_ed25519().public_key)
    document = KeyRing.open(folder).document()
    forged = document.replace(first.public.encode(), PublicKey.of(second).public.encode())
    with pytest.raises(PolicyInvalid, match="not this key's digest"):
        parse_public_document(forged)
    bare = signer_document(first)
    assert parse_signer_document(bare).keyid == first.keyid
    with pytest.raises(ReceiptInvalid):
        parse_signer_document(bare.replace(first.public.encode(), second.keyid.encode()))


def test_an_ed25519_keyid_is_securesystemslibs_own() -> None:
    public = CryptoSigner.generate_ed25519().public_key
    assert PublicKey.of(public).keyid == public.keyid
