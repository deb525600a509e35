"""What fits where: size classes of jobs, the memory they are predicted to take, and the rule for
threads. docs/operations.md has both rules in words.

A job's class and need stand in its row (``prover.store.sizes`` writes them); a worker says what it
has (``Place``) whenever it asks for a turn.
"""

from __future__ import annotations

import enum
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace

from circuits.engine.port import Limits
from prover.records.job import Job
from prover.settings import Settings


class SizeClass(enum.StrEnum):
    """What a job keeps busy. Each class has its queue."""

    SMALL = "small"  # a proof that is done in seconds
    LARGE = "large"  # a proof that uses the whole machine for long
    COMPILE = "compile"  # builds a circuit, or plans a batch

    @property
    def heavy(self) -> bool:
        """Whether small proofs must not wait behind it."""
        return self is not SizeClass.SMALL


#: What a worker may take beside jobs: webhooks that are due.
NOTIFY = "notify"
EVERY_CLASS: tuple[SizeClass, ...] = tuple(SizeClass)


@dataclass(frozen=True, kw_only=True)
class Sizing:
    """How jobs are put into classes before they ran."""

    large_s: float = 10.0  # a proof that took longer when its circuit was made is large
    compile_bytes: int = 1 << 30  # what a build is taken to need

    @classmethod
    def of(cls, settings: Settings) -> Sizing:
        return cls(large_s=settings.large_s, compile_bytes=settings.compile_memory_mb << 20)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a job would run. Workers of one host share its memory."""

    host: str
    owner: str  # of the leases of this very worker
    sizes: Sequence[SizeClass] = EVERY_CLASS
    memory_bytes: int = 0  # of all jobs of the host together; 0: not asked
    slots: int = 1  # jobs that this worker runs at a time
    overtake_s: float = 60.0  # how long smaller jobs may overtake one that waits for memory

    @property
    def heavy_slots(self) -> int:
        """How many heavy jobs this worker may run: one slot stays free for small ones."""
        return max(1, self.slots - 1)

    @classmethod
    def of(cls, settings: Settings, owner: str) -> Place:
        return cls(
            host=socket.gethostname(),
            owner=owner,
            sizes=job_classes(settings),
            memory_bytes=settings.memory_budget_mb << 20,
            slots=settings.worker_concurrency,
            overtake_s=settings.overtake_s,
        )


def job_classes(settings: Settings) -> tuple[SizeClass, ...]:
    """The classes of jobs that this worker takes."""
    return tuple(size for size in SizeClass if size.value in settings.classes)


def proof_limits(settings: Settings, job: Job) -> Limits:
    """What the proof of a job may take."""
    return replace(settings.engine_limits, threads=threads(settings, SizeClass(job.size)))


def threads(settings: Settings, size: SizeClass) -> int:
    """Threads of the engine for one proof: a large one has all cores, small ones share them, so
    that as many run side by side as there are slots."""
    if settings.engine_threads:
        return settings.engine_threads
    cores = os.cpu_count() or 1
    if size is SizeClass.LARGE:
        return cores
    return max(1, cores // settings.worker_concurrency)
