"""The Solidity compiler: found where it is installed, run as a separate program.

Either the native ``solc`` or ``solcjs`` from npm, which take the same JSON. Only one version is
accepted, the one that the engine writes its contracts for: sizes and bytecode differ between
versions, and what was audited as text should compile to the same bytes everywhere.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuits.evm.contract import CONTRACT_NAME, Contract
from circuits.evm.errors import SolcFailed, SolcMissing

VERSION = "0.8.20"
_NAMES = ("solc", "solcjs")
_FILE = "verifier.sol"
_SETTINGS = {
    # Few runs: size counts, and the contract's loops are unrolled by whoever wrote it.
    "optimizer": {"enabled": True, "runs": 1},
    "evmVersion": "shanghai",
}
_OUTPUTS = ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "evm.methodIdentifiers"]
_VERSION_DEADLINE_S = 30.0
_SHOWN = 400


@dataclass(frozen=True, kw_only=True)
class Solc:
    """A compiler of the right version at ``path``; ``version`` is its own full name for it."""

    path: Path
    version: str

    @classmethod
    def find(cls, named: Path | None = None) -> Solc:
        """The compiler at ``named``, or the first on PATH. Raises ``SolcMissing``."""
        if named is not None:
            return cls._at(named)
        wrong: SolcMissing | None = None
        for name in _NAMES:
            if (found := shutil.which(name)) is None:
                continue
            try:
                return cls._at(Path(found))
            except SolcMissing as error:
                wrong = wrong or error
        raise wrong or SolcMissing(f"there is no solc {VERSION} on PATH")

    @classmethod
    def _at(cls, path: Path) -> Solc:
        try:
            done = subprocess.run(
                [str(path), "--version"],
                capture_output=True,
                text=True,
                timeout=_VERSION_DEADLINE_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SolcMissing(f"{path} does not run: {error}") from None
        found = re.search(r"\d+\.\d+\.\d+\S*", done.stdout)
        version = found.group() if found else "of an unknown version"
        if version.partition("+")[0] != VERSION:
            raise SolcMissing(f"{path} is solc {version}; {VERSION} is needed")
        return cls(path=path, version=version)

    def compile(self, source: str, deadline_s: float, name: str = CONTRACT_NAME) -> Contract:
        """Compiles the contract called ``name``: the engine's verifier. Raises ``SolcFailed``."""
        task = {
            "language": "Solidity",
            "sources": {_FILE: {"content": source}},
            "settings": _SETTINGS | {"outputSelection": {_FILE: {name: _OUTPUTS}}},
        }
        # Files, not pipes: solcjs gives up on a pipe that is not filled yet, and loses what it has
        # not yet written into one when it ends.
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8") as given,
            tempfile.TemporaryFile("w+", encoding="utf-8") as out,
        ):
            json.dump(task, given)
            given.seek(0)
            try:
                done = subprocess.run(
                    [str(self.path), "--standard-json"],
                    stdin=given,
                    stdout=out,
                    stderr=subprocess.PIPE,
                    text=True,
                    timeout=deadline_s,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise SolcFailed(f"the Solidity compiler did not finish: {error}") from None
            out.seek(0)
            return self._contract(name, out.read(), done.stderr)

    def _contract(self, name: str, out: str, err: str) -> Contract:
        try:
            answer: dict[str, Any] = json.loads(out[out.index("{") :])  # solcjs remarks on itself
        except ValueError:
            raise SolcFailed(f"the Solidity compiler said: {(err or out)[:_SHOWN]}") from None
        errors = [e["message"] for e in answer.get("errors", ()) if e["severity"] == "error"]
        if errors:
            raise SolcFailed(f"the contract does not compile: {errors[0][:_SHOWN]}")
        made = answer["contracts"][_FILE][name]
        return Contract(
            abi=made["abi"],
            creation=bytes.fromhex(made["evm"]["bytecode"]["object"]),
            runtime=bytes.fromhex(made["evm"]["deployedBytecode"]["object"]),
            selectors={
                call: bytes.fromhex(selector)
                for call, selector in made["evm"]["methodIdentifiers"].items()
            },
            solc=self.version,
        )
