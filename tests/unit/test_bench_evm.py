"""The suite ``evm``: missing programs are rows with a reason, and a bad contract is caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.errors import PeerMissing
from benchmarks.harness.process import Measured
from benchmarks.harness.rows import Status
from benchmarks.harness.runner import attempt
from benchmarks.harness.system import Outcome
from benchmarks.harness.tasks import RunSize
from benchmarks.steps import evm_flow
from benchmarks.suites import evm
from benchmarks.systems.ours import Ours
from benchmarks.zoo.zoo import ZOO
from circuits.evm.errors import SolcMissing
from circuits.evm.guard import Accepted, Guard
from circuits.format.field import to_felt

PROOF = bytes(range(96))
INSTANCES = (5, 9, 2)


def word(n: int) -> bytes:
    return n.to_bytes(32, "big")


def calldata() -> bytes:
    guard = Guard(proof_bytes=len(PROOF), accepted=(Accepted(count=len(INSTANCES)),))
    return guard.calldata(PROOF, [to_felt(n) for n in INSTANCES])


def test_instances_are_found_in_calldata_and_changed_one_at_a_time() -> None:
    data = calldata()
    at, count = evm_flow._instances(data)
    assert count == len(INSTANCES)
    for i, value in enumerate(INSTANCES):
        workdir = slice(at + 32 * i, at + 32 * (i + 1))
        assert data[workdir] == word(value)
        changed = evm_flow._changed(data, workdir.start)
        assert changed[workdir] == word(value ^ 1)
        assert (
            changed[: workdir.start] + changed[workdir.stop :]
            == data[: workdir.start] + (data[workdir.stop :])
        )


def test_shifted_calls_say_the_same_in_other_bytes() -> None:
    """An ABI decoder reads proof and instances as before."""
    honest = calldata()
    calls = evm_flow._shifted(honest, 2)
    assert len({honest, *calls}) == 5
    for data in calls:
        proof_at = 4 + int.from_bytes(data[4:36], "big") + 32
        at, count = evm_flow._instances(data)
        assert data[proof_at - 32 : proof_at + len(PROOF)] == word(len(PROOF)) + PROOF
        assert data[at : at + 32 * count] == b"".join(map(word, INSTANCES))


@pytest.mark.parametrize(
    ("accepted", "changed_accepted", "shifted_accepted", "verified", "says"),
    [
        (True, 0, 0, True, None),
        (False, 0, 0, True, "rejects"),
        (True, 1, 0, True, "accepts 1"),
        (True, 0, 1, True, "shifted"),
        (True, 0, 0, False, "not verified"),
    ],
)
def test_a_contract_with_wrong_results_gives_a_wrong_row(
    accepted: bool, changed_accepted: int, shifted_accepted: int, verified: bool, says: str | None
) -> None:
    output = {
        "accepted": accepted,
        "changed_accepted": changed_accepted,
        "shifted_accepted": shifted_accepted,
    }
    wrong = evm._wrong(output, Outcome(verified=verified))
    assert wrong is None if says is None else says in (wrong or "")


def test_a_missing_compiler_is_a_row_that_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evm_flow, "FOLDER", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SolcMissing) as caught:
        evm_flow._solc()

    problem = {"problem": caught.value.problem()}
    output = Measured(seconds=1, cpu_seconds=1, peak_rss_bytes=1, returncode=2, output=problem)
    monkeypatch.setattr("benchmarks.harness.process.run", lambda *_, **__: output)
    side = next(evm.tasks([ZOO["digits"]], RunSize.for_quick(), tmp_path, None))  # type: ignore[arg-type]
    monkeypatch.setattr("benchmarks.systems.ours.Ours.setup", lambda *_: Outcome())
    workdir = evm._OneSystem(ZOO["digits"], Ours(), RunSize.for_quick(), tmp_path)._workdir().work
    workdir.mkdir(parents=True)
    (workdir / "settings.json").write_text('{"run_args": {"logrows": 9}}')
    row = attempt(side)
    assert row.status is Status.SKIPPED
    assert row.reason is not None
    assert row.reason["code"] == PeerMissing.code
    assert "0.8.20" in row.reason["advice"]
