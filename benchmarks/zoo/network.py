"""A chain of layers: training by Adam, operation counts, ONNX export."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from benchmarks.zoo.entry import Floats, Labels
from benchmarks.zoo.layers import Layer, Shape

OPSET, IR_VERSION = 13, 8
#: The gradient of the loss by the last layer's output, for a batch's outputs and row numbers.
LossSlope = Callable[[Floats, np.ndarray], Floats]


class Network:
    """``shape`` is that of one input, without the batch."""

    def __init__(self, name: str, shape: Shape, layers: Sequence[Layer]):
        self.name, self.shape, self.layers = name, shape, list(layers)

    def forward(self, x: Floats) -> Floats:
        for layer in self.layers:
            x = layer.forward(x)
        return x

    @property
    def multiplications(self) -> int:
        return sum(layer.multiplications(shape) for layer, shape in self._shapes())

    @property
    def activations(self) -> int:
        return sum(layer.activations(shape) for layer, shape in self._shapes())

    @property
    def parameters(self) -> int:
        return sum(weight.size for layer in self.layers for weight in layer.weights)

    def train(
        self,
        x: Floats,
        slope: LossSlope,
        *,
        epochs: int,
        rate: float = 2e-3,
        decay: float = 0.02,
        batch: int = 32,
        seed: int = 0,
    ) -> None:
        """Adam with decoupled decay of the matrices and a cosine rate."""
        rng = np.random.default_rng(seed)
        weights = [(layer, i) for layer in self.layers for i in range(len(layer.weights))]
        first = [np.zeros_like(layer.weights[i]) for layer, i in weights]
        second = [np.zeros_like(layer.weights[i]) for layer, i in weights]
        step = 0
        for epoch in range(epochs):
            now = rate * 0.5 * (1 + np.cos(np.pi * epoch / epochs))
            order = rng.permutation(len(x))
            for start in range(0, len(order), batch):
                rows = order[start : start + batch]
                back = slope(self.forward(x[rows]), rows).astype(np.float32)
                for layer in reversed(self.layers):
                    back = layer.backward(back)
                step += 1
                for at, (layer, i) in enumerate(weights):
                    first[at] = 0.9 * first[at] + 0.1 * layer.slopes[i]
                    second[at] = 0.999 * second[at] + 0.001 * layer.slopes[i] ** 2
                    mean = first[at] / (1 - 0.9**step)
                    spread = np.sqrt(second[at] / (1 - 0.999**step)) + 1e-8
                    shrink = decay * layer.weights[i] if layer.weights[i].ndim > 1 else 0.0
                    change = now * (mean / spread + shrink)
                    layer.weights[i] = (layer.weights[i] - change).astype(np.float32)

    def to_onnx(self, *, input_name: str = "x", output_name: str = "y") -> bytes:
        """One graph of fixed batch 1."""
        nodes: list[onnx.NodeProto] = []
        tensors: list[onnx.TensorProto] = []
        value, shape = input_name, self.shape
        for at, layer in enumerate(self.layers):
            last = at == len(self.layers) - 1
            name = f"{type(layer).__name__.lower()}{at}"
            following = output_name if last else f"{name}.out"
            written, held = layer.write(name, value, following)
            nodes, tensors = nodes + written, tensors + held
            value, shape = following, layer.shape(shape)
        return write_model(
            self.name, nodes, tensors, {input_name: (1, *self.shape)}, {output_name: (1, *shape)}
        )

    def _shapes(self) -> list[tuple[Layer, Shape]]:
        shapes, shape = [], self.shape
        for layer in self.layers:
            shapes.append((layer, shape))
            shape = layer.shape(shape)
        return shapes


def cross_entropy(labels: Labels, *, classes: int = 10, smoothing: float = 0.1) -> LossSlope:
    """Softmax cross-entropy on smoothed labels."""

    def slope(logits: Floats, rows: np.ndarray) -> Floats:
        error = np.exp(logits - logits.max(1, keepdims=True))
        error /= error.sum(1, keepdims=True)
        error -= smoothing / classes
        error[np.arange(len(rows)), labels[rows]] -= 1 - smoothing
        result: Floats = error / len(rows)
        return result

    return slope


def squared_error(targets: Floats) -> LossSlope:
    """The mean of squared differences."""

    def slope(answers: Floats, rows: np.ndarray) -> Floats:
        difference: Floats = (answers - targets[rows]) / len(rows)
        return difference

    return slope


def write_model(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    tensors: Sequence[onnx.TensorProto],
    inputs: dict[str, Shape],
    outputs: dict[str, Shape],
) -> bytes:
    """A checked float32 model; equal arguments give equal bytes."""
    graph = helper.make_graph(
        list(nodes),
        name,
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(s)) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(s)) for n, s in outputs.items()],
        list(tensors),
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="zkml-prover benchmarks",
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
