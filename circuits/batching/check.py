"""The wide graph beside the narrow one in onnxruntime, lane by lane.

Runs inside a sandbox child: the model comes from outside.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from circuits.batching.errors import CannotBatch
from circuits.batching.vectorize import widen
from circuits.calibration.samples import Sample
from circuits.format.hints import CHALLENGE
from circuits.format.tensors import Signature, TensorSpec
from circuits.frontend.fixed_shapes import DTYPES, real_inputs, static_shape
from circuits.rewrite.compare import difference, probes, run
from circuits.rewrite.context import CONTEXT_INPUT

#: Largest difference between a lane and the narrow graph, over the output's range.
TOLERANCE = 1e-5
_PACKS = 3
_SEED = 77


def widen_checked(
    data: bytes, lanes: int, samples: Sequence[Sample] = (), whole: bool = False
) -> bytes:
    """``widen``, held to the narrow graph on samples and random inputs: ``_PACKS`` full packs with
    other data in each lane, so that a lane which looks at its neighbours shows. ``samples`` need
    mention neither the context nor results that are given.

    Raises ``CannotBatch`` also when a lane's output is not the narrow graph's.
    """
    wide = widen(data, lanes, whole=whole)
    specs = _specs(data)
    # The context, and results that the circuit is given: any will do, lanes stand alone in all.
    others = {s.name: np.zeros(s.shape, np.float32) for s in specs}
    pool = probes(Signature(inputs=specs, outputs=()), [{**others, **s} for s in samples])
    if CHALLENGE in others:  # one for all lanes
        pool = [{**sample, CHALLENGE: np.full((1, 1), 1.5, np.float32)} for sample in pool]
    expected = run(data, pool)
    rng = np.random.default_rng(_SEED)
    for _ in range(_PACKS):
        chosen = rng.integers(0, len(pool), lanes)
        packed = pack([pool[i] for i in chosen], specs)
        (outputs,) = run(wide, [packed])
        got = [[o.reshape(lanes, -1)[lane] for o in outputs] for lane in range(lanes)]
        want = [[o.reshape(-1) for o in expected[i]] for i in chosen]
        if (gap := difference(want, got)) > TOLERANCE:
            raise CannotBatch(
                f"with {lanes} lanes the graph differs from the model by {gap:.3g} of the"
                " output's range",
                difference=gap,
            )
    return wide


def pack(samples: Sequence[Sample], specs: Sequence[TensorSpec]) -> Sample:
    """One input of the wide graph: the samples in its lanes, in order."""
    axis = {CONTEXT_INPUT: 1}
    packed = {
        s.name: np.concatenate([np.asarray(x[s.name]) for x in samples], axis=axis.get(s.name, 0))
        for s in specs
        if s.name != CHALLENGE
    }
    shared = {s.name: np.asarray(samples[0][s.name]) for s in specs if s.name == CHALLENGE}
    return packed | shared


def _specs(data: bytes) -> tuple[TensorSpec, ...]:
    specs = []
    for value in real_inputs(onnx.load_model_from_string(data)):
        shape = static_shape(value)
        assert shape is not None
        dtype = DTYPES[value.type.tensor_type.elem_type]
        specs.append(TensorSpec(name=value.name, dtype=dtype, shape=shape))
    return tuple(specs)
