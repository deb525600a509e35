"""The engine without any of our checks. Runs in a sandbox child."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import ezkl

from circuits.engine.port import CircuitFiles
from circuits.engine.proof_json import normalise_proof
from circuits.errors import EngineError
from circuits.format.field import Felts


def prove_anything(files: CircuitFiles, inputs: Sequence[Felts], twin: Path | None = None) -> bytes:
    """A proof of whatever the engine can be brought to prove, with a witness of ``twin``, another
    compiled circuit, where one is given."""
    data = json.dumps({"input_data": list(inputs)})
    try:
        ezkl.gen_witness(data, str(twin or files.compiled), "witness.json", None, None)
        ezkl.prove("witness.json", str(files.compiled), str(files.pk), "p.json", str(files.srs))
    except BaseException as error:
        raise EngineError(f"the engine would not prove it: {error}"[:200]) from None
    return normalise_proof(Path("p.json").read_bytes())
