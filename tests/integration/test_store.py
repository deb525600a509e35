"""The job store, on SQLite and on PostgreSQL."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from prover.errors import (
    CursorInvalid,
    JobAlreadyDone,
    JobConflict,
    JobNotFound,
    LeaseLost,
    ModelNotFound,
    SettingsInvalid,
    StoreTooNew,
    StoreUnavailable,
    UploadNotFound,
    UploadOverlaps,
)
from prover.records.job import CircuitRecord, Job, JobKind, JobState, Lease, Stage, UploadPart
from prover.records.usage import Grouping
from prover.store import Store
from prover.store.filters import Filter
from prover.store.jobs import insert_jobs
from prover.store.migrate import MIGRATIONS
from prover.store.schema import REVISION, metadata
from prover.testing import START, ManualClock, model_record
from tests.cases.jobs import PROBLEM, TTL_S, claimed, new_job, story

# --- records ---------------------------------------------------------------------------------


def test_a_record_comes_back_as_it_went_in(store: Store) -> None:
    summary = {"z": [1, 2.5, None], "a": {"big": 1e22, "tiny": 5e-324, "text": "Grüße"}}
    model = replace(model_record("with numbers"), summary=summary)
    store.add_model(model)

    found = store.model(model.id)

    assert found == model
    assert list(found.summary) == ["z", "a"]
    assert isinstance(found.summary["a"]["big"], float)


def test_the_first_commit_of_a_circuit_wins(store: Store) -> None:
    first = CircuitRecord(
        id="c1", model_id=model_record().id, profile={}, manifest={"vk": "1"}, created_at=START
    )

    assert store.add_circuit(first) == first
    assert store.add_circuit(replace(first, manifest={"vk": "2"})) == first
    assert store.circuit("c1") == first
    assert store.circuits(model_id=model_record().id).items == [first]
    assert store.find_circuit("c2") is None


def test_pages_join_without_gap_or_repeat_while_rows_are_added(
    store: Store, clock: ManualClock
) -> None:
    made = []
    for number in range(7):
        clock.advance(number % 2)  # some share a creation time
        made.append(new_job(store, id=f"job-{number}").id)

    first = store.jobs(limit=3)
    clock.advance(1)
    new_job(store, id="late")
    second = store.jobs(limit=3, cursor=first.next_cursor)
    third = store.jobs(limit=3, cursor=second.next_cursor)

    seen = [job.id for page in (first, second, third) for job in page.items]
    assert seen == made[::-1]
    assert third.next_cursor is None
    with pytest.raises(CursorInvalid):
        store.jobs(cursor="bm90IGEgY3Vyc29y")


def test_creating_a_job_twice_under_one_id_is_once(store: Store) -> None:
    job = new_job(store, id="mine")

    assert new_job(store, id="mine") == job
    assert story(store, job) == ["queued"]
    with pytest.raises(JobConflict):
        store.create_job(JobKind.PROOF, model_record().id, "circuit", {"n": 2}, None, id="mine")


def test_what_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(ModelNotFound):
        store.create_job(JobKind.PROOF, "sha256:none", "c", {}, None)
    for ask in (store.job, store.cancel_requested, store.request_cancel):
        with pytest.raises(JobNotFound):
            ask("none")
    with pytest.raises(JobNotFound):
        store.claim("none", "worker", TTL_S)


def test_values_that_are_not_json_are_refused_before_they_are_stored(store: Store) -> None:
    with pytest.raises((ValueError, sa.exc.StatementError)):
        store.create_job(JobKind.PROOF, model_record().id, "c", {"x": float("nan")}, None)
    assert store.jobs().items == []


# --- leases ----------------------------------------------------------------------------------


def test_a_job_goes_its_way_and_every_step_is_an_event(store: Store, clock: ManualClock) -> None:
    job = new_job(store)
    lease = claimed(store, job)
    store.set_stage(lease, Stage.WITNESS, 0.1, {"queue": 0.5})
    store.set_stage(lease, Stage.PROVE, 0.2)
    store.set_stage(lease, Stage.PROVE, 0.7, {"witness": 1.0})
    clock.advance(2)
    done = store.succeed(lease, {"receipt": "sha256:…"}, {"prove": 2.0}, peak_rss=123)

    assert done == store.job(job.id)
    assert done.state is JobState.SUCCEEDED
    assert (done.progress, done.stage, done.attempt) == (1.0, None, 1)
    assert done.timings == {"queue": 0.5, "witness": 1.0, "prove": 2.0}
    assert done.finished_at == START + timedelta(seconds=2)
    assert story(store, job) == ["queued", "running", "witness", "prove", "prove", "succeeded"]
    assert [e.type for e in store.events(job.id, after_seq=3)] == ["stage", "progress", "state"]


def test_a_held_job_cannot_be_claimed(store: Store) -> None:
    job = new_job(store)
    claimed(store, job)

    assert store.claim(job.id, "worker-2", TTL_S) is None
    assert story(store, job) == ["queued", "running"]


def test_an_expired_lease_is_taken_over_and_its_late_holder_is_refused(
    store: Store, clock: ManualClock
) -> None:
    job = new_job(store)
    stale = claimed(store, job, "worker-1")
    clock.advance(TTL_S)
    fresh = claimed(store, job, "worker-2")

    assert fresh.token > stale.token
    for write in every_write(store, stale):
        with pytest.raises(LeaseLost):
            write()
    assert story(store, job) == ["queued", "running", "running"]
    assert store.succeed(fresh, {"by": 2}).result == {"by": 2}
    for write in every_write(store, fresh):  # nor may a job that has ended be written to
        with pytest.raises(LeaseLost):
            write()


def every_write(store: Store, lease: Lease) -> list[Callable[[], object]]:
    return [
        lambda: store.renew(lease, TTL_S),
        lambda: store.set_stage(lease, Stage.PROVE),
        lambda: store.succeed(lease, {}),
        lambda: store.fail(lease, PROBLEM),
        lambda: store.canceled(lease),
        lambda: store.requeue(lease),
    ]


def test_a_renewed_lease_is_not_taken_over(store: Store, clock: ManualClock) -> None:
    job = new_job(store)
    lease = claimed(store, job)
    clock.advance(TTL_S - 1)
    lease = store.renew(lease, TTL_S)
    clock.advance(TTL_S - 1)

    assert store.claim(job.id, "worker-2", TTL_S) is None
    assert store.fail(lease, PROBLEM).problem == PROBLEM


def test_a_job_that_kills_its_workers_is_set_aside_with_its_evidence(
    store: Store, clock: ManualClock
) -> None:
    job = new_job(store)
    for number in (1, 2):
        lease = store.claim(job.id, f"worker-{number}", TTL_S)
        assert lease is not None
        store.set_stage(lease, Stage.PROVE)
        clock.advance(TTL_S)

    assert store.claim(job.id, "worker-3", TTL_S) is None
    failed = store.job(job.id)
    assert failed.state is JobState.FAILED
    assert failed.problem is not None
    assert failed.problem["code"] == "job_quarantined"
    assert not failed.problem["retryable"]
    losses = failed.problem["context"]["losses"]
    assert [(n["owner"], n["attempt"], n["stage"]) for n in losses] == [
        ("worker-1", 1, "prove"),
        ("worker-2", 2, "prove"),
    ]


def test_one_death_beside_other_losses_uses_up_the_attempts(
    store: Store, clock: ManualClock
) -> None:
    job = new_job(store)
    store.requeue(claimed(store, job), PROBLEM)
    claimed(store, job)
    clock.advance(TTL_S)

    assert store.claim(job.id, "worker-3", TTL_S) is None
    failed = store.job(job.id)
    assert failed.problem is not None
    assert failed.problem["code"] == "worker_lost"
    assert [loss.get("code") for loss in failed.problem["context"]["losses"]] == [
        "engine_killed",
        None,
    ]


def test_a_job_given_back_by_a_stopping_worker_has_not_lost_an_attempt(store: Store) -> None:
    job = new_job(store)
    for _ in range(5):
        assert store.requeue(claimed(store, job)).state is JobState.QUEUED

    assert claimed(store, job).token == 6


def test_a_failure_that_may_pass_is_tried_again_until_the_attempts_are_used(store: Store) -> None:
    job = new_job(store)
    assert store.requeue(claimed(store, job), PROBLEM).state is JobState.QUEUED

    ended = store.requeue(claimed(store, job), PROBLEM)

    assert ended.state is JobState.FAILED
    assert ended.problem == PROBLEM


def test_a_failure_that_may_pass_waits_before_it_is_tried_again(
    store: Store, clock: ManualClock
) -> None:
    job, other = new_job(store), new_job(store, id="other")
    store.requeue(claimed(store, job), PROBLEM, after_s=60)
    store.mark_sent(job.id)
    clock.advance(59)

    assert store.claim(job.id, "early", TTL_S) is None
    assert store.runnable(grace_s=10) == [other.id]
    clock.advance(1)
    assert store.runnable(grace_s=10, queued=[]) == [job.id]  # however long the queue is
    store.mark_sent(job.id)
    assert store.runnable(grace_s=10, queued=[]) == []
    assert claimed(store, job).token == 2


# --- cancellation ----------------------------------------------------------------------------


def test_a_queued_job_is_canceled_at_once(store: Store) -> None:
    job = new_job(store)

    assert store.request_cancel(job.id).state is JobState.CANCELED
    assert store.request_cancel(job.id).state is JobState.CANCELED
    assert store.claim(job.id, "worker", TTL_S) is None
    assert story(store, job) == ["queued", "canceled"]


def test_a_running_job_is_canceled_by_its_worker(store: Store) -> None:
    job = new_job(store)
    lease = claimed(store, job)

    asked = store.request_cancel(job.id)

    assert (asked.state, asked.cancel_requested) == (JobState.RUNNING, True)
    assert store.cancel_requested(job.id)
    assert store.canceled(lease).state is JobState.CANCELED
    assert story(store, job) == ["queued", "running", "running", "canceled"]


def test_a_canceled_job_does_not_need_its_dead_worker(store: Store, clock: ManualClock) -> None:
    job = new_job(store)
    lease = claimed(store, job)
    store.request_cancel(job.id)
    clock.advance(TTL_S)

    assert store.claim(job.id, "worker-2", TTL_S) is None
    assert store.job(job.id).state is JobState.CANCELED
    with pytest.raises(LeaseLost):
        store.succeed(lease, {})


def test_what_has_ended_cannot_be_canceled(store: Store) -> None:
    job = new_job(store)
    store.succeed(claimed(store, job), {})

    with pytest.raises(JobAlreadyDone):
        store.request_cancel(job.id)


# --- the sweep's question --------------------------------------------------------------------


def test_runnable_lists_exactly_the_unclaimed_jobs(store: Store, clock: ManualClock) -> None:
    forgotten, lost, held, done = (new_job(store, id=name) for name in "abcd")
    claimed(store, lost)
    clock.advance(TTL_S)
    claimed(store, held)
    store.succeed(claimed(store, done), {})
    new_job(store, id="just sent")

    assert store.runnable(grace_s=10) == [forgotten.id, lost.id]
    assert store.runnable(grace_s=10, queued=[]) == [lost.id]
    store.mark_sent(forgotten.id)
    assert store.runnable(grace_s=10) == [lost.id]


# --- many at once ----------------------------------------------------------------------------


def test_of_many_claims_at_once_one_wins(store: Store) -> None:
    jobs = [new_job(store) for _ in range(10)]
    with ThreadPoolExecutor(8) as pool:
        for job in jobs:
            start = Barrier(8)

            def race(number: int, job: Job = job, start: Barrier = start) -> Lease | None:
                start.wait()
                return store.claim(job.id, f"worker-{number}", TTL_S)

            leases = [lease for lease in pool.map(race, range(8)) if lease is not None]
            assert len(leases) == 1
            assert story(store, job) == ["queued", "running"]


def test_events_have_no_gaps_when_many_write_at_once(store: Store) -> None:
    job = new_job(store)
    lease = claimed(store, job)
    with ThreadPoolExecutor(8) as pool:
        steps = [pool.submit(store.set_stage, lease, Stage.PROVE, i / 40) for i in range(40)]
        asked = pool.submit(store.request_cancel, job.id)
    for step in steps:
        step.result()
    asked.result()

    assert len(story(store, job)) == 2 + 40 + 1


@pytest.mark.slow
def test_processes_open_and_claim_at_once_and_each_job_is_claimed_once(url: str) -> None:
    """Also the first opening of a new database, by all of them together."""
    program = (
        "import sys\n"
        "from prover.store import Store\n"
        "from prover.testing import model_record\n"
        "from prover.records.job import JobKind\n"
        "store = Store.open(sys.argv[1])\n"
        "store.add_model(model_record())\n"
        "for n in range(20):\n"
        "    store.create_job(JobKind.PROOF, model_record().id, 'c', {}, None, id=f'job-{n}')\n"
        "    if store.claim(f'job-{n}', sys.argv[2], 60) is not None:\n"
        "        print(n)\n"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program, url, f"worker-{number}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(6)
    ]
    printed = [worker.communicate(timeout=300)[0] for worker in workers]

    assert [worker.returncode for worker in workers] == [0] * 6
    assert sorted(int(n) for text in printed for n in text.split()) == list(range(20))


# --- whose turn it is ------------------------------------------------------------------------


def many_jobs(store: Store, count: int) -> None:
    """Queued jobs, written as those of a batch are."""
    with store._db.write() as conn:
        rows: list[dict[str, Any]] = [
            {
                "id": f"{store.tenant}-{n:05}",
                "tenant": store.tenant,
                "kind": "proof",
                "model_id": model_record().id,
                "circuit_id": "c",
                "request": {},
                "input_key": None,
            }
            for n in range(count)
        ]
        insert_jobs(conn, store._now(), rows)


def test_ten_thousand_jobs_of_one_tenant_do_not_delay_others(
    store: Store, clock: ManualClock
) -> None:
    """Two workers are at it when another tenant's first job comes: the next that is free has it."""
    many_jobs(store, 10_000)
    busy = [store.claim_turn("default-00000", f"w{n}", 1e6) for n in (1, 2)]
    clock.advance(1)
    late = store.for_tenant("late")
    many_jobs(late, 3)

    taken = []
    for _ in range(8):
        clock.advance(1)
        done = busy.pop(0)
        assert done is not None
        store.succeed(done, {})
        lease = store.claim_turn("default-09999", "w", 1e6)
        assert lease is not None
        taken.append(lease.job_id)
        busy.append(lease)

    # The newcomer's first at once; then in turn; each tenant's own in the order of their coming.
    assert taken == [
        "late-00000",
        "default-00002",
        "late-00001",
        "default-00003",
        "late-00002",
        "default-00004",
        "default-00005",
        "default-00006",
    ]


