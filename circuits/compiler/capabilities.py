"""What becomes of each ONNX operator, as tables say it. Loads onnx and the passes: call it in a
child process."""

from __future__ import annotations

from typing import Any

from onnx.defs import get_all_schemas

from circuits.frontend.operators import FAITHFUL, REFUSED, has_conditions
from circuits.rewrite.pipeline import PASSES


def describe() -> dict[str, Any]:
    """``operators``: each of ONNX's own, with what the engine makes of one that no pass has
    taken away; ``passes``: what rewrites a model before, in order.

    Of a model at hand ``inspect`` says more: which pass takes which node, and why one is refused.
    """
    names = {schema.name for schema in get_all_schemas() if schema.domain in ("", "ai.onnx")}
    return {
        "operators": [_operator(name) for name in sorted(names | FAITHFUL | set(REFUSED))],
        "passes": [{"name": p.name, "version": p.version, "purpose": p.purpose} for p in PASSES],
    }


def _operator(name: str) -> dict[str, Any]:
    refused = REFUSED.get(name)
    if refused is not None:
        return {
            "op": name,
            "engine": "wrong",
            "reason": refused.reason,
            "instead": refused.instead,
        }
    if name not in FAITHFUL:
        return {"op": name, "engine": "unknown", "reason": "", "instead": ""}
    kind = "conditional" if has_conditions(name) else "faithful"
    return {"op": name, "engine": kind, "reason": "", "instead": ""}
