"""Trains the digits net and writes its ONNX file, a sample input and calibration data.

    python -m benchmarks.demo.digits.train [FOLDER]

The shape is chosen for the circuit: 8 filters of 4×4 at stride 3 give 2×2 positions, so there are
512 + 320 multiplications and 32 activations. With the weights as integers that is about 1 800
assignments, which fits 2^10 rows in two columns.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.demo.digits import CALIBRATION, HERE, MODEL, SAMPLE
from benchmarks.demo.digits.data import Images, Labels, Split, load

Floats = NDArray[np.float32]

FILTERS, KERNEL, STRIDE = 8, 4, 3
POSITIONS = ((8 - KERNEL) // STRIDE + 1) ** 2
CALIBRATION_IMAGES = 256


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Found by five-fold validation inside the training set; the held-out images chose nothing."""

    seed: int = 0
    epochs: int = 400
    batch: int = 32
    peak_rate: float = 0.02
    decay: float = 0.1  # decoupled; small weights quantise better
    smoothing: float = 0.2  # of the labels
    shifted_share: float = 0.1  # of the images, moved by up to one pixel in each epoch


@dataclass(frozen=True)
class Weights:
    """conv [8, 16], conv_bias [8], dense [10, 32], dense_bias [10]; dense reads channel-major."""

    conv: Floats
    conv_bias: Floats
    dense: Floats
    dense_bias: Floats

    def arrays(self) -> list[Floats]:
        return [self.conv, self.conv_bias, self.dense, self.dense_bias]


def train(images: Images, labels: Labels, recipe: Recipe | None = None) -> Weights:
    """Adam with decoupled decay and a cosine rate on smoothed cross-entropy."""
    recipe = recipe or Recipe()
    rng = np.random.default_rng(recipe.seed)
    weights = _initial(rng).arrays()
    first = [np.zeros_like(w) for w in weights]
    second = [np.zeros_like(w) for w in weights]
    step = 0
    for epoch in range(recipe.epochs):
        rate = recipe.peak_rate * 0.5 * (1 + np.cos(np.pi * epoch / recipe.epochs))
        patches = _patches(_shifted(images, recipe.shifted_share, rng))
        order = rng.permutation(len(labels))
        for start in range(0, len(order), recipe.batch):
            chosen = order[start : start + recipe.batch]
            step += 1
            slopes = _gradients(
                Weights(*weights), patches[chosen], labels[chosen], recipe.smoothing
            )
            for i, slope in enumerate(slopes):
                first[i] = 0.9 * first[i] + 0.1 * slope
                second[i] = 0.999 * second[i] + 0.001 * slope**2
                mean = first[i] / (1 - 0.9**step)
                spread = np.sqrt(second[i] / (1 - 0.999**step)) + 1e-8
                decay = recipe.decay if weights[i].ndim == 2 else 0.0
                update = rate * (mean / spread + decay * weights[i])
                weights[i] = (weights[i] - update).astype(np.float32)
    return Weights(*weights)


def predict(weights: Weights, images: Images) -> Floats:
    """Logits [N, 10] of images [N, 1, 8, 8]."""
    return _forward(weights, _patches(images))[2]


def _initial(rng: np.random.Generator) -> Weights:
    taps, hidden = KERNEL * KERNEL, POSITIONS * FILTERS
    return Weights(
        rng.normal(0, np.sqrt(2 / taps), (FILTERS, taps)).astype(np.float32),
        np.zeros(FILTERS, np.float32),
        rng.normal(0, np.sqrt(2 / hidden), (10, hidden)).astype(np.float32),
        np.zeros(10, np.float32),
    )


def _shifted(images: Images, share: float, rng: np.random.Generator) -> Images:
    count = len(images)
    move = rng.integers(-1, 2, (count, 2)) * (rng.random((count, 1)) < share)
    rows = np.arange(1, 9) - move[:, :1]
    columns = np.arange(1, 9) - move[:, 1:]
    padded = np.pad(images[:, 0], ((0, 0), (1, 1), (1, 1)))
    moved: Images = padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved[:, None]


