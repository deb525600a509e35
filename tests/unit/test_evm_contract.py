"""Verifier contracts: which compiler is taken, and which sizes a chain takes."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from circuits.evm.contract import MAX_CONTRACT_BYTES
from circuits.evm.errors import SolcFailed, SolcMissing
from circuits.evm.solc import Solc
from circuits.plan.lowered_candidates import ContractSize


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_without_a_compiler_the_error_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SolcMissing) as caught:
        Solc.find()
    assert caught.value.code == "solc_missing"
    assert "ZKML_SOLC" in caught.value.advice
    with pytest.raises(SolcMissing, match="does not run"):
        Solc.find(tmp_path / "nowhere")


def test_a_compiler_of_another_version_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytecode would be another one; a right one further along PATH is still found."""
    program(tmp_path / "solc", "echo 'Version: 0.8.30+commit.73712a01.Linux.g++'")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SolcMissing, match=r"0\.8\.30.*0\.8\.20"):
        Solc.find()
    program(tmp_path / "solcjs", "echo 0.8.20+commit.a1b79de6.Emscripten.clang")
    found = Solc.find()
    assert (found.path.name, found.version) == (
        "solcjs",
        "0.8.20+commit.a1b79de6.Emscripten.clang",
    )


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ("echo 'out of memory' >&2", "out of memory"),
        ('echo \'{"errors": [{"severity": "error", "message": "too deep"}]}\'', "too deep"),
        ("sleep 5", "did not finish"),
    ],
)
def test_a_compiler_that_fails_is_quoted(tmp_path: Path, says: str, reason: str) -> None:
    compiler = Solc(path=program(tmp_path / "solc", says), version="0.8.20")
    with pytest.raises(SolcFailed, match=reason):
        compiler.compile("contract Halo2Verifier {}", deadline_s=0.5)


def test_a_size_that_is_only_predicted_leaves_room_for_its_error() -> None:
    limit = MAX_CONTRACT_BYTES
    assert ContractSize(size=limit, solc="0.8.20").deployable
    over = ContractSize(size=limit + 1, solc="0.8.20")
    assert not over.deployable
    assert over.why_not == "contract of 24,577 bytes > 24,576"
    assert not ContractSize(size=limit, solc=None).deployable
    assert ContractSize(size=limit * 95 // 100, solc=None).deployable
