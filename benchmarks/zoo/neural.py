"""Dense and convolutional networks of the zoo. Images are scikit-learn's digits, enlarged."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from benchmarks.demo.digits.data import load
from benchmarks.zoo.entry import Built, Entry, Floats
from benchmarks.zoo.layers import Conv, Dense, Flatten, Layer, Pool, Relu, Sigmoid
from benchmarks.zoo.network import Network, cross_entropy, squared_error

_CALIBRATION = 64
_HELD_OUT = 200


def mlp(features: int, hidden: int) -> Network:
    """A dense classifier, as in Guy1m0/ZKML-Benchmark (196-25-10, 784-56-10) and others."""
    rng = np.random.default_rng(0)
    layers = [Dense(features, hidden, rng), Relu(), Dense(hidden, 10, rng)]
    return Network(f"mlp-{features}-{hidden}-10", (features,), layers)


def cnn_28_6_16_10() -> Network:
    """Guy1m0's CNN: two convolutions of 5×5, average pooling, one dense layer."""
    rng = np.random.default_rng(0)
    return Network("cnn-28-6-16-10", (1, 28, 28), [*_two_convolutions(rng, 0), Dense(256, 10, rng)])


def lenet5(pad: int) -> Network:
    """LeNet-5, 28_6_16_120_84_10: 44 426 parameters without padding (as Guy1m0 has it), 61 706
    with the first layer's input padded by two (as LeCun has it)."""
    rng = np.random.default_rng(0)
    flat = 16 * (5 if pad else 4) ** 2
    dense: list[Layer] = [Dense(flat, 120, rng), Relu(), Dense(120, 84, rng), Relu()]
    layers = [*_two_convolutions(rng, pad), *dense, Dense(84, 10, rng)]
    return Network("lenet5", (1, 28, 28), layers)


def _two_convolutions(rng: np.random.Generator, pad: int) -> list[Layer]:
    return [
        *(Conv(1, 6, 5, rng, pad=pad), Relu(), Pool("AveragePool")),
        *(Conv(6, 16, 5, rng), Relu(), Pool("AveragePool")),
        Flatten(),
    ]


def mini_cnn() -> Network:
    """MiniCNN(8) of Quangle07/zkml-predictive-cost-model, untrained as there."""
    rng = np.random.default_rng(0)
    layers = [Conv(3, 8, 3, rng, pad=1), Relu(), Pool("MaxPool"), Flatten(), Dense(512, 10, rng)]
    return Network("minicnn-8", (3, 16, 16), layers)


def cifar_strided() -> Network:
    """The strided CNN of Jupiter-Plantagenet/ezkl-cnn-benchmark, untrained."""
    rng = np.random.default_rng(0)
    layers = [
        *(Conv(3, 32, 3, rng, stride=2, pad=1), Relu()),
        *(Conv(32, 64, 3, rng, stride=2, pad=1), Relu()),
        *(Flatten(), Dense(4096, 10, rng)),
    ]
    return Network("cifar-strided", (3, 32, 32), layers)


def np_eng(hidden: int) -> Network:
    """NP-Eng/zkML-tradeoffs: 162→h→1, no activation between, a sigmoid at the end."""
    rng = np.random.default_rng(0)
    layers = [Dense(162, hidden, rng), Dense(hidden, 1, rng), Sigmoid()]
    return Network(f"np-eng-{hidden}", (162,), layers)


def autoencoder() -> Network:
    rng = np.random.default_rng(0)
    layers = [Dense(64, 16, rng), Relu(), Dense(16, 64, rng)]
    return Network("autoencoder", (64,), layers)


def _classifier(make: Callable[[], Network], side: int, epochs: int) -> Callable[[], Built]:
    """Trained on digits of ``side``×``side`` pixels."""

    def build() -> Built:
        network, split = make(), load()
        train = enlarged(split.train_images, side).reshape(-1, *network.shape)
        test = enlarged(split.test_images, side).reshape(-1, *network.shape)
        network.train(train, cross_entropy(split.train_labels), epochs=epochs)
        return Built(
            onnx=network.to_onnx(),
            calibration={"x": train[:_CALIBRATION, None]},
            held_out={"x": test[:_HELD_OUT, None]},
            labels=split.test_labels[:_HELD_OUT],
        )

    return build


