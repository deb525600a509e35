"""Errors of batched circuits."""

from __future__ import annotations

from circuits.errors import Fault, ZkmlError


class CannotBatch(ZkmlError):
    """The model's inputs cannot share a circuit."""

    code = "model_cannot_batch"
    fault = Fault.INPUT
    default_advice = "Its inputs are proved one by one: the same results, in more time."


class SharingCostsMore(ZkmlError):
    """A shared proof is not predicted to be much cheaper than one proof per input."""

    code = "sharing_costs_more"
    fault = Fault.INPUT
    default_advice = CannotBatch.default_advice