def _patches(images: Images) -> Floats:
    """[N, 1, 8, 8] to [N, positions, taps]."""
    windows = np.lib.stride_tricks.sliding_window_view(images[:, 0], (KERNEL, KERNEL), axis=(1, 2))
    windows = windows[:, ::STRIDE, ::STRIDE]
    return np.ascontiguousarray(windows.reshape(len(images), POSITIONS, KERNEL * KERNEL))


def _forward(w: Weights, patches: Floats) -> tuple[Floats, Floats, Floats]:
    before = patches @ w.conv.T + w.conv_bias
    # Channel-major, as ONNX's Flatten lays out [N, channels, height, width].
    hidden = np.maximum(before, 0).transpose(0, 2, 1).reshape(len(patches), -1)
    return before, hidden, hidden @ w.dense.T + w.dense_bias


def _gradients(w: Weights, patches: Floats, labels: Labels, smoothing: float) -> list[Floats]:
    before, hidden, logits = _forward(w, patches)
    count = len(labels)
    error = np.exp(logits - logits.max(1, keepdims=True))
    error /= error.sum(1, keepdims=True)
    error -= smoothing / 10
    error[np.arange(count), labels] -= 1 - smoothing
    error /= count
    back = (error @ w.dense).reshape(count, FILTERS, POSITIONS).transpose(0, 2, 1) * (before > 0)
    return [
        back.reshape(-1, FILTERS).T @ patches.reshape(-1, KERNEL * KERNEL),
        back.sum((0, 1)),
        error.T @ hidden,
        error.sum(0),
    ]


def to_onnx(w: Weights) -> onnx.ModelProto:
    """``image`` float32 [1, 1, 8, 8] to ``logits`` float32 [1, 10]; equal weights, equal bytes."""
    nodes = [
        helper.make_node(
            "Conv",
            ["image", "conv.weight", "conv.bias"],
            ["conv"],
            name="conv",
            kernel_shape=[KERNEL, KERNEL],
            strides=[STRIDE, STRIDE],
            pads=[0, 0, 0, 0],
        ),
        helper.make_node("Relu", ["conv"], ["relu"], name="relu"),
        helper.make_node("Flatten", ["relu"], ["flat"], name="flatten", axis=1),
        helper.make_node(
            "Gemm", ["flat", "dense.weight", "dense.bias"], ["logits"], name="dense", transB=1
        ),
    ]
    initializers = {
        "conv.weight": w.conv.reshape(FILTERS, 1, KERNEL, KERNEL),
        "conv.bias": w.conv_bias,
        "dense.weight": w.dense,
        "dense.bias": w.dense_bias,
    }
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(array, name) for name, array in initializers.items()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
        producer_name="zkml-prover benchmarks.demo.digits",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def accuracy(logits: Floats, labels: Labels) -> float:
    """The share of rows whose largest logit is the label's."""
    return float((logits.argmax(1) == labels).mean())


def write(folder: Path, split: Split, weights: Weights) -> None:
    """Puts the three files of the package into ``folder``, under their usual names."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL.name).write_bytes(to_onnx(weights).SerializeToString(deterministic=True))
    sample = {"inputs": {"image": split.test_images[:1].tolist()}}
    (folder / SAMPLE.name).write_text(json.dumps(sample) + "\n", encoding="utf-8")
    chosen = np.linspace(0, len(split.train_images) - 1, CALIBRATION_IMAGES).round().astype(int)
    np.savez_compressed(folder / CALIBRATION.name, image=split.train_images[chosen])


def main(folder: Path = HERE) -> None:
    split = load()
    weights = train(split.train_images, split.train_labels)
    write(folder, split, weights)
    held_out = accuracy(predict(weights, split.test_images), split.test_labels)
    seen = accuracy(predict(weights, split.train_images), split.train_labels)
    largest = max(float(np.abs(a).max()) for a in weights.arrays())
    print(
        f"{len(split.test_labels)} held-out images: {held_out:.2%} right"
        f" ({seen:.2%} of the training images); largest weight {largest:.2f}"
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
