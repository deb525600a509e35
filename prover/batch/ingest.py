"""Turns a file of inputs into a batch: checks and stores every row, selects the circuit."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from circuits.format.profile import Profile
from circuits.format.tensors import Signature
from prover.batch.chunks import ChunkWriter
from prover.batch.options import BatchOptions
from prover.batch.ranges import Tally
from prover.batch.row import BadRow
from prover.batch.rows import read_rows
from prover.batch.services import BatchServices
from prover.jobs.build_spec import BuildSpec
from prover.jobs.forgetting import forget_rows, forget_rows_left
from prover.records.batch import Batch, BatchState, ItemState
from prover.records.batch_errors import BatchNotFound
from prover.records.job import ModelRecord
from prover.statement.context import Context

#: Ignored input names that are kept.
_MOST_UNUSED = 16


def ingest(
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
    """Reads the file row by row, stores valid rows, records invalid ones, and queues the batch.

    ``batch_id``: a caller's id, never used for two files; an existing batch of this id is returned.
    ``circuit_id``: the single-lane circuit to derive the proofs from, instead of the newest that
    accepts the rows. ``source`` identifies the file, for ``--resume``; ``on_row`` receives the
    number of rows read. A batch without a valid row has failed when this returns. Raises
    ``CalibrationError``, ``ContextInvalid`` and ``BatchFormat``.
    """
    Context.from_request("batch", options.context)
    store = services.store
    forget_rows_left(store, services.artifacts)
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
        given = services.registry.calibrated_spec(model, profile, calibration)
    store.create_batch(batch_id, model.id, request, expires, metadata=options.metadata or None)
    try:
        tally, unused = _keep(services, model, path, batch_id, request, on_row)
        if unused:
            request["unused_inputs"] = unused
        spec = given or circuit_id or _spec(services, model, profile, tally)
        circuit = spec.id if isinstance(spec, BuildSpec) else spec
        with_spec = {"circuit": spec.to_json()} if isinstance(spec, BuildSpec) else {}
        store.start_batch(batch_id, circuit, request | with_spec)
    except BaseException:
        forget_rows(store, services.artifacts, batch_id)
        store.abandon_batch(batch_id)
        raise
    batch = store.batch(batch_id)
    if not batch.counts.get(ItemState.QUEUED):
        store.request_cancel(batch.job_id)  # nothing to plan
        store.end_batch(batch_id)
    else:
        services.announce([batch.job_id])
    return store.batch(batch_id)


def _known(services: BatchServices, batch_id: str) -> Batch | None:
    """The batch, if it was received completely; deletes a partly received one."""
    try:
        batch = services.store.batch(batch_id)
    except BatchNotFound:
        return None
    if batch.state is not BatchState.RECEIVING:
        return batch
    forget_rows(services.store, services.artifacts, batch_id)
    services.store.abandon_batch(batch_id)
    return None


def _keep(
    services: BatchServices,
    model: ModelRecord,
    path: Path,
    batch_id: str,
    request: dict[str, Any],
    on_row: Callable[[int], None] | None,
) -> tuple[Tally, list[str]]:
    """Stores rows; tallies their values, and the names of unknown inputs."""
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


def _spec(
    services: BatchServices, model: ModelRecord, profile: Profile, tally: Tally
) -> BuildSpec | str:
    """The id of the newest circuit that fits the range of the rows, or a build spec for one."""
    ranges = tally.ranges(Signature.from_json(model.signature).inputs)
    found = services.registry.find_covering(model.id, profile, ranges) if ranges else None
    return found.id if found else services.registry.spec_for_ranges(model, profile, ranges)
