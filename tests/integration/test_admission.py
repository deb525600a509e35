"""What is begun where: classes, memory, slots, urgency. On SQLite and on PostgreSQL."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from circuits.engine.port import Limits
from circuits.engine.sandbox import Sandbox
from circuits.format.profile import Profile
from prover.admission import Place, SizeClass, Sizing, threads
from prover.app import App
from prover.records.job import CircuitRecord, Job, JobKind, JobState, Lease
from prover.settings import Settings
from prover.store import Store
from prover.testing import START, ManualClock, model_record
from tests.cases import tiny

MB = 1 << 20
TTL_S = 1e6
_numbers = count()
HERE = Place(host="here", owner="here:1", memory_bytes=1000 * MB, slots=3)


@pytest.fixture
def store(url: str, clock: ManualClock) -> Iterator[Store]:
    with Store.open(url, clock=clock, sizing=Sizing(compile_bytes=100 * MB)) as opened:
        opened.add_model(model_record())
        yield opened


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def circuit(store: Store, name: str, *, prove_s: float = 1.0, mb: int = 100) -> str:
    measured = {"prove_s": prove_s, "peak_rss_bytes": mb * MB}
    record = CircuitRecord(
        id=name,
        model_id=model_record().id,
        profile={},
        manifest={"measured": measured},
        created_at=START,
    )
    return store.add_circuit(record).id


def order(store: Store, circuit_id: str, kind: JobKind = JobKind.PROOF, **options: Any) -> Job:
    name = f"{next(_numbers):05}"  # jobs of the same moment are in the order of their ids
    return store.create_job(kind, model_record().id, circuit_id, {}, None, id=name, **options)


def take(store: Store, job: Job, place: Place = HERE) -> Lease | None:
    """What a worker begins to which the job's message has come."""
    return store.claim_turn(job.id, place.owner, TTL_S, place)


def taken(store: Store, job: Job, place: Place = HERE) -> str | None:
    lease = take(store, job, place)
    return None if lease is None else lease.job_id


def test_a_job_is_of_the_class_and_need_that_its_circuit_has_shown(store: Store) -> None:
    quick, slow = circuit(store, "quick"), circuit(store, "slow", prove_s=11, mb=700)
    sizes = [(j.size, j.needs_bytes) for j in (order(store, quick), order(store, slow))]
    assert sizes == [("small", 100 * MB), ("large", 700 * MB)]
    assert order(store, "none yet").size == "compile"
    assert order(store, quick, JobKind.CIRCUIT).size == "compile"


def test_what_a_proof_took_corrects_what_the_next_is_predicted_to_need(store: Store) -> None:
    quick = circuit(store, "quick", mb=100)
    for peak_mb, predicted_mb in ((300, 300), (200, 300)):
        lease = take(store, order(store, quick))
        assert lease is not None
        store.succeed(lease, {}, {}, peak_mb * MB)
        later = order(store, quick)
        assert later.needs_bytes == predicted_mb * MB
        store.request_cancel(later.id)


def test_a_proof_is_no_build_any_more_once_its_circuit_is_there(store: Store) -> None:
    waits = order(store, "c")
    other = order(store.for_tenant("other"), "c") if _has_model(store, "other") else None
    circuit(store, "c", prove_s=20, mb=5)
    assert (store.job(waits.id).size, store.job(waits.id).needs_bytes) == ("large", 5 * MB)
    assert store.size_classes([waits.id, "unknown"]) == {waits.id: "large"}
    assert other is not None
    assert store.every_tenant().job(other.id).size == "compile"


def _has_model(store: Store, tenant: str) -> bool:
    store.for_tenant(tenant).add_model(model_record())
    return True


def test_small_proofs_are_not_stuck_behind_heavy_work(store: Store) -> None:
    slow, quick = circuit(store, "slow", prove_s=60), circuit(store, "quick")
    large = [order(store, slow) for _ in range(3)]
    builds = [order(store, f"new {n}") for n in range(3)]
    small = order(store, quick)

    assert taken(store, large[0]) == large[0].id
    assert taken(store, large[1]) is None  # the first has all cores of this host
    assert taken(store, builds[0]) == builds[0].id
    assert taken(store, builds[1]) is None  # the last slot is for small ones
    assert taken(store, small) == small.id
    there = replace(HERE, host="there", owner="there:1")
    assert taken(store, large[1], there) == large[1].id


def test_jobs_are_begun_while_the_host_has_the_memory(store: Store) -> None:
    big = circuit(store, "big", mb=600)
    jobs = [order(store, big) for _ in range(3)]
    first = take(store, jobs[0])
    assert first is not None
    assert take(store, jobs[1]) is None
    beside = replace(HERE, owner="here:2")  # another process of the same host
    assert take(store, jobs[1], beside) is None
    assert taken(store, jobs[1], replace(HERE, host="hereafter", owner="hereafter:1")) is not None
    assert store.waiting_turn(HERE) is None
    assert store.waiting_turn() == jobs[2].id
    assert store.next_put_off(HERE) is None  # the job whose message was used up has begun

    assert take(store, jobs[2]) is None
    assert store.next_put_off(HERE) == jobs[2].id
    store.succeed(first, {})
    assert taken(store, jobs[2]) == jobs[2].id
    assert store.next_put_off(HERE) is None


