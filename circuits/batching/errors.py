"""Errors of batched circuits."""

from __future__ import annotations

from circuits.errors import Fault, ZkmlError


class CannotBatch(ZkmlError):
    """The model's inputs cannot share a circuit."""

    code = "model_cannot_batch"
    fault = Fault.INPUT
    default_advice = "Its inputs are proved one by one; the results are the same, and take longer."


class SharingCostsMore(ZkmlError):
    """One proof of so many inputs is not predicted to be much cheaper than a proof for each."""

    code = "sharing_costs_more"
    fault = Fault.INPUT
    default_advice = CannotBatch.default_advice
