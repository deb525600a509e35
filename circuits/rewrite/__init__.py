"""The float stage of the graph compiler: named passes from an exported model to one that proves.

``pipeline`` runs them and compares what comes out with onnxruntime; one module a pass.
"""

from circuits.rewrite.context import bind_context
from circuits.rewrite.pipeline import PASSES, Rewritten, rewrite

__all__ = ["PASSES", "Rewritten", "bind_context", "rewrite"]
