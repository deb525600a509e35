"""Trainable layers for the zoo, in numpy, with ONNX export.

Batches come first: dense layers take [N, features], the others [N, channels, height, width].
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
import onnx
from onnx import helper, numpy_helper

from benchmarks.zoo.entry import Floats

Shape = tuple[int, ...]
#: Nodes and initializers of one layer.
Written = tuple[list[onnx.NodeProto], list[onnx.TensorProto]]


class Layer(ABC):
    """``forward`` stores what ``backward`` needs; ``slopes`` are the gradients of ``weights``."""

    def __init__(self) -> None:
        self.weights: list[Floats] = []
        self.slopes: list[Floats] = []

    @abstractmethod
    def forward(self, x: Floats) -> Floats: ...

    @abstractmethod
    def backward(self, dy: Floats) -> Floats: ...

    @abstractmethod
    def shape(self, x: Shape) -> Shape:
        """The output shape for an input shape, both without the batch."""

    @abstractmethod
    def write(self, name: str, x: str, y: str) -> Written:
        """The layer as ONNX nodes from value ``x`` to value ``y``."""

    def multiplications(self, x: Shape) -> int:
        return 0

    def activations(self, x: Shape) -> int:
        return 0


class Dense(Layer):
    """x·Wᵀ + b with He's initial weights."""

    def __init__(self, features: int, outputs: int, rng: np.random.Generator):
        super().__init__()
        weight = rng.normal(0, math.sqrt(2 / features), (outputs, features))
        self.weights = [weight.astype(np.float32), np.zeros(outputs, np.float32)]

    def forward(self, x: Floats) -> Floats:
        self._x = x
        return x @ self.weights[0].T + self.weights[1]

    def backward(self, dy: Floats) -> Floats:
        self.slopes = [dy.T @ self._x, dy.sum(0)]
        return dy @ self.weights[0]

    def shape(self, x: Shape) -> Shape:
        return (self.weights[0].shape[0],)

    def write(self, name: str, x: str, y: str) -> Written:
        names = [f"{name}.weight", f"{name}.bias"]
        node = helper.make_node("Gemm", [x, *names], [y], name=name, transB=1)
        return [node], _tensors(names, self.weights)

    def multiplications(self, x: Shape) -> int:
        return int(self.weights[0].size)


class Conv(Layer):
    """A square convolution, as a product with the input's patches."""

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel: int,
        rng: np.random.Generator,
        *,
        stride: int = 1,
        pad: int = 0,
    ):
        super().__init__()
        self._kernel, self._stride, self._pad = kernel, stride, pad
        taps = channels * kernel * kernel
        weight = rng.normal(0, math.sqrt(2 / taps), (filters, channels, kernel, kernel))
        self.weights = [weight.astype(np.float32), np.zeros(filters, np.float32)]

    def forward(self, x: Floats) -> Floats:
        p = self._pad
        padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        self._padded_shape = padded.shape
        windows = np.lib.stride_tricks.sliding_window_view(
            padded, (self._kernel, self._kernel), axis=(2, 3)
        )[:, :, :: self._stride, :: self._stride]
        n, _, h, w = windows.shape[:4]
        patches = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * h * w, -1)
        self._patches = np.ascontiguousarray(patches)
        filters = len(self.weights[0])
        y = self._patches @ self.weights[0].reshape(filters, -1).T + self.weights[1]
        return np.ascontiguousarray(y.reshape(n, h, w, filters).transpose(0, 3, 1, 2))

    def backward(self, dy: Floats) -> Floats:
        filters, channels, k, _ = self.weights[0].shape
        n, _, h, w = dy.shape
        flat = dy.transpose(0, 2, 3, 1).reshape(-1, filters)
        slope = (flat.T @ self._patches).reshape(self.weights[0].shape)
        self.slopes = [slope, flat.sum(0)]
        back = (flat @ self.weights[0].reshape(filters, -1)).reshape(n, h, w, channels, k, k)
        dx: Floats = np.zeros(self._padded_shape, np.float32)
        s = self._stride
        for i in range(k):
            for j in range(k):
                part = back[..., i, j].transpose(0, 3, 1, 2)
                dx[:, :, i : i + h * s : s, j : j + w * s : s] += part
        p = self._pad
        return dx[:, :, p : dx.shape[2] - p, p : dx.shape[3] - p]

    def shape(self, x: Shape) -> Shape:
        def side(length: int) -> int:
            return (length + 2 * self._pad - self._kernel) // self._stride + 1

        return (len(self.weights[0]), side(x[1]), side(x[2]))

    def write(self, name: str, x: str, y: str) -> Written:
        names = [f"{name}.weight", f"{name}.bias"]
        node = helper.make_node(
            "Conv",
            [x, *names],
            [y],
            name=name,
            kernel_shape=[self._kernel] * 2,
            strides=[self._stride] * 2,
            pads=[self._pad] * 4,
        )
        return [node], _tensors(names, self.weights)

    def multiplications(self, x: Shape) -> int:
        _, height, width = self.shape(x)
        return height * width * int(self.weights[0].size)


