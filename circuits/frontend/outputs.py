"""Outputs that are no tensors of numbers, made so: scikit-learn's exporters write maps, sequences
and strings.

What is proved is the numbers: a ``ZipMap`` gives the tensor of scores that it would wrap, a
sequence its tensors, and a classifier with text labels gives the label's place in its list.
"""

from __future__ import annotations

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

ML = "ai.onnx.ml"
#: The operator set that is named where nothing is written in one.
OPSET = 17
_CLASSIFIERS = frozenset({"TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier"})


def plain_outputs(model: ModelProto) -> list[str]:
    """Rewrites such outputs in place; tells what was done, for people."""
    notes: list[str] = []
    graph = model.graph
    for node in list(graph.node):
        if node.op_type == "SequenceConstruct":
            notes.extend(_unpacked(graph, node))
        if node.domain != ML:
            continue
        if node.op_type == "ZipMap":
            name_opset(model)
            _unzip(graph, node)
            notes.append(f"output {node.output[0]!r}: the scores, without their ZipMap")
        elif node.op_type in _CLASSIFIERS:
            labels = _number_labels(node)
            if labels:
                reached = _relabelled(graph, node.output[0])
                shown = ", ".join(labels[:8]) + ("…" if len(labels) > 8 else "")
                notes.extend(f"output {name!r}: the place in [{shown}]" for name in reached)
    return notes


def _unpacked(graph: GraphProto, node: NodeProto) -> list[str]:
    """Replaces an output that is a sequence by its tensors."""
    name = node.output[0]
    place = next((i for i, output in enumerate(graph.output) if output.name == name), None)
    if place is None or any(name in other.input for other in graph.node):
        return []
    kind = graph.output[place].type.sequence_type.elem_type
    after = list(graph.output)[place + 1 :]
    del graph.output[place:]
    graph.output.extend(ValueInfoProto(name=tensor, type=kind) for tensor in node.input)
    graph.output.extend(after)
    graph.node.remove(node)
    return [f"output {name!r}: its {len(node.input)} tensors, each an output"]


def name_opset(model: ModelProto) -> None:
    """Names an operator set for standard operators where a model has none of these, or none but
    Identity, and whatever old set it names (onnxmltools, CatBoost)."""
    standard = ("", "ai.onnx")
    version = max((o.version for o in model.opset_import if o.domain in standard), default=0)
    used = {node.op_type for node in model.graph.node if node.domain in standard}
    if not used or (used == {"Identity"} and version < OPSET):
        others = [o for o in model.opset_import if o.domain not in standard]
        del model.opset_import[:]
        model.opset_import.extend([helper.make_opsetid("", OPSET), *others])
        model.ir_version = max(model.ir_version, 8)


def _unzip(graph: GraphProto, node: NodeProto) -> None:
    node.op_type, node.domain = "Identity", ""
    del node.attribute[:]
    for output in graph.output:
        if output.name == node.output[0]:
            output.type.Clear()
            output.type.tensor_type.elem_type = TensorProto.FLOAT


def _number_labels(node: NodeProto) -> list[str]:
    """Replaces text labels by 0, 1, 2…; gives the labels, or nothing when they were numbers."""
    for position, attribute in enumerate(node.attribute):
        if attribute.name == "classlabels_strings" and attribute.strings:
            labels = [s.decode("utf-8", "replace") for s in attribute.strings]
            del node.attribute[position]
            places = list(range(len(labels)))
            node.attribute.append(helper.make_attribute("classlabels_int64s", places))
            return labels
    return []


def _relabelled(graph: GraphProto, name: str) -> list[str]:
    """Graph outputs that a label reaches unchanged, now integers."""
    names = {name}
    for node in graph.node:
        if node.op_type in ("Identity", "Reshape", "Cast") and node.input[0] in names:
            names.add(node.output[0])
            if node.op_type == "Cast":
                del node.attribute[:]
                node.attribute.append(helper.make_attribute("to", int(TensorProto.INT64)))
    reached = []
    for output in graph.output:
        if output.name in names:
            output.type.tensor_type.elem_type = TensorProto.INT64
            reached.append(output.name)
    return reached
