"""``zkml prove``: what it says, what it refuses, and nothing half-written."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import external_data_helper, load_from_string

from tests.acceptance.processes import (
    HANGS_S,
    INTERNAL,
    INTERRUPTED,
    USAGE,
    YES,
    ZKML,
    Ended,
    Workspace,
    environment,
    scratch,
    until,
    zkml,
)
from tests.cases import tiny

pytestmark = pytest.mark.slow


def prove_with_small_files(
    home: Path, workspace: Workspace, out: Path, limit: int
) -> subprocess.CompletedProcess[str]:
    """``zkml prove`` where no file may exceed ``limit`` bytes, which stands in for a full disk."""
    return subprocess.run(
        [ZKML, "prove", workspace.model, workspace.input, "-o", out, "--json"],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=HANGS_S,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )


def prove_until(
    condition: Callable[[], bool], home: Path, model: Path, given: Path, out: Path
) -> Ended:
    """``zkml prove`` that gets Ctrl-C once the condition holds."""
    process = subprocess.Popen(
        [ZKML, "prove", model, given, "-o", out, "--json"],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the test run itself was started to ignore Ctrl-C, its children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    until(condition)
    process.send_signal(signal.SIGINT)
    said, err = process.communicate(timeout=HANGS_S)
    return Ended(code=process.returncode, out=said, err=err)


def test_the_output_says_what_was_proved_and_how_to_check_it(workspace: Workspace) -> None:
    out = workspace.folder / "told.zkml"
    done = workspace.zkml("prove", workspace.model, workspace.input, "-o", out)
    assert done.code == YES
    assert "y = [[0.0, 0.25, 2.25]]" in done.out
    assert "this output is off by at most" in done.out
    assert "more than the" not in done.out  # the tolerance
    assert f"zkml verify {out}" in done.out
    assert "circuit built" not in done.out  # it was there
    assert workspace.zkml("verify", out).code == YES
    assert scratch(workspace.home) == []


@pytest.mark.long
def test_who_proves_beside_a_jump_of_the_model_is_told_what_the_proof_missed(
    workspace: Workspace,
) -> None:
    model = workspace.write("floor.onnx", tiny.unary("Floor", (1, 1)))
    beside = workspace.write("beside.json", '{"inputs": {"x": [[0.999999]]}}')
    done = workspace.zkml("prove", model, beside, "-o", workspace.folder / "floor.zkml")
    assert done.code == YES, done
    assert "y = [[1.0]]" in done.out
    assert "off by at most 1," in done.out
    assert "exceeds the tolerance of 1 %" in done.out


@pytest.mark.long  # tests/unit/test_inputs.py reads them all
def test_inputs_of_every_form_give_the_same_output(workspace: Workspace) -> None:
    flat = workspace.write("flat.json", '{"input_data": [[1, -1, 2, 0]]}')
    array = workspace.folder / "input.npz"
    np.savez(array, x=np.array([[1, -1, 2, 0]], dtype=np.float32))
    for given in (flat, array):
        done = workspace.prove(workspace.model, given, "-o", workspace.folder / "form.zkml")
        assert done.json["outputs"] == {"y": [[0.0, 0.25, 2.25]]}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("{", "input_invalid", marks=pytest.mark.long),
        ('{"inputs": {"x": [1, 2, 3]}}', "input_shape"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(workspace: Workspace, text: str, code: str) -> None:
    out = workspace.folder / "never.zkml"
    done = workspace.prove(workspace.model, workspace.write("bad.json", text), "-o", out)
    assert (done.code, done.problem["code"]) == (USAGE, code)
    assert not out.exists()


@pytest.mark.long
def test_an_input_beyond_the_calibrated_range_is_refused_before_proving(
    workspace: Workspace,
) -> None:
    samples = workspace.folder / "samples.npz"
    np.savez(samples, x=np.random.default_rng(0).uniform(-1, 1, (32, 1, 4)))
    far = workspace.write("far.json", '{"input_data": [[1000, 0, 0, 0]]}')
    done = workspace.prove(
        workspace.model, far, "-o", workspace.folder / "never.zkml", "--calibration", samples
    )
    assert (done.code, done.problem["code"]) == (USAGE, "input_out_of_range")
    assert "'x'" in done.problem["detail"]


def _with_external_data(folder: Path) -> bytes:
    proto = load_from_string(tiny.linear())
    external_data_helper.set_external_data(proto.graph.initializer[0], "../../etc/passwd")
    proto.graph.initializer[0].ClearField("raw_data")
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize(
    ("make", "code", "says"),
    [
        pytest.param(
            lambda _: b"\x89HDF" * 100, "model_not_onnx", "", marks=pytest.mark.long, id="keras"
        ),
        pytest.param(
            _with_external_data,
            "model_external_data",
            "'w'",
            marks=pytest.mark.long,
            id="external data",
        ),
        (lambda _: tiny.non_zero(), "model_unsupported_operator", "the_node"),
    ],
    ids=[None, None, "operator"],
)
def test_a_model_that_cannot_be_proved_is_named(
    workspace: Workspace, make: object, code: str, says: str
) -> None:
    assert callable(make)
    bad = workspace.write("bad.onnx", make(workspace.folder))
    done = workspace.prove(bad, workspace.input, "-o", workspace.folder / "never.zkml")
    assert done.code == USAGE
    assert done.problem["code"].startswith(code)
    assert says in done.problem["detail"]
    assert done.problem["advice"]


@pytest.mark.long
def test_a_tolerance_that_nothing_meets_names_the_best(workspace: Workspace) -> None:
    done = workspace.prove(
        workspace.write("sigmoid.onnx", tiny.linear(activation="Sigmoid")),
        workspace.input,
        "-o",
        workspace.folder / "never.zkml",
        "--tolerance",
        "0",
    )
    assert (done.code, done.problem["code"]) == (USAGE, "plan_no_candidate")
    assert done.problem["context"]["best"]["max_error"] > 0


@pytest.mark.long
def test_output_that_cannot_be_written_is_known_before_the_work(workspace: Workspace) -> None:
    for out in (
        workspace.folder,
        workspace.folder / "no" / "such" / "folder.zkml",
        workspace.model / "x.zkml",
    ):
        done = workspace.prove(workspace.model, workspace.input, "-o", out)
        assert (done.code, done.problem["code"]) == (USAGE, "file_unwritable")


@pytest.mark.long
def test_a_device_is_written_to_and_not_replaced(workspace: Workspace) -> None:
    assert workspace.prove(workspace.model, workspace.input, "-o", "/dev/null").code == YES
    assert Path("/dev/null").is_char_device()


@pytest.mark.long
def test_a_full_disk_leaves_nothing_half_written(workspace: Workspace) -> None:
    out = workspace.folder / "small" / "out.zkml"
    out.parent.mkdir()
    done = prove_with_small_files(workspace.home, workspace, out, 20_000)
    assert done.returncode in (USAGE, INTERNAL), done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["problem"]["code"]
    assert list(out.parent.iterdir()) == []


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system can be mounted by root only")
def test_a_full_file_system_is_named(workspace: Workspace, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(full)], check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        done = workspace.prove(workspace.model, workspace.input, "-o", full / "out.zkml")
        assert (done.code, done.problem["code"]) == (USAGE, "file_unwritable")
        assert "No space" in done.problem["detail"]
        assert list(full.iterdir()) == []
        home = zkml(
            full / "home",
            "prove",
            workspace.model,
            workspace.input,
            "-o",
            workspace.folder / "n.zkml",
        )
        assert home.code in (USAGE, INTERNAL)
    finally:
        subprocess.run(["umount", str(full)], check=True)


def test_ctrl_c_leaves_nothing(workspace: Workspace) -> None:
    model = workspace.write("slow.onnx", tiny.wide(64))
    given = workspace.write("slow.json", json.dumps({"input_data": [[0.5] * 64]}))
    out = workspace.folder / "interrupted" / "out.zkml"
    out.parent.mkdir()
    working = workspace.home / "tmp"
    done = prove_until(
        lambda: any(p.is_dir() for p in working.iterdir()), workspace.home, model, given, out
    )
    assert done.code == INTERRUPTED
    assert "Traceback" not in done.err
    assert done.problem["code"] == "canceled"
    assert list(out.parent.iterdir()) == []
    assert not any(p.is_dir() for p in working.iterdir())
    assert scratch(workspace.home) == []


@pytest.mark.long
def test_a_disk_that_fills_up_under_a_job_is_named(workspace: Workspace, tmp_path: Path) -> None:
    """The database cannot write down how the job ends: the command still says what happened."""
    home = tmp_path / "home"
    first = zkml(home, "prove", workspace.model, workspace.input, "-o", tmp_path / "first.zkml")
    assert first.code == YES
    database = home / "zkml.db"
    size = database.stat().st_size
    done = prove_with_small_files(home, workspace, tmp_path / "x", size // 2)
    assert done.returncode in (USAGE, INTERNAL)
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["problem"]["advice"]
    assert not (tmp_path / "x").exists()


@pytest.mark.long
def test_ctrl_c_before_the_work_is_reported_too(workspace: Workspace, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = prove_until(home.exists, home, workspace.model, workspace.input, tmp_path / "x")
    assert done.code == INTERRUPTED, done.err
    assert done.problem["code"] == "canceled"
    assert scratch(home) == []


@pytest.mark.long
def test_without_a_ceremony_there_is_no_proof_if_the_operator_says_so(workspace: Workspace) -> None:
    done = workspace.prove(
        workspace.model,
        workspace.input,
        "-o",
        workspace.folder / "never.zkml",
        ZKML_SRS_POLICY="ceremony",
    )
    assert (done.code, done.problem["code"]) == (USAGE, "srs_missing")
    assert "zkml srs fetch" in done.problem["advice"]
