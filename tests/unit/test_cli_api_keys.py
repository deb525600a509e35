"""``zkml api-keys``: create, list, revoke; without a key the service listens only on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from prover.cli.api_keys import app
from prover.cli.quotas import app as quotas_app
from prover.errors import (
    ApiKeyExpired,
    ApiKeyNeeded,
    ApiKeyRevoked,
    ApiKeyUnknown,
    SettingsInvalid,
    TenantInvalid,
)
from prover.host.exposure import is_loopback, require_api_key
from prover.records.api_key import check_secret, split_token
from prover.settings import Settings
from prover.store import Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("ZKML_HOME", str(tmp_path))
    with Store.open(Settings.load().database_url) as opened:
        yield opened


def api_keys(*args: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*args, "--json"], catch_exceptions=False)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_key_is_shown_once_and_has_the_requested_properties(store: Store) -> None:
    made = api_keys(
        "create", "--name", "shop", "--tenant", "acme", "--scopes", "proofs,verify",
        "--expires", "2d",
    )  # fmt: skip
    key_id, secret = split_token(made["token"])
    stored = store.find_api_key(key_id)
    assert stored is not None
    assert (stored.tenant, stored.name, sorted(stored.scopes)) == (
        "acme",
        "shop",
        ["proofs", "verify"],
    )
    now = datetime.now(UTC)
    assert check_secret(stored, secret, now) == stored
    with pytest.raises(ApiKeyExpired):
        check_secret(stored, secret, now + timedelta(days=2))
    listed = api_keys("list")
    assert secret not in json.dumps(listed)
    assert [k["id"] for k in listed["keys"]] == [key_id]
    store.note_api_key_used(key_id, now)
    shown = CliRunner().invoke(app, ["list"], catch_exceptions=False, env={"COLUMNS": "200"})
    assert now.isoformat(timespec="minutes") in shown.stdout + shown.stderr


def test_a_revoked_key_stays_in_the_list(store: Store) -> None:
    made = api_keys("create", "--name", "old")
    key_id, secret = split_token(made["token"])
    assert api_keys("revoke", key_id)["key"]["revoked_at"] is not None
    first = api_keys("revoke", key_id)["key"]["revoked_at"]
    assert api_keys("list")["keys"][0]["revoked_at"] == first
    with pytest.raises(ApiKeyRevoked):
        check_secret(store.find_api_key(key_id), secret, datetime.now(UTC))
    with pytest.raises(ApiKeyUnknown):
        api_keys("revoke", "zkml_000000000000")


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("--tenant", "Acme Inc", TenantInvalid),
        ("--tenant", "", TenantInvalid),
        ("--scopes", "proofs,all", SettingsInvalid),
        ("--scopes", "", SettingsInvalid),
        ("--expires", "soon", SettingsInvalid),
        ("--expires", "2020-01-01T00:00:00Z", SettingsInvalid),
        ("--expires", "2030-01-01", SettingsInvalid),
    ],
)
def test_what_cannot_be_made_is_refused(
    store: Store, option: str, value: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        api_keys("create", "--name", "x", option, value)
    assert store.api_keys() == []


def test_without_a_key_nobody_listens_beyond_loopback(store: Store) -> None:
    with pytest.raises(ApiKeyNeeded) as refused:
        require_api_key(store, "0.0.0.0")
    assert "zkml api-keys create" in refused.value.advice
    api_keys("create", "--name", "x")
    require_api_key(store, "0.0.0.0")


@pytest.mark.slow
def test_zkml_up_refuses_before_it_starts_anything(store: Store, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("zkml")), "up", "--host", "0.0.0.0", "--json"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert json.loads(done.stdout)["problem"]["code"] == "api_key_needed"
    assert not (tmp_path / "redis").exists()
    alone = [sys.executable, "-m", "api", "--host", "0.0.0.0", "--port", "0"]
    done = subprocess.run(alone, capture_output=True, check=False, timeout=60)
    assert done.returncode == 2
    assert b"zkml api-keys create" in done.stderr


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("no.such.host.invalid", False),
    ],
)
def test_only_loopback_is_loopback(host: str, alone: bool) -> None:
    assert is_loopback(host) is alone


def test_a_tenants_quota_is_set_and_put_back(store: Store) -> None:
    def quotas(*args: str) -> dict[str, Any]:
        done = CliRunner().invoke(quotas_app, [*args, "--json"], catch_exceptions=False)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    assert quotas("set", "acme", "--running", "2", "--stored-bytes", "0")["quota"]["running"] == 2
    assert quotas("set", "acme", "--queued", "7")["quota"]["running"] == 2
    assert store.quota("acme").queued == 7
    listed = quotas("list")
    assert listed["tenants"]["acme"]["quota"]["queued"] == 7
    assert listed["tenants"]["acme"]["used"]["queued"] == 0
    assert quotas("set", "acme", "--default")["quota"] == listed["general"]
    with pytest.raises(TenantInvalid):
        quotas("set", "No Tenant", "--running", "1")
