"""The Helm chart, rendered by Helm's own library, with its queries run on PostgreSQL.

The library is large and in no extra: `pip install helm-python-sdk kubernetes-validate`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from prover.records.job import JobKind
from prover.settings import Settings
from prover.store import Store
from prover.testing import model_record

helm = pytest.importorskip("helm_python")
schemas = pytest.importorskip("kubernetes_validate")

CHART = Path(__file__).parents[2] / "deploy" / "chart"
OPTIONS: tuple[dict[str, Any], ...] = ({}, {"keda": {"enabled": False}}, {"srsClaim": "srs"})
KUBERNETES = "1.30"


def rendered(values: dict[str, Any]) -> list[dict[str, Any]]:
    with helm.Chart.load(str(CHART)) as chart:
        files = chart.render(values, name="demo", namespace="prod")
    return [
        document for text in files.values() for document in yaml.safe_load_all(text) if document
    ]


def pods(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The workers' pods."""
    jobs = [d["spec"]["jobTargetRef"] for d in documents if d["kind"] == "ScaledJob"]
    specs = [d["spec"] for d in documents if d["kind"] == "Deployment"] + jobs
    found = [spec["template"]["spec"] for spec in specs]
    return [pod for pod in found if pod["containers"][0]["name"] == "worker"]


def test_the_linter_finds_no_fault() -> None:
    found = helm.lint(str(CHART))
    assert found["errors"] == []
    assert {message["error"] for message in found["messages"]} <= {"icon is recommended"}


@pytest.mark.parametrize("values", OPTIONS, ids=str)
def test_manifests_are_valid_and_someone_takes_jobs_of_each_size(values: dict[str, Any]) -> None:
    documents = rendered(values)
    for document in documents:
        if not document["apiVersion"].startswith("keda.sh/"):
            schemas.validate(document, KUBERNETES, strict=True)
        elif document["kind"] == "ScaledJob":
            job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "large"}}
            schemas.validate(job | {"spec": document["spec"]["jobTargetRef"]}, KUBERNETES)
    classes: list[str] = []
    for pod in pods(documents):
        set_here = {one["name"]: one["value"] for one in pod["containers"][0]["env"]}
        classes += Settings.load(**as_settings(set_here)).classes
        assert int(set_here["ZKML_STOP_GRACE_S"]) < pod["terminationGracePeriodSeconds"]
    assert sorted(classes) == ["compile", "large", "notify", "small"]


def as_settings(variables: dict[str, str]) -> dict[str, Any]:
    return {name.removeprefix("ZKML_").lower(): value for name, value in variables.items()}


def test_the_queries_count_what_each_group_has_to_do(server: str) -> None:
    queries = {
        document["metadata"]["name"].removeprefix("demo-worker-"): trigger["metadata"]["query"]
        for document in rendered({})
        for trigger in document["spec"].get("triggers", [])
    }
    engine = sa.create_engine(server.replace("postgresql://", "postgresql+psycopg://"))
    with Store.open(server) as store, engine.connect() as conn:
        store.add_model(model_record())
        ordered = [
            store.create_job(JobKind.PROOF, model_record().id, "c", {}, None) for _ in "abcde"
        ]
        for job, size in zip(ordered, ("small", "small", "large", "large", "compile"), strict=True):
            conn.execute(sa.text(f"UPDATE jobs SET size = '{size}' WHERE id = '{job.id}'"))
        for job in ordered[1], ordered[2]:
            conn.execute(sa.text(f"UPDATE jobs SET state = 'running' WHERE id = '{job.id}'"))
        counts = {name: int(conn.scalar(sa.text(query)) or 0) for name, query in queries.items()}
    engine.dispose()
    assert counts == {"small": 1, "compile": 1, "large": 1}  # four small jobs for each worker
