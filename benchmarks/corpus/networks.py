"""Twenty-two PyTorch networks of common kinds, exported by both exporters at their opsets.

``make(FOLDER)`` writes ``network.onnx`` (by the newer exporter, at its default opset), which is
proved, and beside it ``EXPORTER-OPSET.onnx``, which are inspected. Weights are a fresh network's,
normalisation layers have seen a few batches; the calibration data are random.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.corpus.writing import save

SCRIPTED, EXPORTED = range(13, 21), range(18, 24)
#: Samples of calibration.
_ROWS = 16


class Residual(nn.Module):
    """Two convolutions with batch normalisation and a shortcut."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(ins, outs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outs),
            nn.ReLU(),
            nn.Conv2d(outs, outs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outs),
        )
        same = stride == 1 and ins == outs
        self.shortcut = nn.Identity() if same else nn.Conv2d(ins, outs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.shortcut(x))


class Inverted(nn.Module):
    """MobileNetV2's block: expand, a convolution a channel, project."""

    def __init__(self, ins: int, outs: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = ins * expand
        self.past = stride == 1 and ins == outs
        self.body = nn.Sequential(
            nn.Conv2d(ins, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide),
            nn.ReLU6(), nn.Conv2d(wide, outs, 1, bias=False), nn.BatchNorm2d(outs),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.past else self.body(x)


class Forecaster(nn.Module):
    """A recurrent layer over a series, then a linear layer on its last step."""

    def __init__(self, cell: type[nn.Module], width: int = 8, **options: Any) -> None:
        super().__init__()
        self.cell = cell(3, width, batch_first=True, **options)
        self.head = nn.Linear(width * (2 if options.get("bidirectional") else 1), 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x)[0][:, -1])


class Causal(nn.Module):
    """A temporal convolution block: dilated, padded on the left, with a shortcut."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.pad = 2 * dilation
        self.conv = nn.Conv1d(width, width, 3, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        return x + functional.relu(self.conv(functional.pad(x, (self.pad, 0))))


class Temporal(nn.Module):
    """A TCN of three dilations."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(3, 8, 1), Causal(8, 1), Causal(8, 2), Causal(8, 4))
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)[:, :, -1])


class Encoder(nn.Module):
    """PyTorch's own transformer encoder layer, the mean over tokens, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x).mean(1))


class Scale(nn.Module):
    """RMSNorm as language models write it: neither exporter has PyTorch's own at every opset."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)


class Decoder(nn.Module):
    """A language model's block: embedding, causal attention, RMSNorm, a gated feed-forward part."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(20, 8), nn.Embedding(6, 8)
        self.norms = nn.ModuleList([Scale(8), Scale(8)])
        self.mixed, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        self.gate, self.up, self.down = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(16, 8)
        self.head = nn.Linear(8, 20)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1]))
        q, k, v = self.mixed(self.norms[0](x)).unsqueeze(1).chunk(3, -1)
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.squeeze(1))
        y = self.norms[1](x)
        x = x + self.down(functional.silu(self.gate(y)) * self.up(y))
        return self.head(x[:, -1])


class Variational(nn.Module):
    """A VAE's encoder and decoder at the mean; both mean and log-variance are answers."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(16, 12), nn.Tanh())
        self.mean, self.spread = nn.Linear(12, 3), nn.Linear(12, 3)
        self.decode = nn.Sequential(nn.Linear(3, 12), nn.Tanh(), nn.Linear(12, 16), nn.Sigmoid())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = self.encode(x)
        mean = self.mean(hidden)
        return self.decode(mean), mean, self.spread(hidden)


class Net(nn.Module):
    """A U-Net of one level, bilinear."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep = nn.Conv2d(1, 4, 3, 1, 1), nn.Conv2d(4, 8, 3, 1, 1)
        self.up = nn.Conv2d(12, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        wide = functional.relu(self.down(x))
        deep = functional.relu(self.deep(functional.max_pool2d(wide, 2)))
        back = functional.interpolate(deep, scale_factor=2, mode="bilinear", align_corners=False)
        return self.up(torch.cat([wide, back], 1))


class Graph(nn.Module):
    """Two layers of a graph convolution; the adjacency matrix is an input."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor, links: Tensor) -> Tensor:
        links = links + torch.eye(links.shape[0])
        links = links / links.sum(1, keepdim=True)
        return functional.log_softmax(
            links @ self.second(functional.relu(links @ self.first(x))), 1
        )