def test_a_job_that_needs_more_than_there_is_runs_alone(store: Store) -> None:
    huge, quick = circuit(store, "huge", mb=5000), circuit(store, "quick")
    small, large = order(store, quick), order(store, huge)
    running = take(store, small)
    assert running is not None
    assert take(store, large) is None
    store.succeed(running, {})
    assert taken(store, large) == large.id
    assert take(store, order(store, quick)) is None


def test_a_job_that_waits_for_memory_is_overtaken_for_so_long_only(
    store: Store, clock: ManualClock
) -> None:
    big, quick = circuit(store, "big", prove_s=60, mb=900), circuit(store, "quick", mb=200)
    small = [order(store, quick) for _ in range(4)]
    large = order(store, big)
    leases = [take(store, small[0])]
    assert take(store, large) is None
    leases.append(take(store, small[1]))
    clock.advance(61)

    assert take(store, small[2]) is None
    only_small = replace(HERE, owner="here:2", sizes=[SizeClass.SMALL])
    assert taken(store, small[2], only_small) == small[2].id  # nobody waits for what it never takes
    for lease in leases:
        assert lease is not None
        store.succeed(lease, {})
    assert take(store, small[3]) is None  # small[2] still has its memory


def test_a_job_that_turns_out_to_need_more_asks_for_it_at_its_next_claim(store: Store) -> None:
    lease, other = (
        take(store, order(store, "unknown")),
        take(store, order(store, circuit(store, "c"))),
    )
    assert lease is not None
    assert other is not None
    assert store.predict(lease, 900 * MB, HERE)
    assert not store.predict(lease, 901 * MB, HERE)
    job = store.requeue(lease)
    assert (job.needs_bytes, job.attempt) == (901 * MB, 1)
    assert take(store, job) is None
    store.succeed(other, {})
    assert take(store, job) is not None


@pytest.mark.long
@pytest.mark.slow
def test_a_build_waits_for_the_memory_that_it_is_predicted_to_need(
    tmp_path: Path, srs_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prover.jobs.circuit_registry._LARGE_MODEL", 1)
    settings = Settings.load(
        home=tmp_path,
        srs_dir=srs_cache,
        plan_effort="fast",
        memory_budget_mb=20,
        compile_memory_mb=10,
    )
    app, owner = App.open(settings), f"{socket.gethostname()}:1:w"
    model, _ = app.add_model(tiny.linear(), "model")
    other = app.store.create_job(JobKind.PROOF, model.id, "elsewhere", {}, None)
    running = app.store.claim(other.id, f"{socket.gethostname()}:2:w", TTL_S)
    assert running is not None
    job = app.request_proof(
        model_id=model.id,
        circuit_id=None,
        payload={"inputs": {"x": [[1.0, -1.0, 2.0, 0.0]]}},
        profile=Profile(),
        context=None,
    )
    assert app.run_turn(job.id, owner) == job.id
    waits = app.store.job(job.id)
    assert waits.state is JobState.QUEUED
    assert (waits.needs_bytes or 0) > 20 * MB  # as any engine does
    assert app.run_turn(job.id, owner) is None
    app.store.succeed(running, {})
    assert app.run_turn(job.id, owner) == job.id
    assert app.store.job(job.id).state is JobState.SUCCEEDED
    app.close()


def test_a_worker_takes_the_classes_that_it_is_for(store: Store) -> None:
    build, small = order(store, "new"), order(store, circuit(store, "quick"))
    only_builds = replace(HERE, sizes=[SizeClass.COMPILE])
    assert store.waiting_turn(only_builds) == build.id
    assert taken(store, build, only_builds) == build.id
    assert store.waiting_turn(only_builds) is None
    assert store.waiting_turn(HERE) == small.id


def test_the_more_urgent_of_a_tenants_jobs_comes_first(store: Store, clock: ManualClock) -> None:
    quick = circuit(store, "quick")
    jobs = []
    for urgency in (3, 7, 0, 3):
        jobs.append(order(store, quick, urgency=urgency))
        clock.advance(1)
    place = replace(HERE, slots=9)
    found = [taken(store, jobs[0], place) for _ in jobs]
    assert found == [jobs[n].id for n in (2, 0, 3, 1)]


def test_workers_of_a_host_that_ask_at_once_do_not_share_the_same_memory(store: Store) -> None:
    big = circuit(store, "big", mb=400)
    jobs = [order(store, big) for _ in range(8)]
    together = Barrier(8)

    def ask(number: int) -> bool:
        together.wait()
        return take(store, jobs[number], replace(HERE, owner=f"here:{number}")) is not None

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 2


# --- threads ---------------------------------------------------------------------------------


def test_threads_follow_concurrency(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    wide, narrow = Settings(), Settings(worker_concurrency=8)
    assert [threads(wide, size) for size in (SizeClass.SMALL, SizeClass.LARGE)] == [8, 8]
    assert [threads(narrow, size) for size in (SizeClass.SMALL, SizeClass.LARGE)] == [1, 8]
    assert threads(Settings(worker_concurrency=16), SizeClass.SMALL) == 1
    assert threads(Settings(engine_threads=3), SizeClass.LARGE) == 3


@pytest.mark.slow
def test_the_engine_has_as_many_threads_as_it_is_given() -> None:
    sandbox = Sandbox()
    try:
        for given, seen in ((3, "3"), (0, None)):
            limits = Limits(deadline_s=60, threads=given)
            assert sandbox.call("os:getenv", "RAYON_NUM_THREADS", limits=limits) == seen
    finally:
        sandbox.close()
