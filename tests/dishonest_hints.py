"""A prover of committed hints who is not honest: ``python -m tests.dishonest_hints FOLDER``.

Written from docs/receipt.md, without the prover's own code for hints, challenges and commitments.
``FOLDER`` holds a circuit's files and ``job.json``: an input as integers, a context, and what to
bend. Writes ``proof.json``; whoever verifies has to refuse it unless nothing was bent.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import ezkl
import numpy as np

P = 0x30644E72E131A029B85045B68181585D2833E84879B9709143E1F593F0000001
NAMES = (b"output", b"row", b"column", b"input-row", b"input-column")
WEIGHTS_NAMES = (b"weights-row", b"weights-column")
Hints = dict[str, list[int]]


def felt(n: int) -> str:
    return (int(n) % P).to_bytes(32, "little").hex()


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class Prover:
    """The circuit of ``tests.integration.test_committed``: a convolution of 3 x 3 with padding,
    sums over blocks of 2 x 2, a hidden dense layer and a last one."""

    def __init__(self, folder: Path, job: dict[str, Any]) -> None:
        self.folder, self.job = folder, job
        head, _, rest = (folder / "network").read_bytes().partition(b"\n")
        self.header = json.loads(head)
        numbers = np.frombuffer(rest, dtype="<i8").astype(object)
        sizes = [(2, 1, 3, 3), (2,), (18, 5), (5,), (5, 3), (3,)]
        self.arrays, at = [], 0
        for size in sizes:
            self.arrays.append(numbers[at : at + int(np.prod(size))].reshape(size))
            at += int(np.prod(size))
        assert at == len(numbers)
        steps = self.header["steps"]
        self.base, self.logrows = steps["base"], steps["logrows"]
        self.offset = 0 if self.header["shown"] else steps["offset"]
        self.shows_weights = self.header.get("weights") == "shown"
        if job["bend"] == "other weights":
            self.arrays[0][0, 0, 0, 0] += 1

    def hints(self, x: list[int]) -> Hints:
        kernel, bias, hidden, hidden_bias = self.arrays[:4]
        image = np.array(x, dtype=object).reshape(6, 6)
        full = np.zeros((8, 8, 2), dtype=object)
        for i in range(3):
            for j in range(3):
                for f in range(2):
                    full[2 - i : 8 - i, 2 - j : 8 - j, f] += image * kernel[f, 0, i, j]
        sums = full[1:7, 1:7] + bias
        q, lo = sums // self.base, sums % self.base
        active = np.maximum(q, 0)
        pooled = active.reshape(3, 2, 3, 2, 2).sum(axis=(1, 3)).reshape(-1)
        dense = pooled @ hidden + hidden_bias
        pad = [0] * self.header["padding"][1]
        salt = [
            self.base - ((1 << self.logrows) - 8) + secrets.randbelow((1 << self.logrows) - 8)
            for _ in range(self.header["looked_up"])
        ]
        active = [max(n, 0) for n in dense // self.base]
        result = list(np.array(active, dtype=object) @ self.arrays[4] + self.arrays[5])
        return {
            "input": [n + self.offset for n in x],
            "q0": list(q.reshape(-1)),
            "lo0": list(lo.reshape(-1)),
            "rows": list(full[[0, 7]].reshape(-1)),
            "columns": list(full[1:7][:, [0, 7]].reshape(-1)),
            "q1": [*(dense // self.base), *pad],
            "lo1": [*(dense % self.base), *pad],
            "result": result if self.shows_weights else [],
            "salt": salt,
            "sum": [sum(max(n, 0) for n in salt)],
        }

    def tensor(self, hints: Hints) -> list[str]:
        flat = [felt(n) for part in hints.values() for n in part]
        room = (1 << self.logrows) - 12
        assert len(flat) <= room, "one column"
        return [felt(secrets.randbelow(P)) for _ in range(6)] + flat

    def folded(self, challenges: list[int]) -> list[int]:
        """What the weights fold to, layer by layer."""
        kernel, bias, hidden, hidden_bias, last, last_bias = self.arrays
        r, row, column = challenges[:3]

        def under(values: Iterable[int]) -> int:
            return sum(pow(r, f + 1, P) * int(v) for f, v in enumerate(values)) % P

        convolution = sum(
            under(kernel[:, 0, t, u]) * pow(row, 3 - t, P) * pow(column, 3 - u, P)
            for t in range(3)
            for u in range(3)
        )
        found = [convolution % P, under(bias)]
        found += [*map(under, hidden), under(hidden_bias)]
        return [*found, *map(under, last), under(last_bias)]

    def commitment(self, tensor: list[str]) -> bytes:
        paths = [str(self.folder / n) for n in ("vk", "settings.json", "srs")]
        point: Any
        (point,) = ezkl.kzg_commit(tensor, *paths)
        return bytes.fromhex(point.x)[::-1] + bytes.fromhex(point.y)[::-1]

    def seed(self, tensor: list[str], x: list[int]) -> bytes:
        def read(name: str) -> bytes:
            return (self.folder / name).read_bytes()

        shown = b"".join(bytes.fromhex(felt(n)) for n in x)
        parts = (
            read("vk"),
            read("settings.json"),
            read("srs_part"),
            read("claim.json"),
            int(self.job["context"]).to_bytes(32, "big"),
            b"public" + shown if self.header["shown"] else b"private",
            self.commitment(tensor),
        )
        return digest(b"zkml-prover/committed-hints/v1" + b"".join(digest(p) for p in parts))

    def prove(self, x: list[int], bend: Callable[[Hints], None]) -> dict[str, Any]:
        hints = self.hints(x)
        bend(hints)
        tensor = self.tensor(hints)
        seed, how = self.seed(tensor, x), self.job["bend"]
        challenges = [int.from_bytes(digest(seed + n)[:31], "little") for n in NAMES]
        if how == "challenges":
            challenges = [1] * len(challenges)
        if how == "no challenge":
            challenges = [0] * len(challenges)
        inputs = [tensor]
        if self.shows_weights:
            folded = self.folded(challenges)
            if how in ("result and weights", "weights under challenges"):
                folded[-1] += challenges[0]  # as if the first output's bias were larger by one
            inputs.append([felt(n) for n in folded])
            second = digest(seed + digest(self.commitment(inputs[1])))
            more = [int.from_bytes(digest(second + n)[:31], "little") for n in WEIGHTS_NAMES]
            if how == "weights under challenges":
                more = [0, 0]  # under which all weights are alike
            challenges += more
        inputs.append([felt(c) for c in challenges])

        def at(name: str) -> str:
            return str(self.folder / name)

        data = json.dumps({"input_data": inputs})
        ezkl.gen_witness(data, at("compiled"), at("w.json"), None, None)
        if self.job["bend"] == "shown output":
            witness = json.loads((self.folder / "w.json").read_text())
            witness["outputs"][-2][0] = felt(12345)
            (self.folder / "w.json").write_text(json.dumps(witness))
        ezkl.prove(at("w.json"), at("compiled"), at("pk"), at("p.json"), at("srs"))
        proof: dict[str, Any] = json.loads((self.folder / "p.json").read_text())
        return proof


def unbent(hints: Hints, base: int) -> None:
    """Hints as they should be."""


BENDS: dict[str, Callable[[Hints, int], None]] = {
    "quotient": lambda h, _: h["q0"].__setitem__(3, h["q0"][3] + 1),
    "remainder": lambda h, _: h["lo0"].__setitem__(3, (h["lo0"][3] + 1) % 2),
    "hidden quotient": lambda h, _: h["q1"].__setitem__(0, h["q1"][0] + 1),
    "padding": lambda h, _: h["lo1"].__setitem__(-1, h["lo1"][-1] + 1),
    "border": lambda h, _: h["rows"].__setitem__(2, h["rows"][2] + 1),
    "column": lambda h, _: h["columns"].__setitem__(2, h["columns"][2] + 1),
    "sum of salt": lambda h, _: h["sum"].__setitem__(0, h["sum"][0] + 1),
    "negative remainder": lambda h, base: (
        h["q0"].__setitem__(5, h["q0"][5] + 1),
        h["lo0"].__setitem__(5, h["lo0"][5] - base),
    )[0],
    "result": lambda h, _: h["result"].__setitem__(0, h["result"][0] + 1),
    "negative input": lambda h, _: h["input"].__setitem__(5, -3),
}
BENDS["result and weights"] = BENDS["weights under challenges"] = BENDS["result"]


def main() -> None:
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text())
    prover = Prover(folder, job)
    bend = BENDS.get(job["bend"], unbent)
    proof = prover.prove(job["input"], lambda hints: bend(hints, prover.base))
    if job["bend"] == "pasted":
        other = prover.prove(job["input"], lambda hints: None)
        count = 128 if prover.shows_weights else 64
        proof["proof"] = other["proof"][:count] + proof["proof"][count:]
        proof["hex_proof"] = "0x" + bytes(proof["proof"]).hex()
    (folder / "proof.json").write_text(json.dumps(proof))


if __name__ == "__main__":
    main()
