"""Settings: read from the environment, complete without one, honest about mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from prover.errors import SettingsInvalid
from prover.jobs.queue import broker_url, celery_config, visibility_timeout_s
from prover.settings import Settings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in Settings.load().describe():
        monkeypatch.delenv(setting.env, raising=False)


def test_one_variable_moves_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZKML_HOME", str(tmp_path / "a b"))

    settings = Settings.load()

    assert settings.database_url == f"sqlite:///{tmp_path}/a b/zkml.db"
    assert settings.artifacts_url == f"file://{tmp_path}/a%20b/artifacts"
    assert settings.srs_dir == tmp_path / "a b" / "srs"


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert Settings.load().home == tmp_path / ".zkml"
    assert Settings.load(home="~/elsewhere").home == tmp_path / "elsewhere"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ZKML_LEASE_S", "soon"),
        ("ZKML_MAX_ATTEMPTS", "0"),
        ("ZKML_ARTIFACTS_URL", "ftp://host/path"),
        ("ZKML_SRS_POLICY", "any"),
        ("ZKML_SRS_SOURCE_URL", "https://host/srs"),
    ],
)
def test_a_bad_value_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsInvalid, match=variable):
        Settings.load()


def test_a_description_shows_no_password() -> None:
    settings = Settings.load(database_url="postgresql://zk:hunter2@host:5432/zkml")
    shown = {setting.env: setting for setting in settings.describe()}

    assert shown["ZKML_DATABASE_URL"].value == "postgresql://zk:***@host:5432/zkml"
    assert all(setting.description for setting in shown.values())


@pytest.mark.parametrize(
    ("redis_url", "broker"),
    [
        ("redis://:secret@host:6379/1", "redis://:secret@host:6379/1"),
        ("rediss://host/0", "rediss://host/0"),
        ("unix:///run/a%20b/redis.sock", "redis+socket:///run/a%20b/redis.sock?virtual_host=0"),
        ("unix:///run/redis.sock?db=2", "redis+socket:///run/redis.sock?virtual_host=2"),
    ],
)
def test_one_redis_url_serves_redis_and_celery(redis_url: str, broker: str) -> None:
    assert broker_url(Settings.load(redis_url=redis_url)) == broker


@pytest.mark.parametrize("redis_url", [None, "amqp://host"])
def test_a_worker_without_a_queue_reports_it(redis_url: str | None) -> None:
    with pytest.raises(SettingsInvalid, match="ZKML_REDIS_URL"):
        broker_url(Settings.load(redis_url=redis_url))


def test_the_visibility_timeout_outlives_a_job_wherever_celery_reads_it() -> None:
    settings = Settings.load(redis_url="redis://host", engine_deadline_s=4000)
    config = celery_config(settings)
    timeout = visibility_timeout_s(settings)

    assert timeout > 3 * settings.engine_deadline_s  # setup, proof, verification
    assert config["visibility_timeout"] == timeout
    assert config["broker_transport_options"]["visibility_timeout"] == timeout
    assert config["result_backend_transport_options"]["visibility_timeout"] == timeout
