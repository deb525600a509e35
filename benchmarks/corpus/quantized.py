"""Networks of the corpus as onnxruntime quantises them, and as Keras exports them.

``make(FOLDER)`` reads ``pytorch-NAME/script-17.onnx`` of the same folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from benchmarks.corpus.writing import save

NETWORKS = ("perceptron", "tcn", "small_resnet")


class _Rows(CalibrationDataReader):
    """Calibration rows for onnxruntime."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._left = iter(rows)

    def get_next(self) -> dict[str, Any] | None:
        return next(self._left, None)


def make(folder: Path) -> dict[str, str]:
    """Quantises and exports. Returns what failed, by name."""
    failed = {}
    for network in NETWORKS:
        for kind in ("QDQ", "QOperator", "dynamic"):
            name = f"quantised-{network}-{kind}"
            try:
                _quantised(folder, network, kind, folder / name)
            except Exception as error:
                failed[name] = f"{type(error).__name__}: {error}"[:200]
    for name, one in {"mlp": _mlp, "cnn": _cnn, "lstm": _lstm}.items():
        try:
            _keras(folder / f"keras-{name}", *one())
        except Exception as error:
            failed[f"keras-{name}"] = f"{type(error).__name__}: {error}"[:200]
    return failed


def _quantised(folder: Path, network: str, kind: str, place: Path) -> None:
    source = folder / f"pytorch-{network}" / "script-17.onnx"
    value = onnx.load(source).graph.input[0]
    shape = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1, 1, (32, *shape)).astype(np.float32)
    place.mkdir(parents=True, exist_ok=True)
    target = place / "network.onnx"
    if kind == "dynamic":
        quantize_dynamic(source, target, weight_type=QuantType.QInt8)
    else:
        quantize_static(
            source,
            target,
            _Rows([{value.name: row} for row in rows]),
            quant_format=QuantFormat[kind],
            per_channel=kind == "QDQ",
        )
    save(place, target.read_bytes(), {value.name: rows[0]}, {value.name: rows})


def _keras(place: Path, network: Any, shape: tuple[int, ...]) -> None:
    place.mkdir(parents=True, exist_ok=True)
    target = place / "network.onnx"
    network(np.zeros((1, *shape), dtype=np.float32))  # exporting asks for a model that was called
    network.export(str(target), format="onnx", verbose=False)
    name = onnx.load(target).graph.input[0].name
    rows = np.random.default_rng(0).uniform(-1, 1, (32, 1, *shape)).astype(np.float32)
    save(place, target.read_bytes(), {name: rows[0]}, {name: rows})


def _seeded() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    return keras


def _mlp() -> tuple[Any, tuple[int, ...]]:
    keras = _seeded()
    layers = keras.layers
    return keras.Sequential([
        keras.Input((8,), batch_size=1), layers.Dense(16, activation="relu"),
        layers.BatchNormalization(), layers.Dense(3, activation="softmax"),
    ]), (8,)  # fmt: skip


def _cnn() -> tuple[Any, tuple[int, ...]]:
    keras = _seeded()
    layers = keras.layers
    return keras.Sequential([
        keras.Input((8, 8, 1), batch_size=1), layers.Conv2D(4, 3, activation="relu"),
        layers.MaxPooling2D(), layers.Flatten(), layers.Dense(3),
    ]), (8, 8, 1)  # fmt: skip


def _lstm() -> tuple[Any, tuple[int, ...]]:
    keras = _seeded()
    layers = keras.layers
    return keras.Sequential([
        keras.Input((5, 3), batch_size=1), layers.LSTM(6), layers.Dense(2),
    ]), (5, 3)  # fmt: skip
