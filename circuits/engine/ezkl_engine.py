"""The proof engine's port, done with EZKL in sandboxed children."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, cast

from circuits.engine.port import (
    CircuitFiles,
    LayoutStats,
    Limits,
    OnStage,
    ProofResult,
    RunArgs,
    SetupReport,
    ShouldStop,
    Simulated,
)
from circuits.engine.sandbox import Sandbox
from circuits.errors import EngineError
from circuits.format.field import Felts
from circuits.srs.identity import Comparison
from circuits.srs.identity import fault as identity_fault
from circuits.srs.input_identity import Evaluated
from circuits.srs.input_identity import fault as input_fault

if TYPE_CHECKING:
    from circuits.committed.shown import NetworkFacts

_CALLS = "circuits.engine.calls:"


class EzklEngine:
    """EZKL behind ``circuits.engine.port.Engine``. This process never imports ``ezkl``."""

    name = "ezkl"

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.version = version("ezkl")
        self.label = f"{self.name} {self.version}"

    def until(self, should_stop: ShouldStop) -> EzklEngine:
        """This engine for work that may be told to stop (``Sandbox.until``)."""
        return EzklEngine(self.sandbox.until(should_stop))

    @contextlib.contextmanager
    def keeping(self, limits: Limits) -> Iterator[EzklEngine]:
        """This engine with one child for all that is only computed (``Sandbox.keeping``)."""
        with self.sandbox.keeping(limits) as sandbox:
            yield EzklEngine(sandbox)

    def measure_layout(
        self, onnx: bytes, candidates: Sequence[RunArgs], limits: Limits
    ) -> list[LayoutStats | EngineError]:
        result = self.sandbox.call(_CALLS + "measure_layout", onnx, list(candidates), limits=limits)
        return cast("list[LayoutStats | EngineError]", result)

    def simulate(
        self,
        onnx: bytes,
        settings: str,
        samples: Sequence[list[Felts]],
        limits: Limits,
        hints: bytes | None = None,
    ) -> list[Simulated | EngineError]:
        result = self.sandbox.call(
            _CALLS + "simulate", onnx, settings, list(samples), hints, limits=limits
        )
        return cast("list[Simulated | EngineError]", result)

    def setup(
        self,
        onnx: bytes,
        settings: str,
        srs: Path,
        out: Path,
        limits: Limits,
        on_stage: OnStage | None = None,
        should_stop: ShouldStop | None = None,
    ) -> SetupReport:
        with self.sandbox.session(limits, should_stop, reads=[srs], writes=[out]) as child:
            seconds = child.call(_CALLS + "setup", onnx, settings, srs, out, on_stage=on_stage)
            return SetupReport(seconds=seconds, peak_rss_bytes=child.peak_rss_bytes)

    def prove(
        self,
        files: CircuitFiles,
        inputs: list[Felts],
        limits: Limits,
        on_stage: OnStage | None = None,
        should_stop: ShouldStop | None = None,
        input_salt: bytes | None = None,
    ) -> ProofResult:
        with self.sandbox.session(limits, should_stop, reads=files.paths) as child:
            result: ProofResult = child.call(
                _CALLS + "prove", files, inputs, input_salt, on_stage=on_stage, may_stall=True
            )
            return replace(result, peak_rss_bytes=child.peak_rss_bytes)

    def verify(
        self, proof_json: bytes, settings: bytes, vk: bytes, srs_part: bytes, limits: Limits
    ) -> bool:
        return bool(
            self.sandbox.call(_CALLS + "verify", proof_json, settings, vk, srs_part, limits=limits)
        )

    def poseidon(self, felts: Felts, limits: Limits) -> str:
        return str(self.sandbox.call(_CALLS + "poseidon", felts, limits=limits))

    def network_facts(self, network: bytes, challenges: Felts, limits: Limits) -> NetworkFacts:
        facts = self.sandbox.call(
            "circuits.committed.shown:network_facts", network, challenges, limits=limits
        )
        return cast("NetworkFacts", facts)

    def commit_weights(
        self, network: bytes, files: CircuitFiles, limits: Limits
    ) -> tuple[bytes, tuple[str, ...]]:
        with self.sandbox.session(limits, reads=files.paths) as child:
            made = child.call(_CALLS + "commit_weights", network, files)
            return cast("tuple[bytes, tuple[str, ...]]", made)

    def identity_fault(
        self, comparison: Comparison, argument: bytes, srs_part: bytes, limits: Limits
    ) -> str | None:
        return self.sandbox.run(limits, identity_fault, comparison, argument, srs_part)

    def input_fault(
        self, known: Evaluated, argument: bytes, srs_part: bytes, limits: Limits
    ) -> str | None:
        return self.sandbox.run(limits, input_fault, known, argument, srs_part)

    def generate_srs(self, path: Path, logrows: int, limits: Limits) -> None:
        self.sandbox.call(
            _CALLS + "generate_srs", path, logrows, limits=limits, writes=[path.parent]
        )

    def evm_verifier(self, vk: bytes, settings: bytes, srs_part: bytes, limits: Limits) -> str:
        return str(
            self.sandbox.call(_CALLS + "evm_verifier", vk, settings, srs_part, limits=limits)
        )
