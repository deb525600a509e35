"""The command line as people and programs meet it: words and exit codes. (``test_cli_prove`` has
``zkml prove``.)"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from prover.statement.bundle import read_bundle, write_bundle
from tests.acceptance.processes import (
    HANGS_S,
    INTERNAL,
    NO,
    ROOT,
    USAGE,
    YES,
    ZKML,
    Workspace,
    environment,
    scratch,
    zkml,
)
from tests.cases import tiny

pytestmark = pytest.mark.slow


# --- homes -------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_home_that_cannot_be_made_is_named(workspace: Workspace) -> None:
    env = {
        "ZKML_HOME": str(workspace.model / "home"),
        "ZKML_SRS_DIR": str(workspace.model / "home/srs"),
    }
    for args, code in (
        (
            ["prove", workspace.model, workspace.input, "-o", workspace.folder / "never.zkml"],
            "home_unusable",
        ),
        (["plan", workspace.model], "home_unusable"),
        (["up", "--port", "0"], "home_unusable"),
        (["srs", "generate", "4"], "srs_unwritable"),
    ):
        done = workspace.zkml(*args, "--json", **env)
        assert (done.code, done.problem["code"]) == (USAGE, code), args
        assert "ZKML_" in done.problem["advice"]
    doctor = workspace.zkml("doctor", "--json", **env)
    assert doctor.code == INTERNAL
    assert {f["level"] for f in doctor.json["findings"] if f["name"] == "home"} == {"problem"}


# --- verify, inspect ---------------------------------------------------------------------------


def test_a_bundle_is_checked_against_the_policy(workspace: Workspace) -> None:
    other = workspace.write("other.onnx", tiny.linear(scale=2.0))
    wrong = workspace.write("wrong.json", '{"inputs": {"x": [[1, -1, 2, 0.25]]}}')
    expected: list[str | Path] = [
        "--model",
        workspace.model,
        "--input",
        workspace.input,
        "--nonce",
        "mine",
    ]
    done = workspace.zkml("verify", workspace.bundle, *expected, "--json")
    assert (done.code, done.json["ok"]) == (YES, True)
    others: list[str | Path] = ["--model", other, "--input", wrong, "--nonce", "not mine"]
    # Strict: this machine made the reference string.
    done = workspace.zkml("verify", workspace.bundle, *others, "--strict", "--json")
    assert (done.code, done.json["ok"]) == (NO, False)
    failed = {check["name"] for check in done.json["checks"] if check["status"] == "fail"}
    assert failed >= {"expected-model", "expected-input", "expected-context", "srs-policy"}


@pytest.mark.long
def test_the_key_is_rebuilt_from_the_model(workspace: Workspace) -> None:
    done = workspace.zkml(
        "verify", workspace.bundle, "--model", workspace.model, "--rebuild", "--json"
    )
    assert done.code == YES, done.out
    without = workspace.zkml("verify", workspace.bundle, "--rebuild", "--json")
    assert (without.code, without.problem["code"]) == (USAGE, "options_disagree")


def test_a_damaged_bundle_is_a_no_and_a_missing_one_is_a_mistake(workspace: Workspace) -> None:
    good = workspace.bundle.read_bytes()
    parts = read_bundle(good)
    shorter = parts.proof.replace(b'"proof":[', b'"proof":[1,', 1)
    for data in (good[:-1], write_bundle(replace(parts, proof=shorter))):
        damaged = workspace.write("damaged.zkml", data)
        done = workspace.zkml("verify", damaged, "--json")
        assert (done.code, done.json["ok"]) == (NO, False)
        failed = [c for c in done.json["checks"] if c["status"] == "fail"]
        assert failed
        assert all(c["detail"] for c in failed)
    assert "NOT VERIFIED" in workspace.zkml("verify", damaged).out

    for missing in (workspace.folder / "nowhere.zkml", workspace.folder):
        done = workspace.zkml("verify", missing, "--json")
        assert (done.code, done.problem["code"]) == (USAGE, "file_unreadable")


@pytest.mark.long
def test_inspect_reads_models_and_bundles(workspace: Workspace) -> None:
    model = workspace.zkml("inspect", workspace.model, "--json")
    assert (model.code, model.json["ok"]) == (YES, True)
    assert model.json["parameters"] == 15
    bundle = workspace.zkml("inspect", workspace.bundle, "--json")
    assert bundle.code == YES
    assert bundle.json["statement"]
    refused = workspace.zkml(
        "inspect", workspace.write("noise.onnx", tiny.unary("RandomNormalLike")), "--json"
    )
    assert refused.code == USAGE
    assert [o["op"] for o in refused.json["operators"] if o["status"] == "refused"] == [
        "RandomNormalLike"
    ]
    cut = workspace.write("broken", workspace.bundle.read_bytes()[:5000])
    broken = workspace.zkml("inspect", cut, "--json")
    assert broken.code == USAGE
    assert broken.problem["code"]


# --- plan, srs, doctor -------------------------------------------------------------------------


@pytest.mark.long
def test_a_plan_has_its_choice_and_reasons(workspace: Workspace) -> None:
    done = workspace.zkml("plan", workspace.model, "--json")
    plan = done.json["plan"]
    assert done.code == YES
    assert plan["choice"]["args"]["logrows"] < 15  # the engine's default circuit
    assert plan["choice"]["error"]["max_error"] <= 0.01
    assert all(row["rejected_because"] for row in plan["runners_up"] + plan["rejected"])
    assert workspace.zkml("plan", workspace.model).code == YES


@pytest.mark.long
def test_srs_files_are_made_listed_and_judged(workspace: Workspace, tmp_path: Path) -> None:
    folder = {"ZKML_SRS_DIR": str(tmp_path / "srs")}
    made = workspace.zkml("srs", "generate", "4", "--json", **folder)
    assert made.json["origin"] == "insecure-development"
    assert "forge" in made.json["warning"]
    again = workspace.zkml("srs", "generate", "4", "--json", **folder)
    assert (again.code, again.problem["code"]) == (USAGE, "srs_invalid")
    taken = workspace.zkml("srs", "import", tmp_path / "srs" / "dev4.srs", "--json", **folder)
    assert (taken.code, taken.json["origin"]) == (YES, "imported")
    listed = workspace.zkml("srs", "list", "--json", **folder)
    assert [f["origin"] for f in listed.json["files"]] == ["imported", "insecure-development"]
    judged = workspace.zkml("srs", "check", tmp_path / "srs" / "kzg4.srs", "--json", **folder)
    assert (judged.code, judged.json["ok"]) == (NO, False)
    refused = workspace.zkml(
        "srs",
        "fetch",
        "4",
        "--json",
        ZKML_SRS_SOURCE_URL="http://127.0.0.1:9/{k}",
        ZKML_SRS_DIR=str(tmp_path / "other"),
    )
    assert (refused.code, refused.problem["code"]) == (INTERNAL, "srs_unreachable")
    assert (workspace.zkml("srs", "list", **folder)).code == YES


def test_the_doctor_checks_everything(workspace: Workspace) -> None:
    done = workspace.zkml("doctor", "--json")
    levels = {f["name"]: f["level"] for f in done.json["findings"]}
    assert done.code == YES
    assert {"python", "engine", "home", "database", "artifacts", "redis", "srs"} <= set(levels)
    assert levels["engine"] == "ok"
    assert workspace.zkml("doctor", "--settings").out.count("ZKML_") > 15


# --- usage -------------------------------------------------------------------------------------


def test_a_command_line_without_sense_exits_with_2(tmp_path: Path) -> None:
    """tests/unit/test_usage.py has more of them."""
    done = zkml(tmp_path / "home", "nonsense", "--json")
    assert (done.code, done.problem["code"]) == (USAGE, "usage")


def test_a_setting_that_cannot_be_used_is_named(workspace: Workspace) -> None:
    out = workspace.folder / "never.zkml"
    done = workspace.prove(workspace.model, workspace.input, "-o", out, ZKML_LEASE_S="soon")
    assert (done.code, done.problem["code"]) == (USAGE, "settings_invalid")
    assert "ZKML_LEASE_S" in done.problem["detail"]


@pytest.mark.long  # tests/acceptance/test_service.py makes each of its points
def test_the_demo_does_the_main_job_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(Path(ZKML).with_name("python")), "-m", "benchmarks.demo"],
        env=environment(tmp_path / "home"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANGS_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "none failed" in done.stdout
    assert "verified again: rejected" in done.stdout
    assert scratch(tmp_path / "home") == []
