"""Versions of the program, of the engine and of the file formats."""

from __future__ import annotations

from importlib.metadata import version
from typing import get_args


def versions() -> dict[str, str]:
    """Names and versions, in the order in which ``zkml --version`` prints them.

    The engine's is that of the installed distribution; the engine itself is not loaded.
    """
    from circuits.format.manifest import SCHEMA
    from prover.statement.predicate import ReceiptId
    from prover.statement.statement import PREDICATE_TYPE
    from prover.store.schema import REVISION

    receipt = ReceiptId.model_fields["schema_version"].annotation
    return {
        "zkml-prover": version("zkml-prover"),
        "ezkl": version("ezkl"),
        "predicate": PREDICATE_TYPE,
        "receipt-schemas": ", ".join(map(str, get_args(receipt))),
        "circuit-manifest-schema": str(SCHEMA),
        "database-revision": REVISION,
    }