def test_a_quota_of_running_jobs_lets_the_others_pass(store: Store, clock: ManualClock) -> None:
    store.set_quota("default", {"running": 1})
    many_jobs(store, 3)
    first = store.claim_turn("default-00000", "w", TTL_S)
    assert first is not None
    assert store.claim_turn("default-00001", "w", TTL_S) is None
    assert store.next_of("default") == "default-00001"
    assert store.next_of("other") is None
    many_jobs(store.for_tenant("other"), 1)
    other = store.claim_turn("default-00001", "w", TTL_S)
    assert other is not None
    assert other.job_id == "other-00000"

    store.succeed(first, {})
    second = store.claim_turn("other-00000", "w", TTL_S)

    assert second is not None
    assert second.job_id == "default-00001"
    assert store.own_quotas()["default"].running == 1
    assert store.set_quota("default", {"running": None}) == store.default_quota


def test_a_message_resumes_the_job_of_an_unresponsive_worker(
    store: Store, clock: ManualClock
) -> None:
    many_jobs(store, 3)
    lost = store.claim_turn("default-00002", "w", TTL_S)
    assert lost is not None
    assert lost.job_id == "default-00000"
    clock.advance(TTL_S + 1)

    again = store.claim_turn("default-00000", "w2", TTL_S)

    assert again is not None
    assert (again.job_id, again.token) == ("default-00000", 2)
    for _ in range(2):
        assert store.claim_turn("no such job", "w", TTL_S) is not None
    with pytest.raises(JobNotFound):
        store.claim_turn("no such job", "w", TTL_S)


