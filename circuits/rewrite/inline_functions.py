"""Operators that ONNX defines by what they are made of, and operator sets newer than we know."""

from __future__ import annotations

import onnx_ir as ir
from onnx import defs

from circuits.frontend.functions import WITH_BODIES, write_out_bodies
from circuits.rewrite.edit import Pass, names_in, opset

#: The newest operator set that onnxruntime runs here.
NEWEST = 24
#: The newest version of the file format that it reads.
NEWEST_IR = 11


def _run(model: ir.Model) -> None:
    found = (*WITH_BODIES, "Scan")
    if not any(n.op_type in found and n.domain in ("", "ai.onnx") for n in model.graph):
        return
    written = ir.from_proto(write_out_bodies(ir.to_proto(model)))
    _name_nodes(written.graph)
    model.graph = written.graph


def _name_nodes(graph: ir.Graph) -> None:
    """Names of their own for the nodes of bodies, which have none, or one for every call."""
    taken = names_in(graph)
    seen: set[str] = set()
    for node in graph:
        if node.name and node.name not in seen:
            seen.add(node.name)
            continue
        stem = f"{node.op_type}/{node.outputs[0].name}"
        name, count = stem, 0
        while name in taken:
            count += 1
            name = f"{stem}_{count}"
        node.name = name
        taken.add(name)
        seen.add(name)


def _lower_version(model: ir.Model) -> None:
    """The numbers of the newest set and format that run, where each operator means the same."""
    model.ir_version = min(model.ir_version or NEWEST_IR, NEWEST_IR)
    version = opset(model)
    if version <= NEWEST:
        return
    for node in model.graph:
        if node.domain not in ("", "ai.onnx"):
            continue
        if not _means_the_same(node, version):
            return
    model.graph.opset_imports[""] = NEWEST


def _means_the_same(node: ir.Node, version: int) -> bool:
    """Whether an operator of a newer set has an older form with all that the node asks for. New
    forms that only take more types are the same operator; what it computes is compared later."""
    try:
        newer = defs.get_schema(node.op_type, min(version, defs.onnx_opset_version()), "")
        older = defs.get_schema(node.op_type, NEWEST, "")
    except defs.SchemaError:
        return False
    if newer.since_version == older.since_version:
        return True
    known = set(older.attributes)
    return set(node.attributes) <= known and len(node.inputs) <= older.max_input


EXPAND_FUNCTIONS = Pass(
    name="expand-functions",
    version=2,
    purpose="Inlines Attention, RMSNormalization, Celu, losses and others by ONNX's definitions.",
    reference="ONNX operator specification, the operators' function bodies",
    run=_run,
    touches=frozenset((*WITH_BODIES, "Scan")),
)

LOWER_OPSET = Pass(
    name="lower-opset",
    version=1,
    purpose="Lowers operator sets and formats newer than onnxruntime's to the newest that mean"
    " the same.",
    reference="https://onnx.ai/onnx/repo-docs/Versioning.html",
    run=_lower_version,
)
