"""The 1 797 images of ``sklearn.datasets.load_digits`` and their fixed split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

Images = NDArray[np.float32]
Labels = NDArray[np.int64]

HELD_OUT_SHARE = 0.25
_SPLIT_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images are float32 [N, 1, 8, 8] in [0, 1] (sixteenths, so exact); labels int64 [N]."""

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels


def load() -> Split:
    """The data set, a quarter of each class held out."""
    bundled = load_digits()
    images = (bundled.images / 16).astype(np.float32)[:, None]
    labels = bundled.target.astype(np.int64)
    rng = np.random.default_rng(_SPLIT_SEED)
    held_out = np.zeros(len(labels), dtype=bool)
    for digit in range(10):
        members = rng.permutation(np.flatnonzero(labels == digit))
        held_out[members[: round(len(members) * HELD_OUT_SHARE)]] = True
    return Split(
        train_images=images[~held_out],
        train_labels=labels[~held_out],
        test_images=images[held_out],
        test_labels=labels[held_out],
    )
