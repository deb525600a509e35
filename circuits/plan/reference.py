"""onnxruntime on the model as uploaded: what every circuit is compared with.

Runs inside a sandbox child: the model comes from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.errors import ModelError
from circuits.plan.samples import Sample


def run_reference(onnx: bytes, samples: Sequence[Sample]) -> list[list[NDArray[Any]]]:
    """The model's outputs for each sample, in the model's order, as float64.

    Raises ``ModelError`` when onnxruntime refuses the model or an input.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        names = [o.name for o in session.get_outputs()]
        return [
            [np.asarray(v, dtype=np.float64) for v in session.run(names, dict(sample))]
            for sample in samples
        ]
    except Exception as error:  # onnxruntime's own exception types share no base
        raise ModelError(
            f"onnxruntime cannot run the model: {str(error)[:300]}",
            hint="Check that the model runs in onnxruntime as exported. Without calibration data it"
            " is run on drawn numbers, which an input that holds indices may not take.",
        ) from None
