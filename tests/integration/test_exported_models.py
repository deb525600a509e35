"""Models as exporters write them, from the uploaded file to a proof that verifies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from circuits.profile import Profile
from prover.app import App
from prover.jobs import JobState
from prover.settings import Settings
from tests.estimators import iris, iris_tree

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, srs_cache: Path) -> Iterator[App]:
    home = tmp_path_factory.mktemp("exported")
    opened = App.open(Settings.load(home=home, srs_dir=srs_cache, plan_effort="fast"))
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "labels",
    [{"classlabels_int64s": [0, 1, 2]}, {"classlabels_strings": ["setosa", "versicolor", "other"]}],
    ids=["numbers", "text"],
)
def test_a_classifier_with_its_zipmap_proves_as_exported(
    app: App, labels: dict[str, list[object]]
) -> None:
    """Its answers in onnxruntime are a list of maps, and perhaps text: what is proved, and what
    the receipt's error is measured against, are the same numbers as tensors."""
    record, _ = app.add_model(iris_tree(**labels), "tree")
    x, y = iris()
    job = app.request_proof(
        model_id=record.id,
        circuit_id=None,
        payload={"inputs": {"x": x[-1:].tolist()}},
        profile=Profile(),
        context=None,
    )
    app.run(job.id, "test")
    done = app.store.job(job.id)
    assert done.state is JobState.SUCCEEDED, done.problem
    assert done.result is not None
    assert done.result["outputs"]["label"] == [y[-1]]
    assert np.argmax(done.result["outputs"]["probabilities"][0]) == y[-1]
    manifest = app.store.circuit(done.circuit_id).manifest
    assert manifest["files"]["reference"] != record.id
    assert app.verify(app.bundle(done), None)["ok"]
