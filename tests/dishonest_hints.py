"""A prover of committed hints who is not honest: ``python -m tests.dishonest_hints FOLDER``.

Written from docs/receipt.md, without the prover's own code for hints, challenges and commitments.
``FOLDER`` holds a circuit's files and ``job.json``: each lane's input as integers and its context,
and what to bend. Writes ``proof.json``, and ``lanes.json`` where there are several; whoever
verifies has to refuse it unless nothing was bent.
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
#: Each part's elements of all lanes, lane after lane.
Hints = dict[str, list[int]]


def felt(n: int) -> str:
    return (int(n) % P).to_bytes(32, "little").hex()


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def number(data: bytes) -> int:
    return int.from_bytes(digest(data)[:31], "little")


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
        self.lanes = len(job["inputs"])
        self.list: dict[str, list[str]] = {"leaves": [], "evaluations": []}

    def lane(self, x: list[int]) -> Hints:
        kernel, bias, hidden, hidden_bias, last, last_bias = self.arrays
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
        found = {
            "input": [n + self.offset for n in x],
            "q0": list(q.reshape(-1)),
            "lo0": list(lo.reshape(-1)),
            "rows": list(full[[0, 7]].reshape(-1)),
            "columns": list(full[1:7][:, [0, 7]].reshape(-1)),
            "q1": [*(dense // self.base), *pad],
            "lo1": [*(dense % self.base), *pad],
        }
        if self.lanes > 1 or self.shows_weights:
            found["result"] = list(np.maximum(dense // self.base, 0) @ last + last_bias)
        return found

    def hints(self) -> Hints:
        each = [self.lane(x) for x in self.job["inputs"]]
        found = {name: [n for lane in each for n in lane[name]] for name in each[0]}
        found["salt"] = [
            self.base - ((1 << self.logrows) - 8) + secrets.randbelow((1 << self.logrows) - 8)
            for _ in range(self.header["looked_up"])
        ]
        found["sum"] = [sum(max(n, 0) for n in found["salt"])]
        return found

    def tensor(self, hints: Hints) -> list[str]:
        flat = [felt(n) for part in hints.values() for n in part]
        room = (1 << self.logrows) - 12
        assert len(flat) <= room, "one column"
        return [felt(secrets.randbelow(P)) for _ in range(6)] + flat

    def about(self, lane: int) -> tuple[bytes, bytes]:
        shown = b"".join(bytes.fromhex(felt(n)) for n in self.job["inputs"][lane])
        context = int(self.job["contexts"][lane]).to_bytes(32, "big")
        return context, b"public" + shown if self.header["shown"] else b"private"

    def evaluation(self, lane: int, challenges: list[int]) -> int:
        rows, columns = json.loads((self.folder / "claim.json").read_bytes())["evaluated"]
        x, total = self.job["inputs"][lane], 0
        for n, value in enumerate(x):
            a, b = divmod(n, columns)
            assert a < rows
            total += value * pow(challenges[3], a + 1, P) * pow(challenges[4], b + 1, P)
        return total % P

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

    def seed(self, tensor: list[str]) -> bytes:
        def read(name: str) -> bytes:
            return (self.folder / name).read_bytes()

        about = self.about(0)
        if self.lanes > 1:
            leaves = [
                digest(b"zkml-prover/lane/v1" + b"".join(digest(p) for p in self.about(n)))
                for n in range(self.lanes)
            ]
            self.list["leaves"] = [leaf.hex() for leaf in leaves]
            about = (b"".join(leaves), b"lanes")
        parts = (
            read("vk"),
            read("settings.json"),
            read("srs_part"),
            read("claim.json"),
            *about,
            self.commitment(tensor),
        )
        return digest(b"zkml-prover/committed-hints/v1" + b"".join(digest(p) for p in parts))

    def challenges(self, seed: bytes) -> list[int]:
        found = [number(seed + n) for n in NAMES]
        if self.lanes == 1:
            return found
        told = []
        if self.header["shown"]:
            told = [self.evaluation(n, found) for n in range(self.lanes)]
            if self.job["bend"] == "evaluation of another lane":
                told[1] += 1
        self.list["evaluations"] = [felt(n) for n in told]
        hashed = digest(b"".join(bytes.fromhex(felt(n)) for n in told))
        return [*found, number(seed + hashed + b"lane")]

    def prove(self, bend: Callable[[Hints], None]) -> dict[str, Any]:
        hints = self.hints()
        bend(hints)
        tensor = self.tensor(hints)
        seed, how = self.seed(tensor), self.job["bend"]
        challenges = self.challenges(seed)
        if how == "challenges":
            challenges = [1] * len(challenges)
        if how == "no challenge":
            challenges = [0] * len(challenges)
        if how == "lanes told apart by nothing":
            challenges[-1] = 1
        inputs = [tensor]
        if self.shows_weights:
            folded = self.folded(challenges)
            if how in ("result and weights", "weights under challenges"):
                folded[-1] += challenges[0]  # as if the first output's bias were larger by one
            inputs.append([felt(n) for n in folded])
            second = digest(seed + digest(self.commitment(inputs[1])))
            more = [number(second + n) for n in WEIGHTS_NAMES]
            if how == "weights under challenges":
                more = [0, 0]  # under which all weights are alike
            challenges += more
        inputs.append([felt(c) for c in challenges])

        def at(name: str) -> str:
            return str(self.folder / name)

        data = json.dumps({"input_data": inputs})
        ezkl.gen_witness(data, at("compiled"), at("w.json"), None, None)
        if how == "shown output":
            witness = json.loads((self.folder / "w.json").read_text())
            witness["outputs"][-2][0] = felt(12345)
            (self.folder / "w.json").write_text(json.dumps(witness))
        ezkl.prove(at("w.json"), at("compiled"), at("pk"), at("p.json"), at("srs"))
        proof: dict[str, Any] = json.loads((self.folder / "p.json").read_text())
        return proof


def unbent(hints: Hints, base: int) -> None:
    """Hints as they should be."""


def _raise(name: str, at: int, by: int) -> Callable[[Hints, int], None]:
    def bend(hints: Hints, _: int) -> None:
        hints[name][at] += by

    return bend


def _both(*bends: Callable[[Hints, int], None]) -> Callable[[Hints, int], None]:
    def bend(hints: Hints, base: int) -> None:
        for one in bends:
            one(hints, base)

    return bend


def _swap(*names: str) -> Callable[[Hints, int], None]:
    """What the first two lanes of three have, the other way round."""

    def bend(hints: Hints, _: int) -> None:
        for name in names:
            size = len(hints[name]) // 3
            first, second = hints[name][:size], hints[name][size : 2 * size]
            hints[name][: 2 * size] = second + first

    return bend


BENDS: dict[str, Callable[[Hints, int], None]] = {
    "quotient": _raise("q0", 3, 1),
    "remainder": lambda h, _: h["lo0"].__setitem__(3, (h["lo0"][3] + 1) % 2),
    "hidden quotient": _raise("q1", 0, 1),
    "padding": _raise("lo1", -1, 1),
    "border": _raise("rows", 2, 1),
    "column": _raise("columns", 2, 1),
    "sum of salt": _raise("sum", 0, 1),
    "negative remainder": lambda h, base: _both(_raise("q0", 5, 1), _raise("lo0", 5, -base))(h, 0),
    "result": _raise("result", 0, 1),
    "negative input": lambda h, _: h["input"].__setitem__(5, -3),
    # Of three lanes: 72 quotients and 5 hidden ones, 3 results each.
    "quotient of the last lane": _raise("q0", 2 * 72 + 3, 1),
    "border of the last lane": _raise("rows", -1, 1),
    "result of the last lane": _raise("result", 2 * 3, 1),
    "results that cancel": _both(_raise("result", 0, 1), _raise("result", 3, -1)),
    "quotients that cancel": _both(_raise("q0", 3, 1), _raise("q0", 72 + 3, -1)),
    "lanes told apart by nothing": _both(_raise("result", 0, 1), _raise("result", 3, -1)),
    "results swapped": _swap("result"),
    "lanes swapped behind the input": _swap("q0", "lo0", "rows", "columns", "q1", "lo1", "result"),
    "whole lanes swapped": _swap("input", "q0", "lo0", "rows", "columns", "q1", "lo1", "result"),
}


BENDS["result and weights"] = BENDS["weights under challenges"] = BENDS["result"]


def main() -> None:
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text())
    prover = Prover(folder, job)
    bend = BENDS.get(job["bend"], unbent)
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


if __name__ == "__main__":
    main()
