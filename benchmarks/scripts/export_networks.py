"""Exports small PyTorch networks by both exporters: ``python export_networks.py FOLDER``.

Needs torch and onnxscript. Writes ``FOLDER/NAME/network.onnx`` with ``input.json``, which is what
``python -m benchmarks.prove_folder FOLDER`` reads. Weights are those of a fresh network.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Two convolutions with batch normalisation and a way past them."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(ins, outs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outs),
            nn.ReLU(),
            nn.Conv2d(outs, outs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outs),
        )
        self.past = nn.Conv2d(ins, outs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.past(x))


class Recurrent(nn.Module):
    """An LSTM or GRU over five steps, then a linear layer on the last of them."""

    def __init__(self, cell: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.cell = cell(4, 6, batch_first=True)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x)[0][:, -1])


class Attention(nn.Module):
    """One head of self-attention, layer normalisation, a feed-forward part with GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self.feed = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.softmax(self.q(x) @ self.k(x).transpose(1, 2) / 8**0.5, -1)
        return self.feed(self.norm(x + weights @ self.v(x)))


class UNet(nn.Module):
    """One level down and up again, bilinear."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep = nn.Conv2d(1, 4, 3, 1, 1), nn.Conv2d(4, 8, 3, 1, 1)
        self.up = nn.Conv2d(12, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        wide = functional.relu(self.down(x))
        deep = functional.relu(self.deep(functional.max_pool2d(wide, 2)))
        back = functional.interpolate(deep, scale_factor=2, mode="bilinear", align_corners=False)
        return self.up(torch.cat([wide, back], 1))


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def resnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU(),
        Block(8, 8, 1), Block(8, 16, 2), Block(16, 32, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


def depthwise() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU6(), nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.ReLU6(),
        nn.Conv2d(8, 16, 1), nn.ReLU6(), nn.Conv2d(16, 16, 3, 2, 1, groups=16), nn.Hardswish(),
        nn.Conv2d(16, 16, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
    )  # fmt: skip


def autoencoder() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU(),
        nn.ConvTranspose2d(8, 4, 2, 2), nn.ReLU(), nn.ConvTranspose2d(4, 1, 2, 2), nn.Sigmoid(),
    )  # fmt: skip


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))


def leaky() -> nn.Module:
    return nn.Sequential(
        nn.Linear(8, 16), nn.LeakyReLU(0.1), nn.Linear(16, 16), nn.ELU(), nn.Linear(16, 3)
    )


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "ae": (autoencoder, (1, 1, 8, 8)),
    "attn": (Attention, (1, 4, 8)),
    "dwcnn": (depthwise, (1, 3, 16, 16)),
    "gru": (lambda: Recurrent(nn.GRU), (1, 5, 4)),
    "lenet": (lenet, (1, 1, 28, 28)),
    "lstm": (lambda: Recurrent(nn.LSTM), (1, 5, 4)),
    "mlp": (perceptron, (1, 8)),
    "mlp_leaky": (leaky, (1, 8)),
    "resnet": (resnet, (1, 3, 16, 16)),
    "unet": (UNet, (1, 1, 8, 8)),
}


def main(folder: Path) -> None:
    torch.manual_seed(0)
    for name, (make, shape) in NETWORKS.items():
        model, x = make().eval(), torch.rand(shape) * 2 - 1
        names = {"input_names": ["x"], "output_names": ["y"]}
        for exporter in ("script", "dynamo"):
            place = folder / f"{name}_{exporter}"
            place.mkdir(parents=True, exist_ok=True)
            path = str(place / "network.onnx")
            if exporter == "dynamo":
                torch.onnx.export(model, (x,), path, dynamo=True, external_data=False, **names)
            else:
                axes = {"x": {0: "batch"}}
                torch.onnx.export(
                    model, (x,), path, dynamo=False, dynamic_axes=axes, opset_version=17, **names
                )
            (place / "input.json").write_text(json.dumps({"inputs": {"x": x.tolist()}}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