class Edges(nn.Module):
    """A layer of message passing over an edge list that is part of the model (scatter)."""

    def __init__(self) -> None:
        super().__init__()
        self.message, self.update = nn.Linear(8, 8), nn.Linear(12, 3)
        self.register_buffer("ends", torch.tensor([[0, 1, 2, 3, 4, 0, 2], [1, 2, 3, 4, 0, 2, 4]]))

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([x[self.ends[0]], x[self.ends[1]]], 1)
        sums = torch.zeros(5, 8).index_add(0, self.ends[1], functional.relu(self.message(both)))
        return self.update(torch.cat([x, sums], 1))


class Recommender(nn.Module):
    """Embeddings of a user and of all items, scores, the best five with their places."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(30, 8), nn.Embedding(40, 8)
        self.bias = nn.Parameter(torch.randn(40))

    def forward(self, user: Tensor) -> tuple[Tensor, Tensor]:
        best = torch.topk(self.users(user) @ self.items.weight.T + self.bias, 5)
        return best.values, best.indices


class Wide(nn.Module):
    """A wide and deep model: numbers beside codes of two columns, a cross layer."""

    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.ModuleList([nn.Embedding(7, 4), nn.Embedding(5, 4)])
        self.cross = nn.Linear(12, 12)
        self.deep = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        embedded = [layer(codes[:, i]) for i, layer in enumerate(self.codes)]
        x = torch.cat([numbers, *embedded], 1)
        return torch.sigmoid(self.deep(x * self.cross(x) + x))


class Experts(nn.Module):
    """A mixture of four experts behind a softmax gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(8, 4)
        self.experts = nn.ModuleList([nn.Linear(8, 3) for _ in range(4)])

    def forward(self, x: Tensor) -> Tensor:
        answers = torch.stack([expert(x) for expert in self.experts], 1)
        return (functional.softmax(self.gate(x), -1).unsqueeze(-1) * answers).sum(1)


