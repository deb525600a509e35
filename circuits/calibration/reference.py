"""onnxruntime on the model as uploaded: what every circuit is compared with.

Runs inside a sandbox child: the model comes from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.calibration.samples import Sample
from circuits.calibration.session import open_session
from circuits.errors import ModelError


def answers(
    onnx: bytes, near: bytes | None, samples: Sequence[Sample]
) -> list[tuple[list[NDArray[Any]], int | None]]:
    """The model's outputs for each sample and, where ``near`` is given, how many compared values
    are within a step of their threshold (``circuits.lower.thresholds.near_graph``).

    Raises ``ModelError`` as ``run_reference`` does.
    """
    outputs = run_reference(onnx, samples)
    if near is None:
        return [(output, None) for output in outputs]
    counts = run_reference(near, samples, strict=False)
    return [(o, int(c[0].reshape(-1)[0])) for o, c in zip(outputs, counts, strict=True)]


def run_reference(
    onnx: bytes, samples: Sequence[Sample], *, strict: bool = True
) -> list[list[NDArray[Any]]]:
    """The model's outputs for each sample, in the model's order, as float64.

    Without ``strict`` a sample may have inputs that the model does not.

    Raises ``ModelError`` when onnxruntime refuses the model or an input.
    """
    try:
        session = open_session(onnx)
        names = [o.name for o in session.get_outputs()]
        taken = {i.name for i in session.get_inputs()}
        return [
            [np.asarray(v, dtype=np.float64) for v in session.run(names, feed)]
            for sample in samples
            for feed in ({n: v for n, v in sample.items() if strict or n in taken},)
        ]
    except MemoryError:
        raise
    except Exception as error:  # onnxruntime's own exception types share no base
        raise ModelError(
            f"onnxruntime cannot run the model: {str(error)[:300]}",
            advice="Check that the model runs in onnxruntime as exported. Without calibration"
            " data it is run on drawn numbers, which an input that holds indices may not take.",
        ) from None
