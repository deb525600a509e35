"""The checked-in digits model is what its script makes, and accurate enough."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from benchmarks.demo.digits import CALIBRATION, MODEL, SAMPLE
from benchmarks.demo.digits.data import Split, load
from benchmarks.demo.digits.train import accuracy, predict, train, write

REQUIRED = 0.95


@pytest.fixture(scope="module")
def split() -> Split:
    return load()


def logits_of(model: bytes, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["logits"], {"image": image[None]})[0] for image in images])


def test_the_committed_model_meets_the_required_held_out_accuracy(split: Split) -> None:
    logits = logits_of(MODEL.read_bytes(), split.test_images)
    assert accuracy(logits, split.test_labels) >= REQUIRED


def test_no_held_out_image_was_trained_on(split: Split) -> None:
    assert len(split.test_labels) + len(split.train_labels) == 1797
    train_rows = {image.tobytes() for image in split.train_images}
    assert not any(image.tobytes() in train_rows for image in split.test_images)


def test_calibration_data_is_training_data(split: Split) -> None:
    with np.load(CALIBRATION) as archive:
        calibration = archive["image"]
    train_rows = {image.tobytes() for image in split.train_images}
    assert calibration.dtype == np.float32
    assert calibration.shape[1:] == (1, 8, 8)
    assert all(image.tobytes() in train_rows for image in calibration)


def test_the_sample_is_a_held_out_image_which_the_model_gets_right(split: Split) -> None:
    image = np.array(json.loads(SAMPLE.read_text())["inputs"]["image"], np.float32)
    (at,) = [i for i, other in enumerate(split.test_images) if np.array_equal(image[0], other)]
    assert logits_of(MODEL.read_bytes(), image).argmax() == split.test_labels[at]


@pytest.mark.long
@pytest.mark.slow
def test_training_again_gives_a_model_of_the_same_accuracy(split: Split, tmp_path: Path) -> None:
    weights = train(split.train_images, split.train_labels)
    write(tmp_path, split, weights)
    again = logits_of((tmp_path / MODEL.name).read_bytes(), split.test_images)
    committed = logits_of(MODEL.read_bytes(), split.test_images)
    # Another processor sums in another order, so the bits may differ; the quality may not.
    assert accuracy(again, split.test_labels) == pytest.approx(
        accuracy(committed, split.test_labels), abs=0.015
    )
    assert accuracy(again, split.test_labels) >= REQUIRED
    # The exported graph computes what the trained weights compute.
    np.testing.assert_allclose(again, predict(weights, split.test_images), rtol=1e-4, atol=1e-4)
