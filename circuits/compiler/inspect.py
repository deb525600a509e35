"""``inspect_model``: one call from bytes to what a user wants to know of a model."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import onnx
from onnx import ModelProto, NodeProto, TensorProto

from circuits.errors import DynamicShape, ModelError, UnsupportedOperator
from circuits.format.tensors import Signature, TensorSpec
from circuits.frontend.fixed_shapes import Shapes, outputs_of
from circuits.frontend.operators import GraphFacts, attributes, refusal
from circuits.rewrite.pipeline import folded_alone, passed
from circuits.rewrite.uploaded import uploaded


@dataclass(frozen=True, kw_only=True)
class OperatorUse:
    """One operator of the model: ``status`` is ``supported``, ``rewritten`` (``by`` a pass) or
    ``refused`` (``reason`` says why and what to export instead). ``nodes`` names at most eight."""

    op: str
    domain: str
    count: int
    status: str
    by: str
    reason: str
    nodes: tuple[str, ...]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> OperatorUse:
        return cls(**{**data, "nodes": tuple(data["nodes"])})


@dataclass(frozen=True, kw_only=True)
class ModelSummary:
    """What a model is.

    ``multiplications`` counts products of matrix, convolution and elementwise operators for one
    run (an estimate: shapes known only after folding count as zero).
    """

    signature: Signature
    parameters: int
    multiplications: int
    operators: tuple[OperatorUse, ...]
    opset: int
    ir: int
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "signature": self.signature.to_json(),
            "parameters": self.parameters,
            "multiplications": self.multiplications,
            "operators": [asdict(o) | {"nodes": list(o.nodes)} for o in self.operators],
            "opset": self.opset,
            "ir": self.ir,
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ModelSummary:
        return cls(
            signature=Signature.from_json(data["signature"]),
            parameters=data["parameters"],
            multiplications=data["multiplications"],
            operators=tuple(OperatorUse.from_json(o) for o in data["operators"]),
            opset=data["opset"],
            ir=data["ir"],
            notes=tuple(data["notes"]),
        )


def inspect_model(
    data: bytes, shapes: Shapes | None = None, *, allow_refused: bool = False
) -> ModelSummary:
    """Reads a model of unknown origin; ``shapes`` fixes dynamic inputs by name.

    Raises a ``ModelError`` naming the node, tensor or axis for whatever cannot be proved: broken
    files, external data, unbound dimensions, control flow, operators that no pass rewrites. With
    ``allow_refused`` such operators are listed with status ``refused`` instead.
    """
    found = uploaded(data, shapes)
    model = found.model
    operators, final = _operators(model, found.written, found.plain.nodes)
    if not allow_refused:
        _raise_refused(operators)
    refused = any(o.status == "refused" for o in operators)
    constants = folded_alone(found.written)
    facts = GraphFacts.of(constants)
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    signature = Signature(inputs=found.inputs, outputs=_outputs(final, refused))
    _require_distinct(model, signature)
    return ModelSummary(
        signature=signature,
        parameters=_parameters(constants),
        multiplications=sum(_multiplications(n, facts) for n in constants.graph.node),
        operators=operators,
        opset=opset,
        ir=model.ir_version,
        notes=(*found.bound, *found.plain.notes, *found.notes),
    )


def _require_distinct(model: ModelProto, signature: Signature) -> None:
    """Raises ``ModelError`` for outputs that are one value under two names: a statement could not
    tell them apart."""
    names = [o.name for o in signature.outputs]
    if len(set(names)) < len(names):
        exported = ", ".join(repr(o.name) for o in model.graph.output)
        raise ModelError(
            f"two of the outputs ({exported}) are the same value under two names",
            advice="Export only one of them.",
        )


def _outputs(final: ModelProto, refused: bool) -> tuple[TensorSpec, ...]:
    """The outputs after all passes, since shape inference knows no estimators; none where an
    operator that no pass rewrites hides a shape."""
    try:
        return outputs_of(final)
    except DynamicShape:
        if refused:
            return ()
        raise


def _operators(
    model: ModelProto, plain: bytes, own: Collection[str]
) -> tuple[tuple[OperatorUse, ...], ModelProto]:
    """What becomes of each node but our ``own`` as the passes run, and of those nodes that passes
    add; and the model that they leave."""
    written = {_name(n): n for n in model.graph.node if n.name not in own}
    fate: dict[str, str] = {}
    current = model
    for step, data in passed(plain):
        current = onnx.load_model_from_string(data)
        left = {(_name(n), n.op_type) for n in current.graph.node}
        for name, node in written.items():
            if name not in fate and (name, node.op_type) not in left:
                fate[name] = step.name
    facts = GraphFacts.of(current)
    groups: dict[tuple[str, str, str, str, str], list[str]] = defaultdict(list)
    for name, node in written.items():
        if name in fate:
            groups[node.op_type, _domain(node), "rewritten", fate[name], ""].append(name)
    for node in current.graph.node:
        why = refusal(node, facts)
        if why is not None:
            key = (node.op_type, _domain(node), "refused", "", f"{why.reason}. {why.instead}")
            groups[key].append(_name(node))
        elif _name(node) in written:
            groups[node.op_type, _domain(node), "supported", "", ""].append(_name(node))
    uses = tuple(
        OperatorUse(
            op=op,
            domain=domain,
            count=len(nodes),
            status=status,
            by=by,
            reason=reason,
            nodes=tuple(nodes[:8]),
        )
        for (op, domain, status, by, reason), nodes in sorted(groups.items())
    )
    return uses, current


def _domain(node: NodeProto) -> str:
    return "" if node.domain == "ai.onnx" else node.domain


def _name(node: NodeProto) -> str:
    return node.name or node.output[0]


def _raise_refused(operators: tuple[OperatorUse, ...]) -> None:
    refused = [o for o in operators if o.status == "refused"]
    if not refused:
        return
    first = refused[0]
    why, _, instead = first.reason.partition(". ")
    others = f" (and {len(refused) - 1} more operators)" if len(refused) > 1 else ""
    raise UnsupportedOperator(
        f"{first.op} at node {first.nodes[0]!r} cannot be proved: {why}{others}",
        advice=instead,
        op=first.op,
        domain=first.domain,
        node=first.nodes[0],
        refused=[o.op for o in refused],
    )


def _parameters(model: ModelProto) -> int:
    """Floating-point constants: integer ones are shapes and indices."""
    floats = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
    tensors = [t for t in model.graph.initializer if t.data_type in floats]
    for node in model.graph.node:
        tensors += [a.t for a in node.attribute if a.HasField("t") and a.t.data_type in floats]
    return sum(math.prod(t.dims) for t in tensors)


def _multiplications(node: NodeProto, facts: GraphFacts) -> int:
    out = math.prod(facts.shapes.get(node.output[0], [0])) if node.output else 0
    first = facts.shapes.get(node.input[0], []) if node.input else []
    weights = facts.shapes.get(node.input[1], []) if len(node.input) > 1 else []
    axis = 0 if attributes(node).get("transA") else 1
    steps = first[0] if first else 0
    recurrent = facts.shapes.get(node.input[2], []) if len(node.input) > 2 else []
    per_operator = {
        "Conv": out * math.prod(weights[1:]),
        "ConvTranspose": math.prod(first) * math.prod(weights[1:]),
        "MatMul": out * (first[-1] if first else 0),
        "Gemm": out * (first[axis] if len(first) > axis else 0),
        "Mul": out,
        "Div": out,
        "Pow": out,
        "BatchNormalization": out,
        "LSTM": steps * (math.prod(weights) + math.prod(recurrent)),
        "GRU": steps * (math.prod(weights) + math.prod(recurrent)),
        "RNN": steps * (math.prod(weights) + math.prod(recurrent)),
    }
    return per_operator.get(node.op_type, 0)


__all__ = ["ModelSummary", "OperatorUse", "inspect_model"]


def inspect_json(data: bytes, allow_refused: bool = False) -> dict[str, Any]:
    """``inspect_model`` in plain JSON: for callers in a process that does not load onnx."""
    return inspect_model(data, allow_refused=allow_refused).to_json()
