"""What a statement says of a proof's origin: the owner's signature of the model, and software."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
from collections.abc import Mapping

from prover.errors import ModelNotFound
from prover.statement.predicate import OwnerClaim
from prover.store import Store


def owner_claim(store: Store, model_id: str) -> OwnerClaim | None:
    """The owner's signature of the model, if there is one."""
    try:
        model = store.model(model_id)
    except ModelNotFound:  # its owner withdrew it during the proof
        return None
    if model.owner_signature is None:
        return None
    return OwnerClaim(**model.owner_signature, licence=model.licence)


@functools.cache
def software_versions() -> Mapping[str, str]:
    """Versions for receipts; looked up once per process."""
    names = ("zkml-prover", "ezkl", "onnx", "onnxruntime", "numpy")
    return {n: importlib.metadata.version(n) for n in names} | {"python": platform.python_version()}