# --- filters and uploads ---------------------------------------------------------------------


def test_jobs_are_found_by_the_tenants_own_words(store: Store, clock: ManualClock) -> None:
    for n, words in enumerate(({"a": "1", "x.y-z": "two words"}, {"a": "2"}, {}, None)):
        clock.advance(1)
        store.create_job(
            JobKind.PROOF, model_record().id, f"c{n}", {}, None, id=f"job-{n}", metadata=words
        )

    def found(**conditions: Any) -> list[str]:
        return [job.id for job in store.jobs(where=Filter(**conditions)).items]

    assert found(metadata={"a": "1"}) == ["job-0"]
    assert found(metadata={"a": "1", "x.y-z": "two words"}) == ["job-0"]
    assert found(metadata={"a": "1' OR 1=1 --"}) == []
    assert found(since=START + timedelta(seconds=2), before=START + timedelta(seconds=4)) == [
        "job-2",
        "job-1",
    ]
    assert found(circuit_id="c3") == ["job-3"]
    assert found(state="running") == []
    assert store.job("job-0").metadata == {"a": "1", "x.y-z": "two words"}
    assert store.job("job-3").metadata == {}


def test_parts_of_an_upload_are_kept_in_order_without_overlap(
    store: Store, clock: ManualClock
) -> None:
    upload, new = store.open_upload("sha256:d", 1 << 40)
    assert (new, upload.missing) == (True, 0)
    store.add_part("sha256:d", UploadPart(start=1 << 39, size=10, key="b"))
    store.add_part("sha256:d", UploadPart(start=0, size=100, key="a"))
    upload, older = store.add_part("sha256:d", UploadPart(start=0, size=100, key="c"))
    assert (older, upload.missing) == ("a", 100)
    assert upload.ranges == [(0, 100), (1 << 39, (1 << 39) + 10)]
    with pytest.raises(UploadOverlaps):
        store.add_part("sha256:d", UploadPart(start=50, size=1, key="e"))
    other = store.for_tenant("other")
    with pytest.raises(UploadNotFound):
        other.add_part("sha256:d", UploadPart(start=200, size=1, key="f"))
    other.open_upload("sha256:d", 5)
    other.add_part("sha256:d", UploadPart(start=0, size=5, key="g"))
    assert store.upload("sha256:d") == upload
    clock.advance(86_401)
    assert sorted(store.stale_uploads()) == [("default", "sha256:d"), ("other", "sha256:d")]
    assert sorted(store.forget_upload("sha256:d")) == ["b", "c"]
    assert other.upload("sha256:d").missing is None


