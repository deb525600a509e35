"""The tutorials, executed unchanged: each block must print what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import copytree

import psutil
import pytest

from circuits.evm.errors import SolcMissing
from circuits.evm.solc import Solc
from tests.acceptance.processes import HANGS_S, ROOT, environment, until

pytestmark = [pytest.mark.slow, pytest.mark.long]

PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
_BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Where PyTorch is not installed, the same files from weights that scikit-learn trains.
_STAND_IN = Path(__file__).with_name("train_without_torch.py")
#: The folder of the Solidity compiler, where a setting names it.
_SOLC = [str(Path(named).parent)] if (named := os.environ.get("ZKML_SOLC")) else []


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the words after it, its text."""

    language: str
    words: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    for found in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        yield Block(found[1], found[2], found[3])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_runs_unchanged(page: Path, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    env = environment(tmp_path / "home")
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), *_SOLC, env["PATH"]])
    output = ""
    shells: list[subprocess.Popen[str]] = []
    try:
        for block in blocks(page):
            if "needs=solc" in block.words:
                _need_solc()
            if block.language in ("python", "solidity"):
                _write(folder, block)
            elif block.language == "sh" and "background" in block.words:
                shells.append(_started(block.text, folder, env))
            elif block.language == "sh":
                output = _run(block, folder, env)
            else:
                assert block.language == "text"
                _shown(block.text, output)
    finally:
        for shell in shells:
            _end(shell)


def test_the_first_commands_of_the_readme_prove_and_verify(tmp_path: Path) -> None:
    commands = next(blocks(ROOT / "README.md")).text.splitlines()
    assert commands[0].startswith("make install")
    copytree(ROOT / "benchmarks" / "demo", tmp_path / "benchmarks" / "demo")
    env = environment(tmp_path / "home")
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env["PATH"]])
    assert "VERIFIED, 1 warning" in _run(Block("sh", "", "\n".join(commands[1:])), tmp_path, env)


def _need_solc() -> None:
    """The page runs up to here where there is no compiler, or no EVM in this Python."""
    pytest.importorskip("pyrevm")
    named = os.environ.get("ZKML_SOLC")
    try:
        Solc.find(Path(named) if named else None)
    except SolcMissing as error:
        pytest.skip(f"the page runs up to here: {error.detail}")


def _write(folder: Path, block: Block) -> None:
    title = re.search(r'title="([^"]+)"', block.words)
    assert title is not None
    text = block.text
    if "import torch" in text and find_spec("torch") is None:
        text = _STAND_IN.read_text(encoding="utf-8")
    (folder / title[1]).write_text(text, encoding="utf-8")


def _run(block: Block, folder: Path, env: dict[str, str]) -> str:
    wanted = re.search(r"exit=(\d+)", block.words)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3 * HANGS_S,
        check=False,
    )
    assert done.returncode == (int(wanted[1]) if wanted else 0), done.stdout
    return done.stdout


def _started(text: str, folder: Path, env: dict[str, str]) -> subprocess.Popen[str]:
    """Runs on while the page continues; begun when it has written the file that it is to write."""
    (written,) = re.findall(r"> (\S+)", text)
    shell = subprocess.Popen(["bash", "-c", text], cwd=folder, env=env, text=True)
    file = folder / written
    until(lambda: shell.poll() is not None or (file.exists() and file.read_text().endswith("\n")))
    assert shell.poll() is None
    return shell


def _shown(wanted: str, output: str) -> None:
    """The output has each line, in this order; its lines may be longer."""
    lines = iter(output.splitlines())
    for line in wanted.splitlines():
        assert any(line in said for said in lines), (
            f"{line!r} is not in, or not in order:\n{output}"
        )


def _end(shell: subprocess.Popen[str]) -> None:
    below = psutil.Process(shell.pid).children(recursive=True)
    for process in [psutil.Process(shell.pid), *below[:1]]:
        process.terminate()
    psutil.wait_procs(below, timeout=HANGS_S)
    shell.wait(timeout=HANGS_S)
