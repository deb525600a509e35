"""The compiler's doors, called inside sandbox children: plain data in, plain data out."""

from __future__ import annotations

from collections.abc import Sequence

from circuits.manifest import AppliedPass
from circuits.plan.graphs import FloatGraph
from circuits.plan.samples import Sample
from circuits.rewrite import bind_context, rewrite

_BOUND = AppliedPass(name="bind-context", version=1)
_HANDED_ON = AppliedPass(name="hand-on-context", version=1)


def float_graph(
    model: bytes, samples: Sequence[Sample], limbs: int, hand_on: bool = False
) -> FloatGraph:
    """The model after every float pass, each compared with the original on ``samples``.

    ``hand_on``: the inputs are not public, so the context goes out as the first output.
    """
    rewritten = rewrite(model, samples)
    return FloatGraph(
        onnx=bind_context(rewritten.onnx, limbs, hand_on=hand_on),
        plain=rewritten.onnx,
        passes=(*rewritten.passes, _HANDED_ON if hand_on else _BOUND),
        signature=rewritten.signature,
    )
