"""Figures that others published for systems that do not run here. Never mixed with our own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Published:
    """``prove`` is as stated by the source; ``trust`` says how far to believe it, and why."""

    source: str
    model: str
    prove: str
    hardware: str
    trust: str


PUBLISHED = (
    Published(
        source="Guy1m0/ZKML-Benchmark",
        model="MLP 196-25-10",
        prove="ezkl (resources) 0.65 s, (accuracy) 19.1 s; circomlib-ml 1.17 s; uiuc zkml 21.0 s",
        hardware="not stated",
        trust="independent; proofs were never verified",
    ),
    Published(
        source="Guy1m0/ZKML-Benchmark",
        model="MLP 784-56-10",
        prove="ezkl (resources) 2.66 s, (accuracy) 38.0 s; circomlib-ml 2.35 s; uiuc zkml 21.7 s",
        hardware="not stated",
        trust="independent; never verified; 6.4 % of accuracy lost at 2.66 s",
    ),
    Published(
        source="Guy1m0/ZKML-Benchmark",
        model="CNN 28_6_16_10",
        prove="circomlib-ml 43.8 s, uiuc zkml 15.2 s",
        hardware="not stated",
        trust="independent; its ezkl rows for CNNs are implausible and left out",
    ),
    Published(
        source="Guy1m0/ZKML-Benchmark",
        model="LeNet-5",
        prove="circomlib-ml 59.8 s, uiuc zkml 15.1 s",
        hardware="not stated",
        trust="independent; never verified",
    ),
    Published(
        source="NP-Eng/zkML-tradeoffs",
        model="MLP 162-h-1, sigmoid",
        prove="ezkl 1.35 s (163 parameters), 4.46 s (5 249), 6.86 s (20 993), 13.75 s (31 233)",
        hardware="not stated",
        trust="independent; verified in 15–25 ms",
    ),
    Published(
        source="Jupiter-Plantagenet/ezkl-cnn-benchmark",
        model="strided CNN for CIFAR",
        prove="ezkl 23.0.3 69–71 s",
        hardware="i9-10940X, 125 GB",
        trust="independent; verified in 1.0–1.2 s",
    ),
    Published(
        source="Quangle07/zkml-predictive-cost-model",
        model="MiniCNN(c), 3×16×16",
        prove="ezkl 23.0.5 75.7 s (c = 8), 127 s (16), 184 s (24)",
        hardware="not stated",
        trust="independent; never calibrated",
    ),
    Published(
        source="Lagrange-Labs/deep-prove",
        model="CNN for CIFAR, 264 k parameters",
        prove="DeepProve 1.24 s, ezkl 196.6 s",
        hardware="not stated",
        trust="the vendor's own; no EVM verifier; licence for evaluation only",
    ),
    Published(
        source="Lagrange-Labs/deep-prove",
        model="dense, 4 M parameters",
        prove="DeepProve 2.34 s, ezkl 126.8 s",
        hardware="not stated",
        trust="the vendor's own",
    ),
    Published(
        source="ICME-Lab/jolt-atlas",
        model="nanoGPT, 4 layers, d 64, block 64",
        prove="jolt-atlas 2.29 s, ezkl (of 2023) 237 s",
        hardware="Apple M3",
        trust="the vendor's own; inputs in clear",
    ),
    Published(
        source="ICME-Lab/jolt-atlas",
        model="GPT-2, 125 M",
        prove="jolt-atlas 14.9 s",
        hardware="Apple M3",
        trust="the vendor's own",
    ),
    Published(
        source="uiuc-kang-lab/zkml",
        model="its CNN for MNIST",
        prove="about 8 s, 2 GB",
        hardware="not stated",
        trust="its README",
    ),
    Published(
        source="zkonduit/zkml-framework-benchmarks",
        model="linear regression; random forest; SVC",
        prove="ezkl 85×, 28×, 118× faster than RISC Zero",
        hardware="not stated",
        trust="the vendor's own; ezkl 7.1.4",
    ),
)


def markdown() -> str:
    """The table, each figure beside its source."""
    lines = ["| source | model | prove | hardware | trust |", "|---|---|---|---|---|"]
    lines += [
        f"| {p.source} | {p.model} | {p.prove} | {p.hardware} | {p.trust} |" for p in PUBLISHED
    ]
    return "\n".join(lines)
