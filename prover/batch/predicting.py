"""Predicted costs of batched proofs, cached: measuring a large model's layout takes seconds."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from circuits.compiler.identity import BATCHING
from circuits.cost.model import CostModel
from circuits.errors import Canceled, Fault, ZkmlError
from circuits.format.digests import digest_json
from prover.batch.services import BatchServices

if TYPE_CHECKING:
    from circuits.batching.batched_circuit import SingleLane


@dataclass(frozen=True, kw_only=True)
class SharedCosts:
    """``prove_s``: seconds of a proof by lanes, for the requested lanes and for those that fill the
    rows at no more cost; absent if it does not fit memory. ``why``: the reason if inputs cannot
    share a proof."""

    prove_s: dict[int, float]
    why: str | None = None


def shared_costs(
    services: BatchServices, single: SingleLane, lanes: Collection[int]
) -> SharedCosts:
    """The costs for these numbers of lanes, from the cache or predicted now.

    Raises ``Canceled`` and transient errors; other errors become the reason in ``why``.
    """
    from circuits.batching.errors import CannotBatch

    builder = services.registry.batched_builder()
    costs = builder.cost_model or CostModel.bundled()
    key = digest_json(
        {
            "circuit": single.manifest.circuit_id,
            "batching": BATCHING,
            "costs": {name: list(row) for name, row in costs.coefficients.items()},
            "memory": builder.limits.memory_bytes,
            "lanes": sorted(lanes),
        }
    )
    path = services.settings.cache_dir / "lane_costs" / f"{key.removeprefix('sha256:')}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        kept = json.loads(path.read_text())
        return SharedCosts(
            prove_s={int(n): float(s) for n, s in kept["prove_s"].items()}, why=kept["why"]
        )
    try:
        lane_costs = builder.lane_costs(single)
    except CannotBatch as error:
        found = SharedCosts(prove_s={}, why=error.detail)
    except ZkmlError as error:
        if isinstance(error, Canceled) or error.fault is Fault.BUSY:
            raise
        return SharedCosts(prove_s={}, why=error.detail)
    else:
        asked = {*lanes, *map(lane_costs.most, lanes)}
        predicted = {n: p.prove_s for n in asked if (p := lane_costs.at(n)) is not None}
        found = SharedCosts(prove_s=predicted)
    with contextlib.suppress(OSError):  # on a full disk the prediction is just repeated
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_suffix(f".{secrets.token_hex(4)}.part")
        part.write_text(json.dumps({"prove_s": found.prove_s, "why": found.why}))
        part.replace(path)
    return found
