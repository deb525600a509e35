"""The parts of an EZKL settings file that define the meaning of a proof's public instances."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

PUBLIC, HASHED = "public", "hashed"

#: A point of BN254's first group, compressed.
_COMMITMENT_BYTES = 32
_MAX_LOGROWS = 28
#: Far above any provable circuit; the engine's time grows with its square.
_MAX_COLUMNS = 4096
#: Settings in cells, laid out over rows, and settings that count columns.
_SIZES = (
    "num_rows",
    "total_assignments",
    "total_const_size",
    "total_dynamic_col_size",
    "max_dynamic_input_len",
    "total_shuffle_col_size",
)
_COUNTS = ("num_dynamic_lookups", "num_shuffles")
#: Absent from settings of EZKL versions without Freivalds products.
_NO_PRODUCTS = {"total_einsum_col_size": 0}


@dataclass(frozen=True, kw_only=True)
class EzklSettings:
    """Visibilities are ``public``, ``private``, ``fixed``, ``hashed`` or ``polycommit``; scales are
    exponents of two, one for each graph input or output; ``shapes`` are those of the public
    tensors; ``columns`` is a lower bound on the columns. ``freivalds_cells`` is 0 in a circuit
    without such products, and nowhere else: the engine lays its columns out by it. ``committed``:
    elements of each tensor that the proof begins with commitments to; ``tables``: those that
    operators look up in, as the engine writes them; ``other_lookups``: range checks, dynamic
    look-ups and shuffles."""

    version: str
    logrows: int
    input_visibility: str
    param_visibility: str
    output_visibility: str
    freivalds_cells: int
    ignore_range_checks: bool
    decomp_base: int
    decomp_legs: int
    lookup_range: tuple[int, int]
    input_scales: list[int]
    output_scales: list[int]
    shapes: list[list[int]]
    columns: int
    committed: list[int]
    inner_columns: int
    tables: list[dict[str, Any]]
    other_lookups: int

    @classmethod
    def parse(cls, data: bytes) -> EzklSettings:
        """Reads a settings file. Raises an ``Exception`` of any type for an invalid one."""
        raw = json.loads(data)
        args = raw["run_args"]
        if "disable_freivalds" not in args:
            raw.setdefault("einsum_params", _NO_PRODUCTS)
        return cls(
            version=str(raw["version"]),
            logrows=int(args["logrows"]),
            input_visibility=_visibility(args["input_visibility"]),
            param_visibility=_visibility(args["param_visibility"]),
            output_visibility=_visibility(args["output_visibility"]),
            freivalds_cells=int(raw["einsum_params"]["total_einsum_col_size"]),
            ignore_range_checks=bool(args["ignore_range_check_inputs_outputs"]),
            decomp_base=int(args["decomp_base"]),
            decomp_legs=int(args["decomp_legs"]),
            lookup_range=(int(args["lookup_range"][0]), int(args["lookup_range"][1])),
            input_scales=[int(s) for s in raw["model_input_scales"]],
            output_scales=[int(s) for s in raw["model_output_scales"]],
            shapes=[[int(d) for d in shape] for shape in raw["model_instance_shapes"]],
            columns=_columns(raw),
            committed=[int(n) for n in raw["module_sizes"]["polycommit"]],
            inner_columns=int(args["num_inner_cols"]),
            tables=list(raw["required_lookups"]),
            other_lookups=len(raw["required_range_checks"])
            + int(raw["num_dynamic_lookups"])
            + int(raw["num_shuffles"]),
        )

    def fits(self, vk: bytes) -> bool:
        """Whether the key can belong to a circuit of this size.

        A key's second byte is the log2 of its rows. The engine takes these from the key and from
        the settings, each for another part of its equation, which shows nothing if they differ.

        The engine lays out a circuit by its settings before it reads the key, so one large number
        in the settings keeps it busy forever. A key has a commitment for each column, so settings
        that need more columns than the key has room for do not belong to it.
        """
        if len(vk) < _COMMITMENT_BYTES or vk[1] != self.logrows:
            return False
        return self.columns <= min(len(vk) // _COMMITMENT_BYTES, _MAX_COLUMNS)

    @property
    def hashes(self) -> int:
        """The number of Poseidon hashes of inputs and weights before the public tensors."""
        inputs = len(self.input_scales) if self.input_visibility == HASHED else 0
        return inputs + (self.param_visibility == HASHED)

    @property
    def sizes(self) -> list[int]:
        """Elements of each public tensor: inputs if they are public, then outputs."""
        return [math.prod(shape) for shape in self.shapes]

    @property
    def public_inputs(self) -> int:
        """How many of the public tensors are inputs."""
        return len(self.input_scales) if self.input_visibility == PUBLIC else 0


def _columns(raw: Any) -> int:
    """A lower bound on the columns of a circuit with these settings."""
    args, rows = raw["run_args"], 1 << min(int(raw["run_args"]["logrows"]), _MAX_LOGROWS)
    spans = [int(high) - int(low) for low, high in raw["required_range_checks"]]
    if raw["required_lookups"]:
        spans.append(int(args["lookup_range"][1]) - int(args["lookup_range"][0]))
    sizes = [int(raw[name]) for name in _SIZES] + spans
    sizes.append(int(raw["einsum_params"]["total_einsum_col_size"]))
    counts = [int(raw[name]) for name in _COUNTS]
    counts += [int(args["num_inner_cols"]), len(spans), len(raw["required_lookups"])]
    # Committed tensors have their own columns.
    counts.append(sum(1 + abs(int(n)) // rows for n in raw["module_sizes"]["polycommit"]))
    return max(*(abs(size) // rows for size in sizes), *map(abs, counts))


def _visibility(value: Any) -> str:
    """EZKL writes ``"Public"``, or ``{"Hashed": {…}}``."""
    name = value if isinstance(value, str) else next(iter(value))
    word = str(name).lower()
    return "polycommit" if word == "kzgcommit" else word
