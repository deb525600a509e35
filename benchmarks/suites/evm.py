"""The suite ``evm``: the cost of a proof on chain, for our circuits with a public or a private
input, and for EZKL's default.

For each system: the deployed size of the verifier contract, the gas of deploying it with its guard,
and the gas of one call to the guard with a real proof. The guard must accept that proof, and revert
if any instance is changed or the calldata's offsets are shifted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.errors import PeerMissing, SampleFailed, SystemRefused
from benchmarks.harness import process
from benchmarks.harness.rows import Key, Step
from benchmarks.harness.system import Outcome, System, Workdir
from benchmarks.harness.tasks import RunSize, Task
from benchmarks.steps import evm_flow
from benchmarks.systems.ezkl_default import EzklDefault
from benchmarks.systems.ours import Ours
from benchmarks.zoo.entry import Entry
from benchmarks.zoo.fixtures import Fixture, build_fixture
from circuits.errors import Fault
from circuits.evm.errors import SolcMissing
from circuits.format.profile import Profile, Target, Visibility

SUITE = "evm"
MODELS = ("digits", "logistic-regression", "mlp-196-25-10", "mlp-784-128-10")
#: Proofs per system: gas hardly differs between them (by the zero bytes in their calldata).
PROOFS, QUICK_PROOFS = 3, 1
_ROOT = Path(__file__).parents[2]


def tasks(
    entries: Sequence[Entry], run_size: RunSize, cache: Path, stack: ExitStack
) -> Iterator[Task]:
    """Per model and system: keys and contract, then proofs, in turn."""
    for entry in entries:
        contracts = [_OneSystem(entry, system, run_size, cache) for system in _systems()]
        for contract in contracts:
            yield contract.prepare()
        for turn in range(QUICK_PROOFS if run_size.quick else PROOFS):
            for contract in contracts:
                yield contract.measure(turn)


def _systems() -> tuple[System, ...]:
    public = Profile(target=Target.EVM)
    private = replace(public, visibility=Visibility.PRIVATE_INPUT)
    return Ours(public), Ours(private, "ours-private"), EzklDefault()


class _OneSystem:
    """One system's contract for one model."""

    def __init__(self, entry: Entry, system: System, run_size: RunSize, cache: Path):
        self._entry, self._system, self._run_size, self._cache = entry, system, run_size, cache

    def prepare(self) -> Task:
        return Task(key=self._key(Step.PREPARE), action=self._prepare, ready=self._is_ready)

    def measure(self, turn: int) -> Task:
        return Task(
            key=self._key(Step.MEASURE, turn),
            action=partial(self._measure, turn),
            needs=self._key(Step.PREPARE),
            round=turn,
        )

    def _key(self, step: Step, sample: int = 0) -> Key:
        return Key(
            suite=SUITE, model=self._entry.name, side=self._system.name, step=step, sample=sample
        )

    def _fixture(self) -> Fixture:
        return build_fixture(self._entry, self._cache / "models")

    def _workdir(self) -> Workdir:
        return Workdir(
            work=self._cache / "work" / SUITE / self._system.name / self._fixture().sha256[-16:],
            srs=self._cache / "srs",
            deadline_s=self._run_size.deadline_s,
        )

    def _is_ready(self) -> bool:
        workdir = self._workdir()
        has_contract = (workdir.work / evm_flow.RUNTIME).exists()
        return has_contract and self._system.is_set_up(self._fixture(), workdir)

    def _prepare(self) -> Outcome:
        """Keys and their contract."""
        workdir = self._workdir()
        keys = self._system.setup(self._fixture(), workdir)
        settings = json.loads((workdir.work / "settings.json").read_text(encoding="utf-8"))
        srs = workdir.srs / f"dev{settings['run_args']['logrows']}.srs"
        output = self._flow("compile", workdir, str(srs))
        return Outcome(
            metrics={"contract_bytes": float(output["contract_bytes"])},
            facts={**keys.facts, "solc": output["solc"], "source_bytes": output["source_bytes"]},
        )

    def _measure(self, turn: int) -> Outcome:
        """One proof, verified by the engine and then by the contract, on an unmodified chain, which
        rejects a too large contract."""
        workdir = self._workdir()
        proof = self._system.prove(self._fixture(), workdir, turn)
        output = self._flow("call", workdir)
        return Outcome(
            metrics={
                "gas": float(output["gas"]),
                "deploy_gas": float(output["deploy_gas"]),
                "proof_bytes": proof.metrics["proof_bytes"],
            },
            facts={
                name: output[name] for name in ("instances", "calldata_bytes", "changed", "shifted")
            },
            verified=proof.verified,
            wrong=_wrong(output, proof),
        )

    def _flow(self, step: str, workdir: Workdir, *arguments: str) -> dict[str, Any]:
        command = [
            sys.executable,
            "-m",
            "benchmarks.steps.evm_flow",
            step,
            str(workdir.work),
            *arguments,
        ]
        measured = process.run(command, deadline_s=workdir.deadline_s, cwd=_ROOT, accept=(0, 2, 3))
        if measured.returncode == 0:
            return measured.output
        problem = measured.output["problem"]
        refused = problem["fault"] not in (Fault.INTERNAL.value, Fault.BUSY.value)
        kind = PeerMissing if problem["code"] in _MISSING else SystemRefused
        raise (kind if refused else SampleFailed)(problem["detail"], advice=problem.get("advice"))


_MISSING = (SolcMissing.code, PeerMissing.code)


def _wrong(output: dict[str, Any], proof: Outcome) -> str | None:
    if proof.verified is False:
        return "the proof was not verified"
    if not output["accepted"]:
        return "the contract rejects a proof that the engine verifies"
    if output["changed_accepted"]:
        return f"the contract accepts {output['changed_accepted']} proofs with a changed instance"
    if output["shifted_accepted"]:
        return f"the contract accepts {output['shifted_accepted']} calls with shifted offsets"
    return None
