"""Errors of batches and of single rows in them."""

from __future__ import annotations

from typing import Any

from circuits.engine.session import redacted
from circuits.errors import Fault, InputError, ZkmlError
from circuits.format.profile import Visibility


class RowError(InputError):
    """A row of the batch is invalid."""

    code = "row_invalid"


class BatchEmpty(RowError):
    """The file has no rows."""

    code = "batch_empty"
    default_advice = (
        'Each line is {"id": …, "inputs": {name: nested list}}; .csv and .npz work too.'
    )


class BatchColumns(RowError):
    """The file's columns are not the model's inputs."""

    code = "batch_columns"


class RowBroken(RowError):
    """The row is not one JSON object, or is cut short."""

    code = "row_broken"


class RowTooLong(RowError):
    """The row is longer than an input may be."""

    code = "row_too_long"
    fault = Fault.TOO_LARGE
    default_advice = "ZKML_MAX_INPUT_BYTES is the limit."


class RowId(RowError):
    """The row's id is not a text of 1 to 200 printable characters, or an integer."""

    code = "row_id"


class RowDuplicate(RowError):
    """An earlier row has the same id."""

    code = "row_duplicate_id"


class BatchFormat(ZkmlError):
    """The file format is not supported for batches."""

    code = "batch_format"
    fault = Fault.INPUT
    default_advice = "Send JSON lines, .csv with a header, or numpy's .npz."


class RowInexact(RowError):
    """The proved output misses the requested accuracy."""

    code = "row_inexact"
    default_advice = (
        "Give calibration data like this row, ask for a smaller tolerance, or choose"
        " --on-inexact isolate (on_inexact=isolate), which proves such rows in a finer circuit."
    )


class BatchNotFound(ZkmlError):
    """There is no batch with this id."""

    code = "batch_not_found"
    fault = Fault.NOT_FOUND


class ItemNotFound(ZkmlError):
    """The batch has no such item."""

    code = "batch_item_not_found"
    fault = Fault.NOT_FOUND


class ItemNotDone(ZkmlError):
    """The item has no proof (yet)."""

    code = "batch_item_not_done"
    fault = Fault.CONFLICT


class ProofOfBatch(ZkmlError):
    """The proof is shared by items of a batch, which have receipts and bundles of their own."""

    code = "proof_of_batch"
    fault = Fault.CONFLICT
    default_advice = "Cancel the batch; fetch the receipt and bundle of each item."


class BatchNotDone(ZkmlError):
    """The batch has not ended."""

    code = "batch_not_done"
    fault = Fault.CONFLICT
    default_advice = "Wait until its state is succeeded, failed, canceled or expired."


class BatchExpired(ZkmlError):
    """The batch's deadline passed before this input was proved."""

    code = "batch_expired"
    fault = Fault.CONFLICT


class CircuitForBatches(ZkmlError):
    """The circuit is a batched one, and the request has a single input."""

    code = "circuit_for_batches"
    fault = Fault.INPUT
    default_advice = "Use the single-lane circuit, or name the model instead of a circuit."


def problem_of_item(error: ZkmlError, request: dict[str, Any]) -> dict[str, Any]:
    """The problem of one item of a batch; without input values if inputs are private."""
    if Visibility(request["profile"]["visibility"]).shows_input:
        return error.problem()
    return redacted(error).problem()
