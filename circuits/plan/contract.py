"""The target ``evm``: a candidate's verifier contract, and whether a chain would take it.

A contract's size hangs on which columns, tables and gates a circuit has and hardly on how long it
is, so one candidate of a kind is measured (its keys made, its contract written and compiled) and
speaks for the others of that kind.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from circuits.cost.model import blocks, table_columns
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import Limits
from circuits.evm.contract import predicted_size
from circuits.evm.solc import Solc
from circuits.plan.effort import SrsOf
from circuits.plan.lowered_candidates import Candidate, ContractSize
from circuits.srs.verify_part import extract


class Contracts:
    """Sizes of verifier contracts by kind of circuit, each measured when first asked for."""

    def __init__(self, engine: EzklEngine, srs: SrsOf, solc: Solc | None, limits: Limits) -> None:
        self._engine, self._srs, self._solc, self._limits = engine, srs, solc, limits
        self._known: dict[tuple[Any, ...], ContractSize] = {}

    @property
    def measured(self) -> list[ContractSize]:
        return list(self._known.values())

    def known(self, shape: Candidate) -> ContractSize | None:
        """The size of this candidate's contract if one of its kind was measured."""
        return self._known.get(_kind(shape))

    def measure(self, shape: Candidate) -> ContractSize:
        """The size of this candidate's own contract. ``shape`` must be measured at its own k.

        Raises ``EngineError`` when keys cannot be made and ``SolcFailed``.
        """
        with tempfile.TemporaryDirectory(prefix="zkml-contract-") as folder:
            out = Path(folder)
            srs = self._srs(shape.args.logrows)
            onnx, settings = shape.variant.onnx, shape.layout.settings
            self._engine.setup(onnx, settings, srs, out, self._limits)
            source = self._engine.evm_verifier(
                (out / "vk").read_bytes(),
                (out / "settings.json").read_bytes(),
                extract(srs),
                self._limits,
            )
        if self._solc is None:
            found = ContractSize(size=predicted_size(source), solc=None)
        else:
            made = self._solc.compile(source, self._limits.deadline_s)
            found = ContractSize(size=len(made.runtime), solc=made.solc)
        self._known[_kind(shape)] = found
        return found


def _kind(shape: Candidate) -> tuple[Any, ...]:
    """What a contract's size hangs on (seen to differ by less than a hundred bytes within one)."""
    layout = shape.layout
    return (
        shape.variant.label,
        layout.args.num_inner_cols,
        blocks(layout),
        len(layout.lookups),
        table_columns(layout),
        len(layout.range_checks),
    )
