"""The batched graph beside the single-lane one in onnxruntime, lane by lane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from circuits.batching.vectorize import vectorize
from circuits.calibration.samples import Sample
from circuits.format.tensors import Signature, TensorSpec
from circuits.frontend.fixed_shapes import DTYPES, real_inputs, static_shape
from circuits.rewrite.compare import difference, probes, run
from circuits.rewrite.context import CONTEXT_INPUT

#: Largest difference between a lane and the single-lane graph, over the output's range.
TOLERANCE = 1e-5
_PACKS = 3
_SEED = 77


def vectorize_checked(data: bytes, lanes: int, samples: Sequence[Sample] = ()) -> bytes:
    """``vectorize``, held to the single-lane graph on samples and random inputs: ``_PACKS`` full
    packs with other data in each lane, so that a lane which looks at its neighbours shows.
    ``samples`` need not mention the context.
    """
    batched = vectorize(data, lanes)
    specs = _specs(data)
    # Any context will do, lanes stand alone in all.
    others = {s.name: np.zeros(s.shape, np.float32) for s in specs}
    pool = probes(Signature(inputs=specs, outputs=()), [{**others, **s} for s in samples])
    expected = run(data, pool)
    rng = np.random.default_rng(_SEED)
    for _ in range(_PACKS):
        chosen = rng.integers(0, len(pool), lanes)
        packed = pack([pool[i] for i in chosen], specs)
        (outputs,) = run(batched, [packed])
        got = [[o.reshape(lanes, -1)[lane] for o in outputs] for lane in range(lanes)]
        want = [[o.reshape(-1) for o in expected[i]] for i in chosen]
        assert difference(want, got) <= TOLERANCE, f"{lanes} lanes"
    return batched


def pack(samples: Sequence[Sample], specs: Sequence[TensorSpec]) -> Sample:
    """One input of the batched graph: the samples in its lanes, in order."""
    axis = {CONTEXT_INPUT: 1}
    return {
        s.name: np.concatenate([np.asarray(x[s.name]) for x in samples], axis=axis.get(s.name, 0))
        for s in specs
    }


def _specs(data: bytes) -> tuple[TensorSpec, ...]:
    specs = []
    for value in real_inputs(onnx.load_model_from_string(data)):
        shape = static_shape(value)
        assert shape is not None
        dtype = DTYPES[value.type.tensor_type.elem_type]
        specs.append(TensorSpec(name=value.name, dtype=dtype, shape=shape))
    return tuple(specs)