def _untrained(make: Callable[[], Network]) -> Callable[[], Built]:
    """With its initial weights, on inputs of [0, 1], without labels."""

    def build() -> Built:
        network = make()
        rng = np.random.default_rng(1)
        inputs = rng.random((_CALIBRATION + _HELD_OUT, 1, *network.shape), dtype=np.float32)
        return Built(
            onnx=network.to_onnx(),
            calibration={"x": inputs[:_CALIBRATION]},
            held_out={"x": inputs[_CALIBRATION:]},
        )

    return build


def _autoencoder() -> Built:
    network, split = autoencoder(), load()
    train = split.train_images.reshape(-1, 64)
    network.train(train, squared_error(train), epochs=60)
    return Built(
        onnx=network.to_onnx(),
        calibration={"x": train[:_CALIBRATION, None]},
        held_out={"x": split.test_images.reshape(-1, 1, 64)[:_HELD_OUT]},
    )


@cache
def _weights(side: int) -> Floats:
    """Bilinear interpolation from 8 to ``side`` points, as a matrix [side, 8]."""
    at = np.clip((np.arange(side) + 0.5) * 8 / side - 0.5, 0, 7)
    low = np.minimum(at.astype(int), 6)
    matrix = np.zeros((side, 8), np.float32)
    matrix[np.arange(side), low] = 1 - (at - low)
    matrix[np.arange(side), low + 1] += at - low
    return matrix


def enlarged(images: Floats, side: int) -> Floats:
    """[N, 1, 8, 8] to [N, 1, side, side]."""
    scale = _weights(side)
    return np.ascontiguousarray(scale @ images @ scale.T)


def _entry(
    name: str,
    title: str,
    make: Callable[[], Network],
    build: Callable[[], Built],
    bound_by: str,
    *,
    tables: str = "none",
    quick: bool = False,
) -> Entry:
    network = make()
    return Entry(
        name=name,
        title=title,
        build=build,
        multiplications=network.multiplications,
        activations=network.activations,
        bound_by=bound_by,
        tables=tables,
        quick=quick,
    )


def _dense(features: int, hidden: int, side: int) -> Entry:
    def make() -> Network:
        return mlp(features, hidden)

    name = f"{features}-{hidden}-10"
    return _entry(
        f"mlp-{name}",
        f"MLP {name}",
        make,
        _classifier(make, side, 40),
        "checking the results of its first layer",
    )


def entries() -> list[Entry]:
    """The networks, small ones first."""

    def np_eng_of(hidden: int) -> Entry:
        def make() -> Network:
            return np_eng(hidden)

        return _entry(
            f"np-eng-{hidden}",
            f"NP-Eng 162-{hidden}-1",
            make,
            _untrained(make),
            "162 multiplications, its layers merged; one table look-up",
            tables="sigmoid",
        )

    def lenet_of(name: str, title: str, pad: int) -> Entry:
        def make() -> Network:
            return lenet5(pad)

        return _entry(
            name,
            title,
            make,
            _classifier(make, 28, 12),
            "checking the results of its convolutions, then ReLUs",
        )

    return [
        _entry(
            "autoencoder",
            "autoencoder 64-16-64",
            autoencoder,
            _autoencoder,
            "16 ReLUs",
            quick=True,
        ),
        _dense(196, 25, 14),
        _dense(784, 56, 28),
        _dense(784, 128, 28),
        np_eng_of(32),
        np_eng_of(128),
        _entry(
            "minicnn-8",
            "MiniCNN(8)",
            mini_cnn,
            _untrained(mini_cnn),
            "2 048 ReLUs and 1 536 maxima",
        ),
        _entry(
            "cnn-28-6-16-10",
            "CNN 28_6_16_10",
            cnn_28_6_16_10,
            _classifier(cnn_28_6_16_10, 28, 12),
            "checking the results of its convolutions, then ReLUs",
        ),
        lenet_of("lenet5", "LeNet-5 (44 426)", 0),
        lenet_of("lenet5-padded", "LeNet-5 (61 706)", 2),
        _entry(
            "cifar-strided",
            "strided CNN, CIFAR size",
            cifar_strided,
            _untrained(cifar_strided),
            "its ReLUs",
        ),
    ]