def test_what_is_stored_is_counted_by_many_at_once(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.add_stored(10), range(40)))
    assert store.used("default").stored_bytes == 400


# --- the database itself ---------------------------------------------------------------------


def test_the_migrations_give_the_tables_that_the_code_uses(url: str) -> None:
    Store.open(url).close()
    engine = sa.create_engine(url)
    with engine.connect() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == REVISION
    engine.dispose()
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == REVISION


def test_what_was_there_before_tenants_belongs_to_the_default_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'zkml.db'}"
    engine = sa.create_engine(url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    row = "'2026-01-01 00:00:00.000000'"
    with engine.begin() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, "0003")
        for statement in (
            f"INSERT INTO models VALUES ('m', 'old', 1, '{{}}', '{{}}', {row})",
            f"INSERT INTO circuits VALUES ('c', 'm', '{{}}', '{{}}', {row})",
            "INSERT INTO jobs (id, kind, state, model_id, circuit_id, request, progress, attempt,"
            " cancel_requested, created_at, timings, lease_token, lost, last_seq, sent_at)"
            f" VALUES ('j', 'proof', 'queued', 'm', 'c', '{{}}', 0, 0, 0, {row}, '{{}}', 0, 0, 1,"
            f" {row})",
            f"INSERT INTO events VALUES ('j', 1, {row}, 'state', '{{}}')",
            "INSERT INTO batches (id, model_id, state, request, job_id, created_at)"
            f" VALUES ('b', 'm', 'running', '{{}}', 'j', {row})",
        ):
            conn.exec_driver_sql(statement)
    engine.dispose()

    with Store.open(url) as store:
        assert (store.model("m").name, store.circuit("c").id) == ("old", "c")
        assert (store.job("j").tenant, store.batch("b").tenant) == ("default", "default")
        assert len(store.events("j")) == 1
        assert store.every_tenant().runnable() == ["j"]
        other = store.for_tenant("other")
        found = (other.models().items, other.circuits().items, other.batches().items)
        assert found == ([], [], [])
        assert (other.jobs().items, other.events("j"), other.runnable()) == ([], [], [])


