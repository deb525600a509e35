"""Models on disk, shared by all systems: built once and cached; building is not measured."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.zoo.entry import Built, Entry, Floats, Labels
from circuits.errors import ModelError
from circuits.format.digests import sha256_file
from circuits.rewrite import rewrite
from circuits.rewrite.compare import run

#: Increment it when a builder changes, to rebuild cached models.
ZOO_VERSION = 1
_FILES = ("model.onnx", "calibration.npz", "held_out.npz", "input.json")


@dataclass(frozen=True, kw_only=True)
class Fixture:
    """A built model. ``reference``: onnxruntime's first output per held-out input, [N, M]."""

    entry: Entry
    folder: Path
    held_out: Mapping[str, Floats]
    labels: Labels | None
    reference: NDArray[np.float64]

    @property
    def onnx(self) -> Path:
        return self.folder / "model.onnx"

    @property
    def calibration(self) -> Path:
        return self.folder / "calibration.npz"

    @property
    def input(self) -> Path:
        """The first held-out input, as an input file of ``zkml prove``."""
        return self.folder / "input.json"

    @property
    def sha256(self) -> str:
        return sha256_file(self.onnx)

    def samples(self, count: int) -> list[dict[str, Floats]]:
        """The first ``count`` held-out inputs, each in the model's shape."""
        count = min(count, len(self.reference))
        return [{name: a[i] for name, a in self.held_out.items()} for i in range(count)]


def build_fixture(entry: Entry, cache: Path) -> Fixture:
    """Builds ``entry`` unless the cache has it."""
    folder = cache / f"{entry.name}-v{ZOO_VERSION}"
    if not all((folder / name).exists() for name in _FILES):
        _write(entry.build(), folder)
    with np.load(folder / "held_out.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    labels = arrays.pop("__labels__", None)
    return Fixture(
        entry=entry,
        folder=folder,
        held_out=arrays,
        labels=labels,
        reference=reference_outputs((folder / "model.onnx").read_bytes(), arrays),
    )


def reference_outputs(model: bytes, inputs: Mapping[str, Floats]) -> NDArray[np.float64]:
    """onnxruntime's first output for each sample, flattened: [N, M].

    A model that onnxruntime refuses is first repaired, as in the compiler. Raises
    ``ModelError`` when it still cannot run.
    """
    count = len(next(iter(inputs.values())))
    samples = [{name: a[i] for name, a in inputs.items()} for i in range(count)]
    try:
        answers = run(model, samples)
    except ModelError:
        answers = run(rewrite(model, samples[:1]).reference, samples)
    return np.stack([first.reshape(-1) for first, *_ in answers])


def _write(built: Built, folder: Path) -> None:
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (partial / "model.onnx").write_bytes(built.onnx)
    calibration: dict[str, Any] = dict(built.calibration)
    held_out: dict[str, Any] = dict(built.held_out)
    if built.labels is not None:
        held_out["__labels__"] = built.labels
    np.savez_compressed(partial / "calibration.npz", **calibration)
    np.savez_compressed(partial / "held_out.npz", **held_out)
    first = {name: a[0].tolist() for name, a in built.held_out.items()}
    (partial / "input.json").write_text(json.dumps({"inputs": first}), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
