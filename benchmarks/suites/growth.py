"""The growth of a circuit with its model: ``python -m benchmarks.suites.growth``.

Families of networks that differ only in width, depth, or image size are estimated like in
``zkml plan --estimate``: the engine measures layouts and nothing is proved, so sizes do not depend
on the machine. Seconds and memory are the cost model's predictions. Prints a table for
docs/benchmarks.md; takes a minute or two.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from benchmarks.harness.metrics import readable
from benchmarks.zoo.layers import Conv, Dense, Flatten, Layer, Pool, Relu
from benchmarks.zoo.network import Network
from circuits.calibration.samples import draw
from circuits.compiler.build import Builder
from circuits.compiler.inspect import inspect_model
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import Limits
from circuits.engine.sandbox import Sandbox
from circuits.errors import ZkmlError
from circuits.format.profile import Profile
from circuits.srs.files import Policy, SrsFolder
from prover.jobs.circuit_registry import machine_costs
from prover.settings import Settings

_CLASSES = 10


def families() -> Iterator[tuple[str, Network]]:
    """The varied property, and the network."""
    for width in (32, 64, 128, 256, 512):
        yield f"width {width}", _dense([64, width, _CLASSES])
    for depth in (1, 2, 4, 8):
        yield f"depth {depth}", _dense([64, *[64] * depth, _CLASSES])
    for side in (8, 12, 16, 24, 32):
        yield f"image {side}×{side}", _convolutional(side)


def _dense(sizes: list[int]) -> Network:
    rng = np.random.default_rng(0)
    layers: list[Layer] = []
    for features, outputs in pairwise(sizes[:-1]):
        layers += [Dense(features, outputs, rng), Relu()]
    name = "-".join(map(str, sizes))
    return Network(f"mlp-{name}", (sizes[0],), [*layers, Dense(sizes[-2], sizes[-1], rng)])


def _convolutional(side: int) -> Network:
    """Four filters of 3×3, ReLU, maxima of 2×2, a dense layer."""
    rng = np.random.default_rng(0)
    flat = 4 * (side // 2) ** 2
    layers: list[Layer] = [Conv(1, 4, 3, rng, pad=1), Relu(), Pool("MaxPool"), Flatten()]
    return Network(f"cnn-{side}", (1, side, side), [*layers, Dense(flat, _CLASSES, rng)])


def main() -> int:
    settings = Settings.load(redis_url=None)
    limits = Limits(deadline_s=600, memory_bytes=settings.engine_limits.memory_bytes)
    sandbox = Sandbox()
    builder = Builder(
        engine=EzklEngine(sandbox),
        srs=SrsFolder(settings.srs_dir),
        policy=Policy.DEVELOPMENT,
        limits=limits,
        cost_model=machine_costs(settings),
    )
    print("| differs | network | multiplications | activations | rows | columns | proof | memory |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    try:
        for family, network in families():
            model = network.to_onnx()
            signature = inspect_model(model).signature
            samples = draw(signature, {spec.name: (0.0, 1.0) for spec in signature.inputs})
            cells = [family, network.name, f"{network.multiplications:,}"]
            cells.append(f"{network.activations:,}")
            try:
                found = builder.estimate(model, samples, Profile())
            except ZkmlError as error:
                cells += [error.detail, "", "", ""]
            else:
                cells += [f"2^{found.logrows}", str(found.columns)]
                cells += [
                    readable(found.predicted.prove_s, "s"),
                    readable(found.predicted.peak_bytes, "B"),
                ]
            print("| " + " | ".join(cells) + " |", flush=True)
    finally:
        sandbox.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