class Relu(Layer):
    def forward(self, x: Floats) -> Floats:
        self._positive = x > 0
        return np.maximum(x, 0)

    def backward(self, dy: Floats) -> Floats:
        return np.where(self._positive, dy, np.float32(0))

    def shape(self, x: Shape) -> Shape:
        return x

    def write(self, name: str, x: str, y: str) -> Written:
        return [helper.make_node("Relu", [x], [y], name=name)], []

    def activations(self, x: Shape) -> int:
        return math.prod(x)


class Sigmoid(Layer):
    def forward(self, x: Floats) -> Floats:
        self._y: Floats = (1 / (1 + np.exp(-x))).astype(np.float32)
        return self._y

    def backward(self, dy: Floats) -> Floats:
        return dy * self._y * (1 - self._y)

    def shape(self, x: Shape) -> Shape:
        return x

    def write(self, name: str, x: str, y: str) -> Written:
        return [helper.make_node("Sigmoid", [x], [y], name=name)], []

    def activations(self, x: Shape) -> int:
        return math.prod(x)


class Pool(Layer):
    """2×2 pooling at stride 2, by ``AveragePool`` or ``MaxPool``."""

    def __init__(self, operator: str):
        super().__init__()
        self._operator = operator

    def forward(self, x: Floats) -> Floats:
        n, c, h, w = x.shape
        blocks = x.reshape(n, c, h // 2, 2, w // 2, 2)
        if self._operator == "AveragePool":
            mean: Floats = blocks.mean((3, 5), dtype=np.float32)
            return mean
        y: Floats = blocks.max((3, 5))
        self._chosen = blocks == y[:, :, :, None, :, None]
        return y

    def backward(self, dy: Floats) -> Floats:
        n, c, h, w = dy.shape
        spread = np.broadcast_to(dy[:, :, :, None, :, None], (n, c, h, 2, w, 2))
        if self._operator == "AveragePool":
            back = spread / np.float32(4)
        else:
            back = np.where(self._chosen, spread, np.float32(0))
        return np.ascontiguousarray(back).reshape(n, c, h * 2, w * 2)

    def shape(self, x: Shape) -> Shape:
        return (x[0], x[1] // 2, x[2] // 2)

    def write(self, name: str, x: str, y: str) -> Written:
        node = helper.make_node(
            self._operator,
            [x],
            [y],
            name=name,
            kernel_shape=[2, 2],
            strides=[2, 2],
            pads=[0, 0, 0, 0],
        )
        return [node], []

    def activations(self, x: Shape) -> int:
        return math.prod(self.shape(x)) * (3 if self._operator == "MaxPool" else 0)


class Flatten(Layer):
    def forward(self, x: Floats) -> Floats:
        self._shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, dy: Floats) -> Floats:
        return dy.reshape(self._shape)

    def shape(self, x: Shape) -> Shape:
        return (math.prod(x),)

    def write(self, name: str, x: str, y: str) -> Written:
        return [helper.make_node("Flatten", [x], [y], name=name, axis=1)], []


def _tensors(names: list[str], arrays: list[Floats]) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(a, n) for n, a in zip(names, arrays, strict=True)]
