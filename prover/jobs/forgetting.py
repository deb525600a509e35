"""Deletes inputs at the end of their job or batch.

If the artifact store does not respond, housekeeping deletes them later: the end of a job does not
wait.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from circuits.errors import ZkmlError
from prover.artifacts import Artifacts
from prover.logs import get_logger
from prover.records.job import Job
from prover.store import Store

#: The longest time to receive a file of rows.
_STALE = timedelta(days=1)
_log = get_logger(__name__)


def forget_input(artifacts: Artifacts, job: Job) -> None:
    """Deletes the input of a job that has ended, or leaves it to housekeeping."""
    if job.input_key is None:
        return
    try:
        artifacts.delete_private(job.input_key)
    except ZkmlError as error:
        _log.warning("input_left_to_housekeeping", job=job.id, code=error.code)


def forget_rows(store: Store, artifacts: Artifacts, batch_id: str) -> None:
    """Deletes the inputs of a batch that has ended or is abandoned."""
    for key in store.chunk_keys(batch_id).values():
        artifacts.delete_private(key)
    store.forget_chunks(batch_id)


def forget_rows_left(store: Store, artifacts: Artifacts) -> None:
    """The same for every batch of this view that ended while the artifact store was away, and for
    those whose receiver died: these are forgotten as a whole."""
    for batch_id in store.ended_with_inputs():
        forget_rows(store, artifacts, batch_id)
    for batch_id in store.stale_batches(datetime.now(UTC) - _STALE):
        forget_rows(store, artifacts, batch_id)
        store.abandon_batch(batch_id)