def test_tenants_have_the_same_model_and_circuit_each_for_itself(store: Store) -> None:
    other = store.for_tenant("other")
    mine = CircuitRecord(
        id="c1", model_id=model_record().id, profile={}, manifest={"vk": "1"}, created_at=START
    )
    theirs = replace(mine, manifest={"vk": "2"})
    with pytest.raises(ModelNotFound):
        other.create_job(JobKind.PROOF, model_record().id, "c1", {}, None)

    other.add_model(replace(model_record(), name="theirs"))
    assert (store.add_circuit(mine), other.add_circuit(theirs)) == (mine, theirs)

    assert (store.model(model_record().id).name, other.model(model_record().id).name) == (
        "model",
        "theirs",
    )
    assert (store.circuit("c1"), other.circuit("c1")) == (mine, theirs)
    job = new_job(store, id="mine")
    with pytest.raises(JobConflict):
        new_job(other, id="mine")
    with pytest.raises(JobNotFound):
        other.request_cancel(job.id)
    assert other.waiting_proofs("circuit", 10) == []
    assert [j.id for j in store.waiting_proofs("circuit", 10)] == ["mine"]
    with pytest.raises(ValueError, match="cannot create rows"):
        new_job(store.every_tenant())


def test_a_database_of_a_newer_version_is_left_alone(url: str) -> None:
    Store.open(url).close()
    engine = sa.create_engine(url)
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()

    with pytest.raises(StoreTooNew):
        Store.open(url)


