"""Housekeeping: deletes data that is no longer needed, according to the settings.

Any worker does it from time to time (``workers.sweep``). Every step may run in several processes at
once and be repeated after a crash.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from circuits.engine.forkserver import sweep_scratch
from prover.artifacts import Artifacts
from prover.errors import ArtifactMissing
from prover.jobs.forgetting import forget_rows_left
from prover.jobs.uploads import forget_stale
from prover.logs import get_logger
from prover.records.job import JobKind
from prover.settings import Settings
from prover.store import Store

#: Age from which an unreferenced private file is an orphan of an aborted request.
_ORPHAN = timedelta(days=1)
#: The most a round deletes, so that it does not block its thread's other work.
_AT_ONCE = 500
_log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Removed:
    """The result of one round."""

    results: int = 0  # jobs whose proof and bundle were deleted
    inputs: int = 0  # of jobs that have ended, or that no row references
    cached_bytes: int = 0
    folders: int = 0  # of killed builds

    def __bool__(self) -> bool:
        return bool(self.results or self.inputs or self.cached_bytes or self.folders)


def keep_house(settings: Settings, store: Store, artifacts: Artifacts) -> Removed:
    """One round. ``store``: the view over all tenants. Raises ``StoreUnavailable``,
    ``ArtifactsUnavailable``."""
    sweep_scratch()
    forget_stale(store, artifacts)
    forget_rows_left(store, artifacts)
    removed = Removed(
        folders=sum(_builds_of_the_dead(settings.home / "tmp")),
        cached_bytes=artifacts.trim_cache(),
        inputs=_inputs(store, artifacts),
        results=_old_results(settings, store, artifacts),
    )
    if removed:
        _log.info("house_kept", **vars(removed))
    return removed


def _builds_of_the_dead(folder: Path) -> Iterator[bool]:
    """Build folders whose process has ended: their lock is free."""
    for path in folder.glob("build-*"):
        if not path.is_dir():
            continue
        with path.with_suffix(".lock").open("w") as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
            yield True


def _inputs(store: Store, artifacts: Artifacts) -> int:
    """Inputs of jobs that have ended, whose first deletion failed; and, when they are old enough,
    those of requests that were cut off before their row was written."""
    count = 0
    found = list(artifacts.private_keys())
    for start in range(0, len(found), _AT_ONCE):
        ages = dict(found[start : start + _AT_ONCE])
        named = store.referenced_inputs(list(ages))
        for key, age in ages.items():
            if not named.get(key, age < _ORPHAN):
                artifacts.delete_private(key)
                count += 1
    return count


def _old_results(settings: Settings, store: Store, artifacts: Artifacts) -> int:
    """Proofs and bundles past their retention time. Receipts stay."""
    if not settings.keep_proofs_days:
        return 0
    old = store.results_before(timedelta(days=settings.keep_proofs_days), limit=_AT_ONCE)
    for job in old:
        assert job.result is not None
        # A pack's other files belong to its circuit.
        files = job.result["files"] if job.kind is JobKind.PACK else job.result
        names = [files[name] for name in ("bundle", "proof") if name in files]
        freed = _delete(artifacts, names)
        store.for_tenant(job.tenant).results_removed(job.id, freed)
    return len(old)


def _delete(artifacts: Artifacts, digests: Sequence[str]) -> int:
    """Deletes artifacts and returns the freed bytes; missing ones count as 0."""
    freed = 0
    for digest in digests:
        with contextlib.suppress(ArtifactMissing):
            freed += artifacts.delete(digest)
    return freed
