"""Stores that are old, cut short, full or read-only, and a Redis that others use too."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa
from celery import Celery

from circuits.errors import StorageFull
from prover.artifacts import Artifacts
from prover.errors import ArtifactsUnavailable, StoreUnavailable
from prover.host.redis_server import RedisServer
from prover.jobs.queue import celery_config, send_job
from prover.jobs.redis_notifications import RedisNotifications
from prover.records.job import Job, JobKind
from prover.settings import Settings
from prover.store import Store
from prover.store.migrate import step_back
from prover.store.schema import REVISION
from prover.testing import model_record
from workers.celery_app import make_celery
from workers.sweep import sweep_once


def order(store: Store) -> Job:
    return store.create_job(JobKind.PROOF, model_record().id, "c", {}, None)


def order_many(store: Store) -> None:
    for _ in range(10_000):
        order(store)


def raw(url: str) -> sa.Engine:
    return sa.create_engine(url)


# --- versions side by side -------------------------------------------------------------------

#: A job as versions before sizes write it.
_OLD_JOB = (
    "INSERT INTO jobs (id, tenant, kind, state, model_id, circuit_id, request, progress, attempt,"
    " cancel_requested, created_at, timings, lease_token, lost, last_seq, sent_at)"
    " SELECT 'old', tenant, kind, 'queued', model_id, circuit_id, request, 0, 0,"
    " cancel_requested, created_at, timings, 0, 0, 0, sent_at FROM jobs LIMIT 1"
)


def test_what_the_version_before_writes_is_worked_on_by_this_one(url: str) -> None:
    with Store.open(url) as store:
        store.add_model(model_record())
        new = order(store)
        engine = raw(url)
        with engine.begin() as conn:
            conn.exec_driver_sql(_OLD_JOB)
            found = conn.exec_driver_sql("SELECT id FROM jobs WHERE state = 'queued'")
            assert {row.id for row in found} == {"old", new.id}  # and it sees ours
        engine.dispose()
        assert (store.job("old").size, store.job("old").needs_bytes) == ("small", None)
        lease = store.claim_turn("old", "w", 30)
        assert lease is not None
        assert lease.job_id == "old"
        store.succeed(lease, {})


def test_the_last_migration_can_be_taken_back_and_made_again(url: str) -> None:
    with Store.open(url) as store:
        store.add_model(model_record())
        job = order(store)
        other = store.for_tenant("other")
        other.add_model(model_record())

    before = step_back(url)

    assert before is not None
    assert before < REVISION
    engine = raw(url)
    columns = {column["name"] for column in sa.inspect(engine).get_columns("jobs")}
    assert {"kept_proof", "deadline"} <= columns
    assert columns.isdisjoint({"size", "needs_bytes", "urgency", "put_off_at", "removed_at"})
    with engine.begin() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM jobs").scalar() == 1
    engine.dispose()
    with Store.open(url) as store:
        assert store.job(job.id).size == "small"
        assert store.claim_turn(job.id, "w", 30) is not None


_CUT_SHORT = """
import os, signal, sys
from alembic import op
from prover.store import Store

made = op.create_index

def killed(*args, **kwargs):
    made(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)

op.create_index = killed
Store.open(sys.argv[1])
"""


def test_a_migration_that_was_cut_short_is_made_from_where_it_began(url: str) -> None:
    with Store.open(url) as store:
        store.add_model(model_record())
        job = order(store)
    step_back(url)
    done = subprocess.run([sys.executable, "-c", _CUT_SHORT, url], check=False)
    assert done.returncode == -signal.SIGKILL

    with Store.open(url) as store:
        assert store.claim_turn(job.id, "w", 30) is not None


# --- full and read-only ----------------------------------------------------------------------


def read_only(folder: Path, flag: str = "ro") -> None:
    subprocess.run(["mount", "-o", f"remount,{flag}", str(folder)], check=True)


def test_a_full_disk_loses_nothing_and_is_named(little_disk: Path) -> None:
    artifacts = Artifacts.open((little_disk / "artifacts").as_uri(), little_disk / "cache")
    with Store.open(f"sqlite:///{little_disk / 'zkml.db'}") as store:
        store.add_model(model_record())
        kept, digest = order(store), artifacts.put(b"proof")
        filler = little_disk / "filler"
        with filler.open("wb", buffering=0) as out, suppress(OSError):
            while True:
                out.write(b"x" * 4096)
        with pytest.raises(StorageFull):
            artifacts.put(b"y" * 100_000)
        with pytest.raises(StorageFull):
            order_many(store)  # what the files have of room is used up first
        filler.unlink()
        assert store.job(kept.id) == kept
        assert artifacts.get(digest) == b"proof"
        assert artifacts.get(artifacts.put(b"y" * 100_000)) == b"y" * 100_000
        order(store)


@pytest.mark.slow
def test_a_disk_that_may_not_be_written_is_named_and_still_read(little_disk: Path) -> None:
    artifacts = Artifacts.open((little_disk / "artifacts").as_uri(), little_disk / "cache")
    url = f"sqlite:///{little_disk / 'zkml.db'}"
    with Store.open(url) as store:
        store.add_model(model_record())
        kept, digest = order(store), artifacts.put(b"proof")
    read_only(little_disk)
    try:
        with pytest.raises(ArtifactsUnavailable, match="cannot be written"):
            artifacts.ping()
        with pytest.raises(ArtifactsUnavailable, match="Read-only"):
            artifacts.put(b"another")
        with pytest.raises(StoreUnavailable, match=r"zkml\.db"):
            Store.open(url)
        assert artifacts.get(digest) == b"proof"
    finally:
        read_only(little_disk, "rw")
    with Store.open(url) as store:
        assert store.job(kept.id) == kept
        order(store)


# --- a Redis that others use too -------------------------------------------------------------


@pytest.mark.slow
def test_a_foreign_redis_is_left_unchanged(tmp_path: Path) -> None:
    with RedisServer.start(tmp_path / "redis") as server:
        theirs = {"unacked": "theirs", "small": "theirs", "zkml": "theirs", "job": "theirs"}
        with redis.Redis.from_url(server.url, decode_responses=True) as client:
            for key, value in theirs.items():
                client.set(key, value)
            settings = Settings(home=tmp_path, redis_url=server.url)
            another = settings.model_copy(update={"redis_prefix": "another:"})
            sender = Celery("test", set_as_current=False)
            sender.conf.update(celery_config(settings))
            send_job(sender, secrets.token_hex(16))
            sender.close()
            worker = make_celery(another)
            with Store.open(settings.database_url) as store:
                store.add_model(model_record())
                job = order(store)
                time.sleep(0.01)
                assert sweep_once(worker, store, grace_s=0.0) == [job.id]
            worker.close()
            with (
                RedisNotifications(server.url, "zkml:") as ours,
                RedisNotifications(server.url, "another:") as other,
                ours.subscribe("job") as heard,
            ):
                heard.wait(0.5)  # that it has begun to listen
                other.publish("job")
                assert not heard.wait(0.5)
                ours.publish("job")
                assert heard.wait(30)
            keys = {str(key) for key in client.keys("*")}
            assert all(k in theirs or k.startswith(("zkml:", "another:")) for k in keys), keys
            assert {"zkml:small", "another:compile"} <= keys
            assert {key: client.get(key) for key in theirs} == theirs
