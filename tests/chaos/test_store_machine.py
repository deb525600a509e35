"""Store and lease against a model of them: thousands of interleavings, no engine, no process.

Clients order and cancel, workers claim, renew, finish, fail and fall silent, clocks step; each
write under an old lease must be refused. ``ZKML_CHAOS_EXAMPLES`` sets how many runs there are.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from prover.errors import JobAlreadyDone, LeaseLost
from prover.records.job import JobKind, JobState, Lease, Stage
from prover.records.usage import Grouping
from prover.store import Store
from prover.testing import ManualClock, model_record
from tests.effort import examples

TTL_S, MAX_ATTEMPTS, QUARANTINE = 30.0, 4, 2
PROBLEM = {"code": "engine_killed", "detail": "", "fault": "internal", "retryable": True}


@dataclass
class Expected:
    """What the row of one job must say."""

    state: JobState = JobState.QUEUED
    token: int = 0
    expires: float = 0.0
    not_before: float = -math.inf
    lost: int = 0
    deaths: int = 0
    cancel: bool = False
    code: str | None = None
    claims: list[int] = field(default_factory=list)

    def silent(self, now: float) -> bool:
        return self.state is JobState.RUNNING and self.expires <= now

    def end(self, state: JobState, code: str | None = None) -> None:
        self.state, self.code = state, code


class StoreMachine(RuleBasedStateMachine):
    """One database, a few jobs, any number of workers that may each be wrong about the time."""

    jobs: Bundle[str] = Bundle("jobs")
    leases: Bundle[Lease] = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="zkml-machine-"))
        self.clock = ManualClock()
        self.start = self.clock.now
        self.store = Store.open(
            f"sqlite:///{self.folder / 'zkml.db'}",
            max_attempts=MAX_ATTEMPTS,
            quarantine_after=QUARANTINE,
            clock=self.clock,
        )
        self.store.add_model(model_record())
        self.expected: dict[str, Expected] = {}

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    @property
    def now(self) -> float:
        return (self.clock.now - self.start).total_seconds()

    # --- clients -------------------------------------------------------------------------------

    @initialize(target=jobs)
    def first(self) -> str:
        return self._ordered()

    @rule(target=jobs)
    def order(self) -> Any:
        return self._ordered() if len(self.expected) < 4 else multiple()

    def _ordered(self) -> str:
        job = self.store.create_job(JobKind.PROOF, model_record().id, "circuit", {}, None)
        self.expected[job.id] = Expected()
        return job.id

    @rule(job_id=jobs)
    def cancel(self, job_id: str) -> None:
        e = self.expected[job_id]
        if e.state.terminal and e.state is not JobState.CANCELED:
            with pytest.raises(JobAlreadyDone):
                self.store.request_cancel(job_id)
            return
        self.store.request_cancel(job_id)
        if e.state is JobState.QUEUED or e.silent(self.now):
            e.end(JobState.CANCELED)
            e.token += 1
        e.cancel = True

    # --- workers -------------------------------------------------------------------------------

    @rule(target=leases, job_id=jobs, owner=st.sampled_from(["a", "b", "c"]))
    def claim(self, job_id: str, owner: str) -> Any:
        e = self.expected[job_id]
        lease = self.store.claim(job_id, owner, TTL_S)
        if e.silent(self.now):
            e.lost, e.deaths = e.lost + 1, e.deaths + 1
            e.token += 1
            if e.cancel:
                e.end(JobState.CANCELED)
            elif e.deaths >= QUARANTINE:
                e.end(JobState.FAILED, "job_quarantined")
            elif e.lost >= MAX_ATTEMPTS:
                e.end(JobState.FAILED, "worker_lost")
        elif e.state is JobState.QUEUED and e.not_before <= self.now:
            e.token += 1
        else:
            assert lease is None
            return multiple()
        if e.state.terminal:
            assert lease is None
            return multiple()
        assert lease is not None
        assert lease.token == e.token
        e.state, e.expires, e.not_before = JobState.RUNNING, self.now + TTL_S, -math.inf
        return lease

    def _holds(self, lease: Lease) -> bool:
        e = self.expected[lease.job_id]
        return e.state is JobState.RUNNING and e.token == lease.token

    def _write(self, lease: Lease, write: Any) -> bool:
        """Performs a write that the newest lease allows and any other does not."""
        if self._holds(lease):
            write()
            return True
        with pytest.raises(LeaseLost):
            write()
        return False

    @rule(lease=leases)
    def renew(self, lease: Lease) -> None:
        if self._write(lease, lambda: self.store.renew(lease, TTL_S)):
            self.expected[lease.job_id].expires = self.now + TTL_S

    @rule(lease=leases, stage=st.sampled_from(list(Stage)))
    def stage(self, lease: Lease, stage: Stage) -> None:
        self._write(lease, lambda: self.store.set_stage(lease, stage))

    @rule(lease=leases)
    def keep(self, lease: Lease) -> None:
        self._write(lease, lambda: self.store.keep_proof(lease, {"proof": "sha256:…"}))

    @rule(lease=leases)
    def succeed(self, lease: Lease) -> None:
        if self._write(lease, lambda: self.store.succeed(lease, {"receipt": "r"}, {"prove": 1.0})):
            self.expected[lease.job_id].end(JobState.SUCCEEDED)

    @rule(lease=leases)
    def fail(self, lease: Lease) -> None:
        if self._write(lease, lambda: self.store.fail(lease, PROBLEM)):
            self.expected[lease.job_id].end(JobState.FAILED, "engine_killed")

    @rule(lease=leases, after_s=st.sampled_from([0.0, 5.0, 60.0]))
    def try_again(self, lease: Lease, after_s: float) -> None:
        if self._write(lease, lambda: self.store.requeue(lease, PROBLEM, after_s=after_s)):
            e = self.expected[lease.job_id]
            e.lost += 1
            if e.cancel:
                e.end(JobState.CANCELED)
            elif e.lost >= MAX_ATTEMPTS:
                e.end(JobState.FAILED, "engine_killed")
            else:
                e.state, e.not_before = JobState.QUEUED, self.now + after_s

    @rule(lease=consumes(leases))
    def hand_back(self, lease: Lease) -> None:
        if self._write(lease, lambda: self.store.requeue(lease)):
            e = self.expected[lease.job_id]
            e.end(JobState.CANCELED if e.cancel else JobState.QUEUED)

    @rule(seconds=st.sampled_from([0.5, 6.0, 29.0, 31.0, 90.0, -10.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    # --- what always holds -----------------------------------------------------------------------

    @invariant()
    def rows_say_what_happened(self) -> None:
        for job_id, e in self.expected.items():
            job = self.store.job(job_id)
            assert job.state is e.state
            assert (job.problem or {}).get("code") == e.code
            assert (job.result is not None) == (e.state is JobState.SUCCEEDED)

    @invariant()
    def events_have_no_gaps_and_end_with_the_state(self) -> None:
        for job_id, e in self.expected.items():
            events = self.store.events(job_id)
            assert [event.seq for event in events] == list(range(1, len(events) + 1))
            assert [n.data["state"] for n in events if n.type == "state"][-1] == e.state.value

    @invariant()
    def who_is_idle_is_found(self) -> None:
        idle = {
            job_id
            for job_id, e in self.expected.items()
            if e.silent(self.now) or (e.state is JobState.QUEUED and e.not_before <= self.now)
        }
        assert set(self.store.runnable(grace_s=-1e6)) == idle
        assert (self.store.waiting_turn() in idle) if idle else self.store.waiting_turn() is None

    @invariant()
    def every_success_is_charged_once(self) -> None:
        ended = [e for e in self.expected.values() if e.state is JobState.SUCCEEDED]
        assert sum(u.proofs for u in self.store.usage([Grouping.CALLER])) == len(ended)


StoreMachine.TestCase.settings = settings(
    max_examples=int(os.environ.get("ZKML_CHAOS_EXAMPLES", examples(5, 100))),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestStoreMachine = pytest.mark.slow(pytest.mark.timeout(3600)(StoreMachine.TestCase))