def test_a_file_that_is_no_database_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to look at " * 10)
    before = path.read_bytes()

    with pytest.raises(StoreUnavailable):
        Store.open(f"sqlite:///{path}")
    assert path.read_bytes() == before


@pytest.mark.parametrize("url", ["sqlite://", "mysql://host/db", "no url at all"], indirect=False)
def test_a_database_that_is_not_supported_is_refused(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="ZKML_DATABASE_URL"):
        Store.open(url)


@pytest.mark.slow
def test_what_was_committed_survives_the_death_of_its_process(tmp_path: Path) -> None:
    path = tmp_path / "zkml.db"
    program = (
        "import os, signal, sys\n"
        "from prover.store import Store\n"
        "from prover.testing import model_record\n"
        "store = Store.open(sys.argv[1])\n"
        "store.add_model(model_record())\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, f"sqlite:///{path}"], check=False)

    with Store.open(f"sqlite:///{path}") as store:
        assert store.model(model_record().id) == model_record()
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    raw.close()


# --- the ledger of usage -----------------------------------------------------------------------

TOOK = {"compile": 4.0, "witness": 0.25, "prove": 1.5, "verify": 0.25, "sign": 9.0}


def ledger(store: Store) -> list[tuple[int, int, float, float, int | None]]:
    found = store.usage(list(Grouping))
    return [(u.jobs, u.proofs, u.proving_s, u.building_s, u.peak_bytes) for u in found]


def test_a_proof_is_recorded_once_with_its_cost(store: Store, clock: ManualClock) -> None:
    job = new_job(store)
    store.succeed(claimed(store, job), {}, TOOK, 7 << 20)
    assert ledger(store) == [(1, 1, 2.0, 4.0, 7 << 20)]
    (used,) = store.usage(list(Grouping))
    assert (used.model, used.circuit, used.day) == (job.model_id, "circuit", START.date())
    assert (used.caller, used.owner) == ("default", "default")
    clock.advance(86_400)
    shared = new_job(store)
    store.succeed(claimed(store, shared), {"shared_by": 4, "circuit": "wide"}, TOOK, 1 << 20)
    newest = store.usage([Grouping.DAY, Grouping.CIRCUIT])[0]
    assert (newest.day, newest.circuit) == (clock.now.date(), "wide")
    assert newest.proving_s == 0.5
    assert store.usage([Grouping.DAY], until=START + timedelta(hours=1))[0].proofs == 1
    assert store.usage([], since=START)[0].proofs == 2


def test_a_worker_that_came_too_late_enters_nothing(store: Store, clock: ManualClock) -> None:
    job = new_job(store)
    late = claimed(store, job)
    clock.advance(TTL_S + 1)
    again = claimed(store, job, "worker-2")
    with pytest.raises(LeaseLost):
        store.succeed(late, {}, TOOK, 1)
    assert ledger(store) == []
    store.succeed(again, {}, TOOK, 1)
    assert [entry[:2] for entry in ledger(store)] == [(1, 1)]


def test_what_is_rolled_back_with_its_job_was_never_entered(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crash of a worker between the two writes: neither is there, or both."""
    job = new_job(store)
    lease = claimed(store, job)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("prover.store.leases.tell", crash)
        with pytest.raises(KeyboardInterrupt):
            store.succeed(lease, {}, TOOK, 1)
    assert (store.job(job.id).state, ledger(store)) == (JobState.RUNNING, [])
    store.succeed(lease, {}, TOOK, 1)
    assert (store.job(job.id).state, len(ledger(store))) == (JobState.SUCCEEDED, 1)


def test_a_proof_that_failed_is_entered_with_its_seconds_and_no_receipt(store: Store) -> None:
    store.fail(claimed(store, new_job(store)), PROBLEM, TOOK, 3)
    assert ledger(store) == [(1, 0, 2.0, 4.0, 3)]


def test_an_entry_cannot_be_changed_or_deleted(store: Store) -> None:
    store.succeed(claimed(store, new_job(store)), {}, TOOK, 1)
    for statement in ("UPDATE usage SET proofs = 0", "DELETE FROM usage"):
        with (
            pytest.raises(sa.exc.DBAPIError, match="only added to"),
            store._db._engine.begin() as c,
        ):
            c.execute(sa.text(statement))
    assert len(ledger(store)) == 1
