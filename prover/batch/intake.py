"""A file of inputs becomes a batch: every row checked and kept, the circuit ordered."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from circuits.format.profile import Profile
from circuits.format.tensors import Signature
from prover.batch.chunks import ChunkWriter, forget_inputs
from prover.batch.options import BatchOptions
from prover.batch.ranges import Tally
from prover.batch.row import BadRow
from prover.batch.rows import read_rows
from prover.batch.workshop import BatchServices
from prover.jobs.circuit_registry import BuildSpec
from prover.records.batch import Batch, BatchState, ItemState
from prover.records.batch_errors import BatchNotFound
from prover.records.job import ModelRecord
from prover.statement.context import Context

#: No file is received for longer than this.
_STALE = timedelta(days=1)
#: So many names of what is no input are kept.
_MOST_UNUSED = 16


def receive(
    services: BatchServices,
    model: ModelRecord,
    path: Path,
    profile: Profile,
    calibration: bytes | None,
    options: BatchOptions,
    *,
    circuit_id: str | None = None,
    batch_id: str | None = None,
    source: str = "",
    on_row: Callable[[int], None] | None = None,
) -> Batch:
    """Reads the file row by row, keeps what is good, writes down what is bad, and queues the batch.

    ``batch_id``: chosen before, and never with another file: a batch of this id that was received
    is the answer. ``circuit_id``: a circuit of one lane that the proofs shall derive from, in place
    of the newest that accepts the rows. ``source`` identifies the file, for whoever resumes;
    ``on_row`` hears how many rows were read. A batch none of whose rows can be used has failed when
    this returns. Raises ``CalibrationError``, ``ContextInvalid`` and ``BatchFormat``.
    """
    Context.from_request("batch", options.context)
    _abandon_stale(services)
    store = services.store
    if batch_id is not None and (known := _known(services, batch_id)) is not None:
        return known
    store.check_quota()
    batch_id = batch_id or secrets.token_hex(16)
    expires = None
    if options.deadline_s is not None:
        expires = datetime.now(UTC) + timedelta(seconds=options.deadline_s)
    request: dict[str, Any] = {
        "profile": profile.to_json(),
        "context": options.context,
        "isolate": options.isolate,
        "lanes": options.lanes,
        "on_inexact": options.on_inexact.value,
        "source": source,
    }
    given: BuildSpec | None = None
    if calibration is not None:
        given = services.library.order_calibrated(model, profile, calibration)
    store.create_batch(batch_id, model.id, request, expires, metadata=options.metadata or None)
    try:
        tally, unused = _keep(services, model, path, batch_id, request, on_row)
        if unused:
            request["unused_inputs"] = unused
        order = given or circuit_id or _order(services, model, profile, tally)
        circuit = order.id if isinstance(order, BuildSpec) else order
        ordered = {"circuit": order.to_json()} if isinstance(order, BuildSpec) else {}
        store.start_batch(batch_id, circuit, request | ordered)
    except BaseException:
        forget_inputs(store, services.artifacts, batch_id)
        store.abandon_batch(batch_id)
        raise
    batch = store.batch(batch_id)
    if not batch.counts.get(ItemState.QUEUED):
        store.request_cancel(batch.job_id)  # there is nothing to plan
        store.end_batch(batch_id)
    else:
        services.announce([batch.job_id])
    return store.batch(batch_id)


def _known(services: BatchServices, batch_id: str) -> Batch | None:
    """The batch if it was received. What a receiver left that died meanwhile is deleted."""
    try:
        batch = services.store.batch(batch_id)
    except BatchNotFound:
        return None
    if batch.state is not BatchState.RECEIVING:
        return batch
    forget_inputs(services.store, services.artifacts, batch_id)
    services.store.abandon_batch(batch_id)
    return None


def _abandon_stale(services: BatchServices) -> None:
    """Deletes what receivers left that died long ago: inputs must not lie about."""
    for batch_id in services.store.stale_batches(datetime.now(UTC) - _STALE):
        forget_inputs(services.store, services.artifacts, batch_id)
        services.store.abandon_batch(batch_id)


def _keep(
    services: BatchServices,
    model: ModelRecord,
    path: Path,
    batch_id: str,
    request: dict[str, Any],
    on_row: Callable[[int], None] | None,
) -> tuple[Tally, list[str]]:
    """Counts the rows' values while they are kept; and what the model has no input for."""
    writer = ChunkWriter(services.store, services.artifacts, batch_id, request)
    tally, unused = Tally(), dict[str, None]()
    signature = Signature.from_json(model.signature)
    rows = read_rows(path, signature, max_row_bytes=services.settings.max_input_bytes)
    for number, row in enumerate(rows, 1):
        writer.add(row)
        if not isinstance(row, BadRow):
            tally.add(row.inputs)
            if len(unused) < _MOST_UNUSED:
                unused |= dict.fromkeys(row.unused)
        if on_row is not None:
            on_row(number)
    writer.flush()
    return tally, list(unused)[:_MOST_UNUSED]


def _order(
    services: BatchServices, model: ModelRecord, profile: Profile, tally: Tally
) -> BuildSpec | str:
    """The newest circuit that is fit for the range of the rows, by id, or an order for one."""
    ranges = tally.ranges()
    found = services.library.find_covering(model.id, profile, ranges) if ranges else None
    return found.id if found else services.library.order_ranges(model, profile, ranges)
