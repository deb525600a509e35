"""A model between passes."""

from __future__ import annotations

from typing import ClassVar

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from circuits.errors import ModelError, ZkmlError
from circuits.frontend.fixed_shapes import infer_shapes
from circuits.rewrite.edit import Pass


class Draft:
    """A model between passes: parsed again only where one has changed it."""

    #: The graph of the last plain model by its bytes, for the first draft of these: it is edited.
    _last: ClassVar[dict[bytes, ir.Model]] = {}

    def __init__(self, model: onnx.ModelProto) -> None:
        """``model`` has bound shapes."""
        self.model = model
        self._operators = {node.op_type for node in model.graph.node}
        self._graph: ir.Model | None = None
        self._folded = False

    @classmethod
    def plain(cls, model: onnx.ModelProto) -> bytes:
        """A model, whose shapes are inferred, without what nothing reads: written by the same hand
        as after every pass, so that only real changes show."""
        draft = cls(model)
        graphs: list[ir.Model] = []
        draft.run(Pass(name="", version=0, purpose="", reference="", run=graphs.append))
        data = draft.written
        cls._last = {data: graphs[0]}
        return data

    @classmethod
    def of(cls, data: bytes) -> Draft:
        """A model as it was written."""
        draft = cls(onnx.load_model_from_string(data))
        draft._graph = cls._last.pop(data, None)
        return draft

    @property
    def written(self) -> bytes:
        data: bytes = self.model.SerializeToString(deterministic=True)
        return data

    def run(self, step: Pass) -> bool:
        """Runs a pass and infers shapes; whether it can have changed anything. Compares nothing.

        Raises ``ModelError`` naming the pass for whatever it trips over.
        """
        if not step.concerns(self._operators) or (step.folds and self._folded):
            return False
        try:
            graph = self._graph or ir.from_proto(self.model)
            before = [id(node) for node in graph.graph], set(graph.graph.initializers)
            idle = step.run(graph) is False
            after = [id(node) for node in graph.graph], set(graph.graph.initializers)
            if idle or ((step.touches or step.folds) and before == after):
                self._graph, self._folded = graph, self._folded or step.folds
                return False  # it replaces nodes, and found none to replace
            if step.touches and before[0] == after[0]:
                self._graph = None
                return False
            self._write(graph)
        except ZkmlError:
            raise
        except Exception as error:  # models come from outside: whatever a pass trips over is theirs
            raise ModelError(
                f"the model cannot be rewritten: pass {step.name!r}: {type(error).__name__}:"
                f" {str(error).splitlines()[0] if str(error) else ''}"[:300],
                advice="Run onnx.checker.check_model(model, full_check=True) on it and export it"
                " again.",
            ) from error
        self._folded = step.folds
        return True

    def _write(self, graph: ir.Model) -> None:
        common.RemoveUnusedNodesPass()(graph)
        common.RemoveUnusedOpsetsPass()(graph)
        common.ClearMetadataAndDocStringPass()(graph)
        written = ir.to_proto(graph)
        del written.graph.value_info[:]  # inferred again, in the order of the nodes
        self.model, self._graph = infer_shapes(written), None
        self._operators = {node.op_type for node in written.graph.node}
