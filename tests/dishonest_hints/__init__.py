"""A prover of committed hints who is not honest. ``prove`` is called in a child of the engine's.

Written from docs/receipt.md, without the prover's own code for hints, challenges and commitments.
Its folder holds a circuit's files and ``job.json``: each lane's input as integers and its context,
and what to bend. Writes ``proof.json``, ``lanes.json`` where there are several, ``identity.bin``
where weights are private and ``input_identity.bin`` where an identity names the input; whoever
verifies has to refuse it unless nothing was bent.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.dishonest_hints.bends import BENDS, by_name
from tests.dishonest_hints.prover import Prover


def prove(folder: Path) -> None:
    job = json.loads((folder / "job.json").read_text())
    prover = Prover(folder, job)
    bend = BENDS.get(job["bend"]) or by_name(job["bend"])
    proof = prover.prove(lambda hints: bend(hints, prover.base))
    if job["bend"] == "pasted":
        other = prover.prove(lambda hints: None)
        count = 128 if prover.shows_weights else 64
        proof["proof"] = other["proof"][:count] + proof["proof"][count:]
        proof["hex_proof"] = "0x" + bytes(proof["proof"]).hex()
    (folder / "proof.json").write_text(json.dumps(proof))
    if prover.lanes > 1:
        text = json.dumps(prover.list, sort_keys=True, separators=(",", ":"))
        (folder / "lanes.json").write_text(text)
