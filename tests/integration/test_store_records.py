"""Models, circuits, jobs and uploads as the store keeps them, on SQLite and on PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from prover.errors import (
    CursorInvalid,
    JobConflict,
    JobNotFound,
    ModelNotFound,
    UploadNotFound,
    UploadOverlaps,
)
from prover.records.job import CircuitRecord, JobKind, UploadPart
from prover.store import Store
from prover.store.filters import Filter
from prover.testing import START, ManualClock, model_record
from tests.cases.jobs import TTL_S, new_job, story


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
