"""Keeping house: what nobody needs any more goes, by setting; what may be needed stays.

A worker does it now and then (``workers.sweep``), whichever comes first: everything here may be
done by several at once, and begun again after a crash.
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
from prover.logs import get_logger
from prover.records.job import JobKind
from prover.settings import Settings
from prover.store import Store

#: A private file that no row names is one whose request was cut off: not before it is so old.
_ORPHAN = timedelta(days=1)
#: What one round removes at most, so that it does not hold up what its thread does beside it.
_AT_ONCE = 500
_log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Removed:
    """What one round has removed."""

    results: int = 0  # jobs whose proof and bundle went
    inputs: int = 0  # that no row names
    cached_bytes: int = 0
    folders: int = 0  # of builds that were killed

    def __bool__(self) -> bool:
        return bool(self.results or self.inputs or self.cached_bytes or self.folders)


def keep_house(settings: Settings, store: Store, artifacts: Artifacts) -> Removed:
    """One round. ``store``: with what all tenants have. Raises ``StoreUnavailable``,
    ``ArtifactsUnavailable``."""
    sweep_scratch()
    removed = Removed(
        folders=sum(_builds_of_the_dead(settings.home / "tmp")),
        cached_bytes=artifacts.trim_cache(),
        inputs=_orphans(store, artifacts),
        results=_old_results(settings, store, artifacts),
    )
    if removed:
        _log.info("house_kept", **vars(removed))
    return removed


def _builds_of_the_dead(folder: Path) -> Iterator[bool]:
    """Folders of builds whose process is gone: the lock beside each is free."""
    for path in folder.glob("build-*"):
        if not path.is_dir():
            continue
        with path.with_suffix(".lock").open("w") as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
            yield True


def _orphans(store: Store, artifacts: Artifacts) -> int:
    """Inputs whose request was cut off before its row was written, or after it had ended."""
    count = 0
    old = list(artifacts.old_private_keys(_ORPHAN))
    for start in range(0, len(old), _AT_ONCE):
        keys = old[start : start + _AT_ONCE]
        for key in set(keys) - store.named_inputs(keys):
            artifacts.delete_private(key)
            count += 1
    return count


def _old_results(settings: Settings, store: Store, artifacts: Artifacts) -> int:
    """Proofs and bundles that are old enough. Receipts stay: they are what is kept of a job."""
    if not settings.keep_proofs_days:
        return 0
    old = store.results_before(timedelta(days=settings.keep_proofs_days), limit=_AT_ONCE)
    for job in old:
        assert job.result is not None
        # A pack's other files are its circuit's.
        files = job.result["files"] if job.kind is JobKind.PACK else job.result
        names = [files[name] for name in ("bundle", "proof") if name in files]
        freed = _delete(artifacts, names)
        store.for_tenant(job.tenant).results_removed(job.id, freed)
    return len(old)


def _delete(artifacts: Artifacts, digests: Sequence[str]) -> int:
    """The bytes that were freed; what is gone already frees nothing."""
    freed = 0
    for digest in digests:
        with contextlib.suppress(ArtifactMissing):
            freed += artifacts.delete(digest)
    return freed
