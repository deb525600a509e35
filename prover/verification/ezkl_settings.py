"""The parts of an EZKL settings file that say what a proof's public instances mean."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

PUBLIC, HASHED = "public", "hashed"


@dataclass(frozen=True, kw_only=True)
class EzklSettings:
    """Visibilities are ``public``, ``private``, ``fixed`` or ``hashed``; scales are exponents of
    two, one for each graph input or output; ``shapes`` are those of the public tensors."""

    version: str
    logrows: int
    input_visibility: str
    param_visibility: str
    output_visibility: str
    disable_freivalds: bool
    ignore_range_checks: bool
    input_scales: list[int]
    output_scales: list[int]
    shapes: list[list[int]]

    @classmethod
    def parse(cls, data: bytes) -> EzklSettings:
        """Reads a settings file. Raises some ``Exception`` for anything else."""
        raw = json.loads(data)
        args = raw["run_args"]
        return cls(
            version=str(raw["version"]),
            logrows=int(args["logrows"]),
            input_visibility=_visibility(args["input_visibility"]),
            param_visibility=_visibility(args["param_visibility"]),
            output_visibility=_visibility(args["output_visibility"]),
            disable_freivalds=bool(args["disable_freivalds"]),
            ignore_range_checks=bool(args["ignore_range_check_inputs_outputs"]),
            input_scales=[int(s) for s in raw["model_input_scales"]],
            output_scales=[int(s) for s in raw["model_output_scales"]],
            shapes=[[int(d) for d in shape] for shape in raw["model_instance_shapes"]],
        )

    @property
    def hashes(self) -> int:
        """How many Poseidon hashes of inputs and weights stand before the public tensors."""
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


def _visibility(value: Any) -> str:
    """EZKL writes ``"Public"``, or ``{"Hashed": {…}}``."""
    name = value if isinstance(value, str) else next(iter(value))
    return str(name).lower()
