"""``zkml keys``: what an operator does with signing keys, and what verifiers then say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from prover.cli.keys import app
from prover.errors import KeyUnknown
from prover.statement.keys import KeyRing, parse_public_document


@pytest.fixture
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyRing:
    monkeypatch.setenv("ZKML_HOME", str(tmp_path))
    return KeyRing.open(tmp_path / "keys")


def keys(*args: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*args, "--json"], catch_exceptions=False)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_looking_makes_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZKML_HOME", str(tmp_path))
    assert keys("list")["keys"] == []
    with pytest.raises(KeyUnknown, match="no signing keys"):
        keys("export")
    assert list(tmp_path.iterdir()) == []


def test_what_is_exported_is_a_policys_trusted(ring: KeyRing, tmp_path: Path) -> None:
    assert parse_public_document(json.dumps(keys("export")).encode()) == ring.keys
    out = tmp_path / "keys.json"
    assert keys("export", "--out", str(out))["ok"]
    assert out.read_bytes() == ring.document()


def test_rotating_and_revoking(ring: KeyRing) -> None:
    first = ring.active.keyid
    turned = keys("rotate", "--overlap", "2")
    assert turned["key"]["keyid"] == ring.active.keyid != first
    assert turned["previous"]["state"] == "retired"
    gone = keys("revoke", first[:10], "--reason", "lost laptop")
    assert (gone["key"]["state"], gone["key"]["reason"]) == ("revoked", "lost laptop")
    assert [k["state"] for k in keys("list")["keys"]] == ["active", "revoked"]


def test_a_key_is_named_by_enough_digits(ring: KeyRing) -> None:
    for named in (ring.active.keyid[:7], "", "0" * 64):
        with pytest.raises(KeyUnknown):
            keys("revoke", named, "--reason", "none")
