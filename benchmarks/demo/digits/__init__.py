"""A small convolutional net for scikit-learn's bundled 8×8 digits, with its trained weights.

``train.py`` makes every file beside it; the files are committed so that the demo needs no training.
"""

from pathlib import Path

HERE = Path(__file__).parent

MODEL = HERE / "digits.onnx"
#: One held-out image, in the form that ``zkml prove`` takes.
SAMPLE = HERE / "sample.json"
#: Training images for the planner: ``image`` float32 [256, 1, 8, 8].
CALIBRATION = HERE / "calibration.npz"
