"""A batch never hides inaccuracy: rows whose answer misses the tolerance are counted and named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from circuits.format.profile import Profile
from prover.app import App
from prover.batch.ingest import ingest
from prover.batch.options import BatchOptions, OnInexact
from prover.batch.results import write_results
from prover.records.batch import Batch, ItemState
from prover.settings import Settings
from prover.statement.envelope import Receipt
from tests.cases.tiny import model

pytestmark = pytest.mark.slow

#: One float above the threshold of 0.3: no step that a circuit would choose tells them apart.
BESIDE = float(np.nextafter(np.float32(0.3), np.float32(1)))
ROWS = [0.9, -0.7, BESIDE, 0.1]


def steps() -> bytes:
    """``y = [x > 0.3, x <= 0.3]``: x is float32 [1, 1], y float32 [1, 2]."""
    return model(
        [
            helper.make_node("Greater", ["x", "t"], ["above"]),
            helper.make_node("Not", ["above"], ["below"]),
            helper.make_node("Cast", ["above"], ["high"], to=TensorProto.FLOAT),
            helper.make_node("Cast", ["below"], ["low"], to=TensorProto.FLOAT),
            helper.make_node("Concat", ["high", "low"], ["y"], axis=1),
        ],
        {"x": (TensorProto.FLOAT, [1, 1])},
        {"y": (TensorProto.FLOAT, [1, 2])},
        {"t": np.array([[0.3]], dtype=np.float32)},
    )


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, srs_cache: Path) -> Iterator[App]:
    home = tmp_path_factory.mktemp("inexact")
    opened = App.open(
        Settings.load(home=home, redis_url=None, srs_dir=srs_cache, plan_effort="fast")
    )
    yield opened
    opened.close()


def proved(app: App, folder: Path, wish: OnInexact) -> Batch:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"inputs": {"x": [[v]]}}) for v in ROWS))
    record, _ = app.add_model(steps(), "steps")
    batch = ingest(
        app.batches.services, record, path, Profile(), None, BatchOptions(on_inexact=wish)
    )
    app.run(batch.job_id, "test")
    while pack := app.store.next_pack(batch.id):
        app.run(pack.id, "test")
    return app.store.batch(batch.id)


@pytest.mark.long
def test_a_wrong_output_is_counted_in_its_row(app: App, tmp_path: Path) -> None:
    batch = proved(app, tmp_path, OnInexact.REPORT)
    assert (batch.done, batch.inexact) == (4, 1)
    write_results(app.batches, batch.id, tmp_path, each=False)
    assert json.loads((tmp_path / "summary.json").read_text())["inexact"] == 1
    lines = [json.loads(x) for x in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [x["error"]["inexact"] for x in lines] == [False, False, True, False]
    assert [x["error"]["same_top1"] for x in lines] == [True, True, False, True]
    receipt = Receipt.from_bytes(app.artifacts.get(lines[2]["receipt"])).statement()
    assert receipt.predicate.accuracy.this_input.same_top1 is False


def test_such_a_row_fails_where_that_is_asked(app: App, tmp_path: Path) -> None:
    batch = proved(app, tmp_path, OnInexact.FAIL)
    assert (batch.done, batch.failed, batch.inexact) == (3, 1, 0)
    (failed,) = app.store.items(batch.id, state=ItemState.FAILED)
    assert failed.number == 3
    assert failed.problem is not None
    assert failed.problem["code"] == "row_inexact"
    assert failed.result is None


def test_such_a_row_is_proved_again_by_itself_where_that_is_asked(app: App, tmp_path: Path) -> None:
    batch = proved(app, tmp_path, OnInexact.ISOLATE)
    assert batch.done == 4
    again = app.store.item(batch.id, 3)
    others = {app.store.item(batch.id, n).pack_id for n in (1, 2, 4)}
    assert again.pack_id not in others
    pack = app.store.job(again.pack_id or "")
    assert app.store.circuit(pack.circuit_id).profile["max_error"] == pytest.approx(0.01 / 8)
    # No finer step tells this row's value from the threshold: that is said, and not hidden.
    assert again.inexact
