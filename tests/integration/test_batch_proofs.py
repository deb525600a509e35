"""Batches with real proofs: each item is self-contained, proved once, and states its lane."""

from __future__ import annotations

import json
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuits.engine.port import ProofResult
from circuits.errors import EngineError
from circuits.format.field import Felts, to_felt
from circuits.format.profile import Argument, Profile, Soundness, Visibility
from prover.app import App
from prover.batch.ingest import ingest
from prover.batch.options import BatchOptions
from prover.batch.results import write_results
from prover.batch.verify import verify_batch
from prover.errors import JobNotFound
from prover.records.batch import Batch, BatchState, ItemState, Pack
from prover.settings import Settings
from prover.statement.bundle import read_bundle, write_bundle
from prover.statement.envelope import Receipt, sign_bundle
from prover.verify.bundle import verify_bundle
from prover.verify.policy import Policy
from tests.cases.tiny import linear

pytestmark = pytest.mark.slow

VALUES = np.random.default_rng(5).uniform(-1, 1, (12, 1, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, srs_cache: Path) -> Iterator[App]:
    """One application for all tests here, so that circuits are built once."""
    home = tmp_path_factory.mktemp("batches")
    opened = App.open(
        Settings.load(home=home, redis_url=None, srs_dir=srs_cache, plan_effort="fast")
    )
    yield opened
    opened.close()


def receive(
    app: App, folder: Path, count: int, profile: Profile | None = None, **options: Any
) -> Batch:
    path = folder / "rows.jsonl"
    lines = [{"id": f"row-{i}", "inputs": {"x": VALUES[i].tolist()}} for i in range(count)]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    model, _ = app.add_model(linear(), "linear")
    return ingest(
        app.batches.services, model, path, profile or Profile(), None, BatchOptions(**options)
    )


def proofs_of(app: App, batch: Batch) -> list[str]:
    """The jobs that made the proofs, one name for each proof."""
    items = app.store.items(batch.id, state=ItemState.PROVED)
    return sorted({item.pack_id or "" for item in items})


def finish(app: App, batch: Batch) -> Batch:
    if not app.store.job(batch.job_id).state.terminal:
        app.run(batch.job_id, "test")
    while pack := app.store.next_pack(batch.id):
        app.run(pack.id, "test")
    return app.store.batch(batch.id)


@pytest.fixture(scope="module")
def shared(app: App, tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """Five inputs in proofs of four lanes: one full pack, one with three lanes free."""
    return finish(app, receive(app, tmp_path_factory.mktemp("rows"), 5, lanes=4))


def test_items_share_proofs_and_each_verifies_alone(app: App, shared: Batch) -> None:
    assert shared.state is BatchState.SUCCEEDED
    assert len(proofs_of(app, shared)) == 2
    for item in app.store.items(shared.id):
        data = app.batches.item_bundle(shared.id, item.number)
        inputs = {"x": VALUES[item.number - 1]}
        context: dict[str, str | int | None] = {"job_id": f"{shared.id}.{item.number}"}
        report = verify_bundle(
            data, engine=app.engine, inputs=inputs, policy=Policy(context=context)
        )
        assert report.ok, report.failures
        assert report.statement is not None
        assert report.statement["lane"] == {"index": item.lane, "count": 4}
        assert item.result is not None
        flat = np.ravel(item.result["outputs"]["y"]).tolist()
        assert flat == report.statement["outputs"][0]["values"]


def test_results_are_a_table_too_where_pyarrow_is_installed(
    app: App, shared: Batch, tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    written = write_results(app.batches, shared.id, tmp_path, each=False)
    assert tmp_path / "results.parquet" in written
    table = parquet.read_table(tmp_path / "results.parquet")
    lines = [json.loads(x) for x in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert table.column("id").to_pylist() == [line["id"] for line in lines]
    for name in ("number", "line", "state", "receipt", "proof", "lane"):
        assert table.column(name).to_pylist() == [line[name] for line in lines], name
    outputs = [json.loads(text) for text in table.column("outputs").to_pylist()]
    assert outputs == [line["outputs"] for line in lines]


def test_a_receipt_is_about_its_own_lane_only(app: App, shared: Batch) -> None:
    first = read_bundle(app.batches.item_bundle(shared.id, 1))
    neighbour = {"x": VALUES[1]}
    data = write_bundle(first)
    assert not verify_bundle(data, engine=app.engine, inputs=neighbour).ok
    moved = Receipt.from_bytes(first.receipt).statement()
    lane = moved.predicate.lane
    assert lane is not None
    edited = moved.model_copy(
        update={
            "predicate": moved.predicate.model_copy(
                update={"lane": lane.model_copy(update={"index": 1})}
            )
        }
    )
    # Signed again by the trusted key, so that only the proof disagrees.
    lying = write_bundle(sign_bundle(edited, first, app.keys.signer()))
    report = verify_bundle(lying, engine=app.engine)
    assert {c.name for c in report.failures} == {
        "input-instances",
        "output-instances",
        "context-digest",
    }


def test_the_batch_is_one_bundle_with_each_proof_once(
    app: App, shared: Batch, tmp_path: Path
) -> None:
    write_results(app.batches, shared.id, tmp_path, each=True)
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [f"row-{i}" for i in range(5)]
    with (tmp_path / "batch.zkml").open("rb") as file:
        reports = list(verify_batch(file, engine=app.engine))
    assert [entry.number for entry, report in reports if report.ok] == [1, 2, 3, 4, 5]
    with zipfile.ZipFile(tmp_path / "batch.zkml") as archive:
        objects = [archive.read(n) for n in archive.namelist() if n.startswith("objects/")]
    assert len(set(objects)) == len(objects)
    assert sum(b"hex_proof" in data for data in objects) == len(proofs_of(app, shared)) == 2
    assert len(list((tmp_path / "items").iterdir())) == 5
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["done"], summary["failed"]) == (5, 0)


@pytest.mark.parametrize(
    ("profile", "shared"),
    [
        pytest.param(
            Profile(argument=Argument.PLAIN, visibility=Visibility.PRIVATE_INPUT),
            True,
            marks=pytest.mark.long,
        ),
        pytest.param(Profile(soundness=Soundness.CONSERVATIVE), True, marks=pytest.mark.long),
        (Profile(visibility=Visibility.HASHED_INPUT), False),
        pytest.param(Profile(visibility=Visibility.COMMITTED_INPUT), False, marks=pytest.mark.long),
        pytest.param(Profile(argument=Argument.COMMITTED), True, marks=pytest.mark.long),
        pytest.param(
            Profile(argument=Argument.COMMITTED, visibility=Visibility.PRIVATE_INPUT),
            True,
            marks=pytest.mark.long,
        ),
    ],
    ids=["private", "conservative", "hashed", "named", "committed", "committed-private"],
)
def test_every_profile_is_batched_or_says_why_not(
    app: App, tmp_path: Path, profile: Profile, shared: bool
) -> None:
    batch = finish(app, receive(app, tmp_path, 2, profile, lanes=2 if shared else None))
    assert batch.done == 2
    assert batch.plan is not None
    assert (batch.plan["unbatched_reason"] is None) == shared
    data = app.batches.item_bundle(batch.id, 2)
    assert (read_bundle(data).input is None) == (not profile.visibility.shows_input)
    assert (read_bundle(data).lanes is None) == (profile.argument is not Argument.COMMITTED)
    assert verify_bundle(data, engine=app.engine).ok


def test_isolated_items_have_a_proof_each(app: App, tmp_path: Path) -> None:
    batch = finish(app, receive(app, tmp_path, 2, isolate=True))
    assert len(proofs_of(app, batch)) == 2
    report = verify_bundle(app.batches.item_bundle(batch.id, 1), engine=app.engine)
    assert report.ok
    assert report.statement is not None
    assert "lane" not in report.statement


def test_a_failing_pack_is_split_until_the_culprit_is_alone(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = receive(app, tmp_path, 4, lanes=4)
    manifest = app.store.circuit(batch.circuit_id or "").manifest
    scale = manifest["inputs"][0]["scale"]
    culprit = [to_felt(int(np.sign(v) * np.floor(abs(v) * 2**scale + 0.5))) for v in VALUES[2][0]]
    prove = app.engine.prove

    def failing(files: Any, inputs: list[Felts], *args: Any, **kwargs: Any) -> ProofResult:
        rows = [inputs[0][at : at + 4] for at in range(0, len(inputs[0]), 4)]
        if culprit in rows:
            raise EngineError("the proof engine failed on this input")
        return prove(files, inputs, *args, **kwargs)

    monkeypatch.setattr(app.engine, "prove", failing)
    ended = finish(app, batch)
    states = {item.id: item.state for item in app.store.items(batch.id)}
    assert states == {
        "row-0": ItemState.PROVED,
        "row-1": ItemState.PROVED,
        "row-2": ItemState.FAILED,
        "row-3": ItemState.PROVED,
    }
    assert ended.state is BatchState.SUCCEEDED
    assert (
        app.store.item(batch.id, 3).problem
        == EngineError("the proof engine failed on this input").problem()
    )


def test_a_canceled_batch_keeps_what_is_proved_and_forgets_the_inputs(
    app: App, tmp_path: Path
) -> None:
    batch = receive(app, tmp_path, 5, lanes=4)
    app.run(batch.job_id, "test")
    first = app.store.next_pack(batch.id)
    assert first is not None
    app.run(first.id, "test")
    keys = app.store.chunk_keys(batch.id)
    ended = app.batches.cancel(batch.id)
    assert ended.state is BatchState.CANCELED
    assert ended.counts == {ItemState.PROVED: 4, ItemState.CANCELED: 1}
    assert keys
    assert app.store.chunk_keys(batch.id) == {}
    assert app.store.next_pack(batch.id) is None


def test_what_was_being_planned_when_the_batch_was_canceled_is_not_queued(
    app: App, tmp_path: Path
) -> None:
    batch = receive(app, tmp_path, 3, lanes=4)
    lease = app.store.claim(batch.job_id, "test", 30)
    assert lease is not None
    app.batches.cancel(batch.id)
    assert app.store.cancel_requested(batch.job_id)
    late = Pack(id="late", circuit_id=batch.circuit_id or "", request={}, numbers=(1, 2, 3))
    assert app.store.start_packs(lease, [late], {}, {}, {}) == []
    with pytest.raises(JobNotFound):
        app.store.job("late")
    assert app.store.batch(batch.id).counts == {ItemState.CANCELED: 3}


def test_canceling_while_planning_and_proofs_end_leaves_nothing_behind(
    app: App, tmp_path: Path
) -> None:
    """Wherever in its life a batch is met, it ends at once and no job of it stays queued."""
    for pause in np.linspace(0, 0.3, 8):
        batch = receive(app, tmp_path, 3, isolate=True)
        worker = threading.Thread(target=finish, args=(app, batch))
        worker.start()
        time.sleep(pause)
        ended = app.batches.cancel(batch.id)
        worker.join()
        assert ended.state in (BatchState.CANCELED, BatchState.SUCCEEDED)
        assert not app.store.batch(batch.id).remaining
        jobs = [app.store.job(i.pack_id) for i in app.store.items(batch.id) if i.pack_id]
        assert all(job.state.terminal for job in [*jobs, app.store.job(batch.job_id)])


def test_what_is_not_proved_by_the_deadline_is_canceled(app: App, tmp_path: Path) -> None:
    ended = finish(app, receive(app, tmp_path, 5, lanes=4, deadline_s=1e-6))
    assert ended.state is BatchState.EXPIRED
    assert ended.counts == {ItemState.EXPIRED: 5}


@pytest.mark.long
def test_a_row_far_outside_does_not_make_the_others_coarse(app: App, tmp_path: Path) -> None:
    """Neither by its own range, nor by a circuit that was once built for such values."""
    values = [*VALUES[:3].tolist(), [[1e6, 0.0, 0.0, 0.0]]]
    path = tmp_path / "rows.jsonl"
    model, _ = app.add_model(linear(scale=0.25), "far")
    far = {"inputs": {"x": values[3]}}
    path.write_text("\n".join(json.dumps({"inputs": {"x": v}}) for v in values))
    first = app.request_proof(
        model_id=model.id, circuit_id=None, payload=far, profile=Profile(), context=None
    )
    app.run(first.id, "test")
    batch = finish(app, ingest(app.batches.services, model, path, Profile(), None, BatchOptions()))
    items = app.store.items(batch.id)
    assert [i.state for i in items] == [ItemState.PROVED] * 3 + [ItemState.FAILED]
    assert (items[3].problem or {})["code"] == "input_out_of_range"
    distinct = {json.dumps((item.result or {})["outputs"]) for item in items[:3]}
    assert len(distinct) == 3


def test_a_batch_without_a_usable_row_has_failed_at_once(app: App, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"inputs": {"x": [1]}}\n')
    model, _ = app.add_model(linear(), "linear")
    batch = ingest(app.batches.services, model, path, Profile(), None, BatchOptions())
    assert (batch.state, batch.failed) == (BatchState.FAILED, 1)


def test_a_pack_whose_workers_died_is_split_at_the_next_read(app: App, tmp_path: Path) -> None:
    batch = receive(app, tmp_path, 2, lanes=4)
    app.run(batch.job_id, "test")
    pack = app.store.next_pack(batch.id)
    assert pack is not None
    lease = app.store.claim(pack.id, "test", 30)
    assert lease is not None
    app.store.fail(lease, EngineError().problem())  # ended, and nobody settled its items
    app.batches.batch(batch.id)
    ended = finish(app, batch)
    assert ended.counts == {ItemState.PROVED: 2}
