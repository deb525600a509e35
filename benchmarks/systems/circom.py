"""A peer: circom 2 and snarkjs (Groth16) with circomlib-ml's ReLU, as separate programs from npm.

They are installed on request into an ignored folder, and never bundled (GPL-3.0). snarkjs does not
report times, so its times are those of whole processes, including node's start: compare ``total_s``
with ``total_s``. Groth16 needs a trusted set-up for each circuit; ours does not.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np

from benchmarks.errors import PeerMissing, SampleFailed, SystemRefused
from benchmarks.harness import process
from benchmarks.harness.system import Outcome, Workdir
from benchmarks.systems.circom_source import INPUT_BITS, WEIGHT_BITS, IntegerNetwork
from benchmarks.zoo.fixtures import Fixture
from circuits.format.field import P

FOLDER = Path(__file__).parents[2] / ".cache" / "benchmarks" / "peers"
PACKAGES = ("circom2@0.2.23", "snarkjs@0.7.6", "circomlib-ml@1.4.4", "solc@0.8.20")
NAME = "circom"
#: Only dense layers and ReLU.
MODELS = ("autoencoder", "mlp-196-25-10", "mlp-784-56-10", "mlp-784-128-10")
#: A ceremony file doubles in size and time with each step; this one has 600 MB.
LARGEST_CEREMONY = 18
#: Constraints of one ReLU of circomlib-ml, to choose the ceremony's size.
_PER_RELU = 520


def install() -> Path:
    """Installs the programs into ``FOLDER`` with npm. Raises ``PeerMissing`` without npm."""
    npm = shutil.which("npm")
    if npm is None:
        raise PeerMissing("npm is not on PATH", advice="Install Node.js 18 or newer.")
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "package.json").write_text('{"private": true}\n', encoding="utf-8")
    done = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", *PACKAGES],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SampleFailed(f"npm install failed: {done.stderr.strip()[-400:]}")
    return FOLDER


class Circom:
    """circom + snarkjs on dense networks."""

    name = NAME
    title = "circom + snarkjs (Groth16)"

    def setup(self, fixture: Fixture, workdir: Workdir) -> Outcome:
        network = IntegerNetwork.read(fixture.onnx.read_bytes())
        power = max(8, math.ceil(math.log2(network.activations * _PER_RELU + 1000)))
        if power > LARGEST_CEREMONY:
            raise SystemRefused(
                f"needs a ceremony file of 2^{power}, which takes too long to make here"
            )
        work = workdir.work
        work.mkdir(parents=True, exist_ok=True)
        _tool("circom2")
        # circom2 runs in WebAssembly and sees only its working folder.
        library = FOLDER / "node_modules" / "circomlib-ml" / "circuits"
        shutil.copytree(library, work / "circomlib-ml", dirs_exist_ok=True)
        source = network.source("circomlib-ml/ReLU.circom")
        (work / "network.circom").write_text(source, encoding="utf-8")
        ceremony = _ceremony(power, workdir)
        compiled = _run(workdir, "circom2", "network.circom", "--r1cs", "--wasm", "--O2")
        keys = _run(
            workdir, "snarkjs", "groth16", "setup", "network.r1cs", str(ceremony), "network.zkey"
        )
        exported = _run(
            workdir, "snarkjs", "zkey", "export", "verificationkey", "network.zkey", "vk.json"
        )
        steps = (compiled, keys, exported)
        total_s = sum(step.seconds for step in steps)
        return Outcome(
            metrics={
                "compile_s": compiled.seconds,
                "setup_s": keys.seconds + exported.seconds,
                "build_s": total_s,
                "total_s": total_s,
                "cpu_s": sum(step.cpu_seconds for step in steps),
                "peak_rss_bytes": float(max(step.peak_rss_bytes for step in steps)),
                "pk_bytes": float((work / "network.zkey").stat().st_size),
                "vk_bytes": float((work / "vk.json").stat().st_size),
            },
            facts={"logrows": power, "input_scale": INPUT_BITS, "param_scale": WEIGHT_BITS},
        )

    def is_set_up(self, fixture: Fixture, workdir: Workdir) -> bool:
        return (workdir.work / "vk.json").exists()

    def prove(self, fixture: Fixture, workdir: Workdir, sample: int) -> Outcome:
        work = workdir.work
        network = IntegerNetwork.read(fixture.onnx.read_bytes())
        at = sample % len(fixture.reference)
        (values,) = [array[at] for array in fixture.held_out.values()]
        x = network.quantise(values)
        (work / "input.json").write_text(json.dumps({"x": x.tolist()}), encoding="utf-8")
        wasm = "network_js/network.wasm"
        witness = _run(workdir, "snarkjs", "wtns", "calculate", wasm, "input.json", "witness.wtns")
        prove = _run(
            workdir,
            *("snarkjs", "groth16", "prove", "network.zkey", "witness.wtns"),
            *("proof.json", "public.json"),
        )
        verify = _run(
            workdir, "snarkjs", "groth16", "verify", "vk.json", "public.json", "proof.json"
        )
        public = [int(n) for n in json.loads((work / "public.json").read_text(encoding="utf-8"))]
        signed = [n - P if n > P // 2 else n for n in public]
        count = len(network.layers[-1].bias)
        steps = (witness, prove, verify)
        return Outcome(
            metrics={
                "witness_s": witness.seconds,
                "prove_s": prove.seconds,
                "verify_s": verify.seconds,
                "total_s": sum(step.seconds for step in steps),
                "cpu_s": sum(step.cpu_seconds for step in steps),
                "peak_rss_bytes": float(max(step.peak_rss_bytes for step in steps)),
                "proof_bytes": 256.0,  # two points of G1 and one of G2, as for a contract
            },
            facts={"input": at},
            # snarkjs exits with an error for a bad proof, which raised above; here the proof is
            # compared with this input.
            verified=signed[count:] == x.tolist(),
            outputs=[[n / 2.0**network.output_bits for n in signed[:count]]],
        )

    def accuracy(self, fixture: Fixture, workdir: Workdir, count: int) -> Outcome:
        """Computed in exact integer arithmetic, with which every proof's outputs are compared."""
        network = IntegerNetwork.read(fixture.onnx.read_bytes())
        answers = [
            np.ldexp(network.run(network.quantise(values)), -network.output_bits).tolist()
            for sample in fixture.samples(count)
            for values in sample.values()
        ]
        return Outcome(outputs=answers)


def _tool(name: str) -> str:
    path = FOLDER / "node_modules" / ".bin" / name
    if not path.exists():
        raise PeerMissing(f"{name} is not installed")
    return str(path.resolve())


def _ceremony(power: int, workdir: Workdir) -> Path:
    """A powers-of-tau file for development, without any contribution, made once per size."""
    workdir.srs.mkdir(parents=True, exist_ok=True)
    path = workdir.srs / f"peer{power}.ptau"
    if not path.exists():
        first, partial = path.with_suffix(".first"), path.with_suffix(".partial")
        _run(workdir, "snarkjs", "powersoftau", "new", "bn128", str(power), str(first))
        _run(workdir, "snarkjs", "powersoftau", "prepare", "phase2", str(first), str(partial))
        first.unlink()
        partial.replace(path)
    return path


def _run(workdir: Workdir, tool: str, *arguments: str) -> process.Measured:
    node = shutil.which("node")
    if node is None:
        raise PeerMissing("node is not on PATH", advice="Install Node.js 18 or newer.")
    return process.run(
        [node, _tool(tool), *arguments],
        deadline_s=workdir.deadline_s,
        cwd=workdir.work,
        wants_json=False,
    )
