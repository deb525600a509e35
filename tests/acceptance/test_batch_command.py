"""``zkml batch``: bad rows named, the others proved; killed and resumed without proving twice."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from prover.records.job import JobKind
from prover.settings import Settings
from prover.store import Store
from tests.acceptance.processes import ZKML, environment, zkml
from tests.cases.tiny import linear

pytestmark = pytest.mark.slow

VALUES = np.random.default_rng(9).uniform(-1, 1, (6, 1, 4))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "linear.onnx"
    path.write_bytes(linear())
    return path


def rows(tmp_path: Path, *more: str) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"inputs": {"x": v.tolist()}}) for v in VALUES]
    path.write_text("\n".join([*lines, *more]) + "\n")
    return path


@pytest.mark.long
def test_rows_that_cannot_be_proved_are_named_and_the_rest_proved(
    tmp_path: Path, model: Path, srs_cache: Path
) -> None:
    bad = ['{"id": "wide", "inputs": {"x": [[1, 2, 3, 4, 5]]}}', '{"inputs": {"x": [[0,']
    done = zkml(
        tmp_path / "home",
        "batch",
        model,
        rows(tmp_path, *bad),
        *("-o", tmp_path / "out", "--lanes", "4", "--json"),
        ZKML_SRS_DIR=str(srs_cache),
    )
    assert (done.code, done.json["done"], done.json["failed"]) == (1, 6, 2)
    assert "line 7 (wide)" in done.err
    assert "line 8" in done.err
    lines = [json.loads(x) for x in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [x["state"] for x in lines] == ["proved"] * 6 + ["failed"] * 2
    checked = zkml(tmp_path / "home", "verify", tmp_path / "out" / "batch.zkml", "--json")
    assert (checked.code, checked.json["verified"]) == (0, 6)


@pytest.mark.long
@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param("", "batch_empty", marks=pytest.mark.long),
        ("a,b\n1,2\n", "batch_columns"),
    ],
    ids=["empty", "header"],
)
def test_a_file_without_a_usable_row_ends_with_its_line_and_exit_code_1(
    tmp_path: Path, model: Path, content: str, code: str
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(content)
    done = zkml(tmp_path / "home", "batch", model, path, "-o", tmp_path / "out", "--json")
    assert (done.code, done.json["failed"]) == (1, 1)
    line = json.loads((tmp_path / "out" / "results.jsonl").read_text())
    assert (line["line"], line["problem"]["code"]) == (1, code)


@pytest.mark.long
def test_rows_that_the_deadline_left_are_counted_and_the_exit_code_is_1(
    tmp_path: Path, model: Path, srs_cache: Path
) -> None:
    command = ["batch", model, rows(tmp_path), "-o", tmp_path / "out", "--deadline", "0.001"]
    done = zkml(tmp_path / "home", *map(str, command), ZKML_SRS_DIR=str(srs_cache))
    assert done.code == 1
    assert "6 rows expired" in done.err
    assert "more, in results.jsonl" not in done.err


@pytest.mark.long
def test_a_killed_batch_resumes_and_proves_nothing_twice(
    tmp_path: Path, model: Path, srs_cache: Path
) -> None:
    home, out = tmp_path / "home", tmp_path / "out"
    command: list[str | Path] = ["batch", model, rows(tmp_path), "-o", out, "--isolate"]
    env = {"ZKML_SRS_DIR": str(srs_cache), "ZKML_LEASE_S": "1"}
    killed = subprocess.Popen(
        [ZKML, *map(str, command)], env=environment(home, **env), stderr=subprocess.DEVNULL
    )
    results = out / "results.jsonl"
    until = time.monotonic() + 300
    while not (results.exists() and results.read_text().count("proved") >= 2):
        assert killed.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    done = zkml(home, *command, "--resume", "--json", **env)
    assert (done.code, done.json["done"]) == (0, 6)
    with Store.open(Settings(home=home).database_url) as store:
        packs = store.jobs(50, kind=JobKind.PACK).items
    # A pack that was at work when it was killed is begun again; one that had ended is not.
    assert sorted(p.attempt for p in packs)[:-1] == [1] * 5
    again = zkml(home, *command, "--resume", "--json", **env)
    assert again.json["batch"] == done.json["batch"]
    with Store.open(Settings(home=home).database_url) as store:
        assert len(store.jobs(50, kind=JobKind.PACK).items) == 6
