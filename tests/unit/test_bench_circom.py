"""The circom programs are exact copies of dense networks, and of nothing else."""

from __future__ import annotations

import re
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest

from benchmarks.errors import PeerMissing, SystemRefused
from benchmarks.systems import circom
from benchmarks.systems.circom_source import IntegerNetwork
from benchmarks.zoo import neural
from benchmarks.zoo.layers import Dense, Relu
from benchmarks.zoo.network import Network


def test_integers_stay_close_to_the_floats_that_they_stand_for() -> None:
    network = neural.mlp(196, 25)
    integers = IntegerNetwork.read(network.to_onnx())
    x = np.random.default_rng(0).random((20, 196), dtype=np.float32)
    exact = np.array([integers.run(integers.quantise(row)) for row in x])
    answers = np.ldexp(exact.astype(float), -integers.output_bits)
    reference = network.forward(x)
    assert np.abs(answers - reference).max() < 0.01 * np.ptp(reference)


def test_the_program_computes_the_integers_own_sums() -> None:
    rng = np.random.default_rng(5)
    network = Network("tiny", (3,), [Dense(3, 2, rng), Relu(), Dense(2, 2, rng)])
    integers = IntegerNetwork.read(network.to_onnx())
    x = integers.quantise(rng.normal(0, 1, 3))
    lines = re.findall(r"(\w+)\[(\d)\] <== ([^;]*[*+][^;]*);", integers.source("ReLU.circom"))
    values: dict[str, list[int]] = {"x": x.tolist(), "z0": [0, 0], "y": [0, 0]}
    for target, at, expression in lines:
        values["a0"] = [max(v, 0) for v in values["z0"]]
        values[target][int(at)] = eval(expression, {}, values)
    assert values["y"] == integers.run(x).tolist()


def test_a_wide_layers_sums_are_no_deeper_than_the_compilers_stack() -> None:
    source = IntegerNetwork.read(neural.mlp(784, 56).to_onnx()).source("ReLU.circom")
    sums = [line for line in source.splitlines() if "<==" in line and "+" in line]
    assert len(sums) == 56 + 10
    for line in sums:
        assert not re.search(r"\+[^()]*\+", line)  # two in a row would be one level more
        assert max(accumulate((c == "(") - (c == ")") for c in line)) <= 11  # of 785 terms


def test_a_convolution_is_refused_by_name() -> None:
    with pytest.raises(SystemRefused, match="Conv"):
        IntegerNetwork.read(neural.cnn_28_6_16_10().to_onnx())


def test_a_peer_that_is_not_installed_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circom, "FOLDER", tmp_path)
    with pytest.raises(PeerMissing) as caught:
        circom._tool("snarkjs")
    assert "install-peers" in caught.value.advice