class Text(nn.Module):
    """Embedding, convolutions of two widths, the largest over time."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(30, 8)
        self.convs = nn.ModuleList([nn.Conv1d(8, 6, 2), nn.Conv1d(8, 6, 3)])
        self.head = nn.Linear(12, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens).transpose(1, 2)
        tops = [functional.relu(conv(x)).amax(2) for conv in self.convs]
        return self.head(torch.cat(tops, 1))


class Beats(nn.Module):
    """N-BEATS: two blocks, each explains part of the series and forecasts."""

    def __init__(self) -> None:
        super().__init__()
        self.trunks = nn.ModuleList(
            [nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
             for _ in range(2)]
        )  # fmt: skip
        self.backs = nn.ModuleList([nn.Linear(16, 12) for _ in range(2)])
        self.aheads = nn.ModuleList([nn.Linear(16, 3) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros(3)
        for trunk, back, ahead in zip(self.trunks, self.backs, self.aheads, strict=True):
            hidden = trunk(x)
            x, total = x - back(hidden), total + ahead(hidden)
        return total


def resnet18() -> nn.Module:
    widths = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
    blocks = [b for i, o, s in widths for b in (Residual(i, o, s), Residual(o, o, 1))]
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), *blocks,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip


def small_resnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 1, 1), nn.BatchNorm2d(4), nn.ReLU(), Residual(4, 4, 1),
        Residual(4, 8, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10),
    )  # fmt: skip


def mobilenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
        Inverted(8, 8, 1, 1), Inverted(8, 12, 2, 4), Inverted(12, 12, 1, 4),
        Inverted(12, 16, 2, 4), nn.Conv2d(16, 32, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def autoencoder() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU(),
        nn.ConvTranspose2d(8, 4, 2, 2), nn.ReLU(), nn.ConvTranspose2d(4, 1, 2, 2), nn.Sigmoid(),
    )  # fmt: skip


def generator() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 32), nn.Unflatten(1, (8, 2, 2)), nn.BatchNorm2d(8), nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.BatchNorm2d(4), nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(4, 1, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3),
        nn.Softmax(-1),
    )  # fmt: skip


def activations() -> nn.Module:
    return nn.Sequential(
        nn.Linear(8, 8), nn.LeakyReLU(0.1), nn.Linear(8, 8), nn.ELU(), nn.Linear(8, 8), nn.PReLU(),
        nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 8), nn.Mish(), nn.Linear(8, 8), nn.Softplus(),
        nn.LayerNorm(8), nn.Linear(8, 3),
    )  # fmt: skip


#: Maker and inputs: a shape, and the number of codes for inputs that are codes.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], list[tuple[tuple[int, ...], int]]]] = {
    "perceptron": (perceptron, [((1, 8), 0)]),
    "activations": (activations, [((1, 8), 0)]),
    "wide_and_deep": (Wide, [((1, 4), 0), ((1, 2), 5)]),
    "experts": (Experts, [((1, 8), 0)]),
    "n_beats": (Beats, [((1, 12), 0)]),
    "tcn": (Temporal, [((1, 3, 12), 0)]),
    "gru": (lambda: Forecaster(nn.GRU), [((1, 6, 3), 0)]),
    "lstm": (lambda: Forecaster(nn.LSTM), [((1, 6, 3), 0)]),
    "rnn_both_ways": (lambda: Forecaster(nn.RNN, 6, bidirectional=True), [((1, 5, 3), 0)]),
    "transformer_encoder": (Encoder, [((1, 4, 8), 0)]),
    "transformer_decoder": (Decoder, [((1, 6), 20)]),
    "text_cnn": (Text, [((1, 8), 30)]),
    "vae": (Variational, [((1, 16), 0)]),
    "gan_generator": (generator, [((1, 6), 0)]),
    "autoencoder": (autoencoder, [((1, 1, 8, 8), 0)]),
    "u_net": (Net, [((1, 1, 8, 8), 0)]),
    "graph_convolution": (Graph, [((5, 4), 0), ((5, 5), 2)]),
    "message_passing": (Edges, [((5, 4), 0)]),
    "recommender": (Recommender, [((1,), 30)]),
    "lenet": (lenet, [((1, 1, 28, 28), 0)]),
    "small_resnet": (small_resnet, [((1, 3, 8, 8), 0)]),
    "mobilenet_v2_slim": (mobilenet, [((1, 3, 16, 16), 0)]),
    "resnet18": (resnet18, [((1, 3, 32, 32), 0)]),
}


def make(folder: Path) -> dict[str, str]:
    """Exports all of them. Returns what the exporters refuse, by name."""
    failed: dict[str, str] = {}
    for name, (build, inputs) in NETWORKS.items():
        torch.manual_seed(0)
        network = build()
        network.train()
        for _ in range(3):
            network(*_drawn(inputs, several=True))
        network.eval()
        sample = _drawn(inputs)
        place = folder / f"pytorch-{name}"
        files = [("script", n) for n in SCRIPTED] + [("dynamo", n) for n in EXPORTED]
        for exporter, opset in files:
            kind = f"{exporter}-{opset}"
            try:
                model = _exported(network, sample, exporter, opset)
            except Exception as error:
                failed[f"{place.name} {kind}"] = f"{type(error).__name__}: {error}"[:200]
                continue
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{kind}.onnx").write_bytes(model)
            if kind == "dynamo-18":
                names = [value.name for value in onnx.load_from_string(model).graph.input]
                rows = [dict(zip(names, _drawn(inputs), strict=True)) for _ in range(_ROWS)]
                save(
                    place,
                    model,
                    {n: np.asarray(v) for n, v in zip(names, sample, strict=True)},
                    {n: np.stack([np.asarray(row[n]) for row in rows]) for n in names},
                )
    return failed


def _drawn(inputs: list[tuple[tuple[int, ...], int]], several: bool = False) -> tuple[Tensor, ...]:
    """Random inputs; with ``several`` eight rows of those that have a leading axis of one."""
    shapes = [((8, *s[1:]) if several and s[0] == 1 else s, codes) for s, codes in inputs]
    return tuple(
        torch.randint(codes, shape) if codes > 2
        else torch.randint(codes, shape).float() if codes
        else torch.rand(shape) * 2 - 1
        for shape, codes in shapes
    )  # fmt: skip


def _exported(network: nn.Module, sample: tuple[Tensor, ...], exporter: str, opset: int) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "dynamo":
            program = torch.onnx.export(
                network, sample, dynamo=True, opset_version=opset, verbose=False
            )
            return bytes(program.model_proto.SerializeToString())
        written = io.BytesIO()
        torch.onnx.export(network, sample, written, dynamo=False, opset_version=opset)
        return written.getvalue()
