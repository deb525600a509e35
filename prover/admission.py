"""Admission of jobs to workers: size classes, predicted memory, and threads per proof.

docs/operations.md describes the rules. A job's row has its class and predicted memory
(``prover.store.sizes`` writes them). A worker states its capacity (``Place``) with every claim.
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
    """Which resources a job occupies. Each class has its own queue."""

    SMALL = "small"  # a proof that takes seconds
    LARGE = "large"  # a proof that uses all cores for long
    COMPILE = "compile"  # building a circuit or planning a batch

    @property
    def heavy(self) -> bool:
        """Whether small proofs must not wait behind it."""
        return self is not SizeClass.SMALL


#: Work besides jobs: due webhooks.
NOTIFY = "notify"
EVERY_CLASS: tuple[SizeClass, ...] = tuple(SizeClass)


@dataclass(frozen=True, kw_only=True)
class Sizing:
    """How jobs get their class before they run."""

    large_s: float = 10.0  # a proof is large if its circuit's trial proof took longer
    compile_bytes: int = 1 << 30  # memory reserved for a build

    @classmethod
    def of(cls, settings: Settings) -> Sizing:
        return cls(large_s=settings.large_s, compile_bytes=settings.compile_memory_mb << 20)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A worker's capacity. Workers of one host share its memory."""

    host: str
    owner: str  # of this worker's leases
    sizes: Sequence[SizeClass] = EVERY_CLASS
    memory_bytes: int = 0  # for all jobs of the host together; 0: not limited
    slots: int = 1  # concurrent jobs of this worker
    overtake_s: float = 60.0  # seconds for which smaller jobs may overtake one waiting for memory

    @property
    def heavy_slots(self) -> int:
        """Heavy jobs this worker may run at once: one slot stays free for small ones."""
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
    """The job classes that this worker accepts."""
    return tuple(size for size in SizeClass if size.value in settings.classes)


def proof_limits(settings: Settings, job: Job) -> Limits:
    """The engine limits of a job's proof."""
    return replace(settings.engine_limits, threads=threads(settings, SizeClass(job.size)))


def threads(settings: Settings, size: SizeClass) -> int:
    """Engine threads for one proof: a large proof has all cores; small ones share the cores by
    slot."""
    if settings.engine_threads:
        return settings.engine_threads
    cores = os.cpu_count() or 1
    if size is SizeClass.LARGE:
        return cores
    return max(1, cores // settings.worker_concurrency)
