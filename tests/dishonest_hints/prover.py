"""Commitments, challenges, identities and the proof."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ezkl
import numpy as np
from py_ecc import optimized_bn128 as curve

from tests.dishonest_hints.network import Hints, Network
from tests.dishonest_hints.points import P, Q, digest, encoded, felt, multiplied, number

NAMES = (b"output", b"row", b"column", b"input-row", b"input-column")
WEIGHTS_NAMES = (b"weights-row", b"weights-column")


class Prover:
    """Any circuit whose private weights are one column."""

    def __init__(self, folder: Path, job: dict[str, Any]) -> None:
        self.folder, self.job = folder, job
        self.network = Network((folder / "network").read_bytes())
        self.header = self.network.header
        steps = self.header["steps"]
        self.base, self.logrows = steps["base"], steps["logrows"]
        self.shows_weights = self.header["weights"] == "shown"
        self.hides_weights = self.header["weights"] == "private"
        self.network.lie = job["bend"]
        self.public = self.elements()  # of the identity
        if job["bend"] == "weight outside the table":
            self.network.steps[-1]["terms"][0]["weights"][0, 0, 0, 0] = -1 - self.base // 2
        if job["bend"] == "result and constant":
            self.network.steps[-1]["bias"][-1] += 1
        if job["bend"] in ("other weights", "other private weight"):
            first = next(s for s in self.network.steps if "sum" in s)
            first["terms"][0]["weights"][0, 0, 0, 0] += 1
        self.lanes = len(job["inputs"])
        self.list: dict[str, list[str]] = {"leaves": [], "evaluations": []}
        self.names_input = "blinding" in self.header
        self.published: list[int] = []  # coefficients of the identity's polynomial
        self.added: list[int] = []  # what takes its salt to this proof's own
        self.named = b""

    def lane(self, x: list[int]) -> Hints:
        inputs, at = [], 0
        for size in self.header["inputs"]:
            inputs.append(x[at : at + size])
            at += size
        found, _ = self.network.run(inputs)
        own = self.header["steps"]["inputs"]
        offsets = [0 if self.header["shown"] else given["offset"] for given in own]
        lifted = [[n + o for n in x] for x, o in zip(inputs, offsets, strict=True)]
        digits: Hints = {"input": []}
        for row, (values, given) in enumerate(zip(lifted, own, strict=True)):
            more = 0 if self.header["shown"] else given.get("finer", 0)
            count = 1 + more // (self.base.bit_length() - 1)
            for n in range(count):
                last = n == count - 1
                part = [
                    v // self.base**n if last else v // self.base**n % self.base for v in values
                ]
                digits["input"] += part if n == 0 else []
                if n:
                    digits[f"input-{row}-{n}"] = part
        return {**digits, **found}

    def hints(self) -> Hints:
        each = [self.lane(x) for x in self.job["inputs"]]
        found = {name: [n for lane in each for n in lane[name]] for name in each[0]}
        found["salt"] = self.salt()
        found["sum"] = [sum(max(n, 0) for n in found["salt"])]
        if "function" in self.header["steps"]:
            found["function-salt"] = self.salt()
            entries = self.network.entries(np.array(found["function-salt"], dtype=object))
            found["function-sum"] = [int(entries.sum())]
        if self.names_input:
            found["blinding"] = [secrets.randbelow(P) for _ in range(6)]
        return found

    def salt(self) -> list[int]:
        """Random entries of a table."""
        lowest = self.base - ((1 << self.logrows) - 8)
        entries = range(lowest, self.base)
        return [secrets.choice(entries) for _ in range(self.header["looked_up"])]

    def tensor(self, hints: Hints) -> list[str]:
        """All hints, with six random elements at the head of each column."""
        flat, room = [felt(n) for part in hints.values() for n in part], (1 << self.logrows) - 12
        found: list[str] = []
        for start in range(0, len(flat), room):
            found += [felt(secrets.randbelow(P)) for _ in range(6)]
            found += flat[start : start + room]
        return found

    def about(self, lane: int) -> tuple[bytes, bytes]:
        shown = b"".join(bytes.fromhex(felt(n)) for n in self.job["inputs"][lane])
        context = int(self.job["contexts"][lane]).to_bytes(32, "big")
        if self.names_input:
            return context, b"committed" + self.named
        return context, b"public" + shown if self.header["shown"] else b"private"

    def name_input(self, hints: Hints) -> None:
        """The identity, of the input that is published, and what the proof adds to its salt."""
        how, x = self.job["bend"], [int(n) for n in self.job["inputs"][0]]
        if how in ("another input", "added after its place"):
            x[0] += 1
        if how == "another last element":
            x[-1] -= 1
        if how == "input below the table":  # reads as the lowest that there is, as x[5] is
            x[5] += hints["input"][5]
        own = hints["blinding"]
        self.published = x + [secrets.randbelow(P) for _ in own]
        self.added = [t - s for t, s in zip(own, self.published[len(x) :], strict=True)]
        public = encoded(multiplied(self.points(len(self.published)), self.published))
        if how == "identity of the weights":
            claim = json.loads((self.folder / "claim.json").read_bytes())
            public = bytes.fromhex(claim["identity"][0])
        if how == "difference of a lower degree":  # as if all that differs were salt
            self.added[0] += 1
        self.named = public + encoded(multiplied(self.points(6), self.added))

    def opened(self, at: int, hints: Hints) -> bytes:
        """That the identity's polynomial, with what is added, has the value that is shown."""
        how, x = self.job["bend"], [int(n) for n in self.job["inputs"][0]]
        first = self.named
        if how == "place of one's own":
            at = 12345
        if how == "added after its place":  # which solves the equation, after the fact
            true = sum(c * pow(at, j, P) for j, c in enumerate([*x, *hints["blinding"]]))
            value = sum(c * pow(at, j, P) for j, c in enumerate(self.published))
            self.added = [(true - value) * pow(at, -len(x), P) % P]
            first = first[:64] + encoded(multiplied(self.points(1), self.added))
        rest = list(self.published)
        for j, c in enumerate(self.added):
            rest[j] += pow(at, len(x), P) * c
        opening, carried = [0] * (len(rest) - 1), 0
        for j in reversed(range(1, len(rest))):  # divided by X - at
            carried = (rest[j] + carried * at) % P
            opening[j - 1] = carried
        return first + encoded(multiplied(self.points(len(opening)), opening))

    def evaluation(self, lane: int, challenges: list[int]) -> int:
        rows, columns = json.loads((self.folder / "claim.json").read_bytes())["evaluated"]
        x, total = self.job["inputs"][lane], 0
        for n, value in enumerate(x):
            a, b = divmod(n, columns)
            assert a < rows
            total += value * pow(challenges[3], a + 1, P) * pow(challenges[4], b + 1, P)
        return total % P

    def elements(self) -> list[int]:
        """Private weights, each half a base more, and the constants of sums. (Of circuits none of
        whose rows are offset.)"""
        sums = [step for step in self.network.steps if "sum" in step]
        terms = [term for step in sums for term in step["terms"] if "weights" in term]
        found = [int(w) + self.base // 2 for term in terms for w in term["weights"].reshape(-1)]
        return found + [int(b) for step in sums for b in step["bias"].reshape(-1)]

    def private_weights(self) -> list[int]:
        """What is committed to, all in one column."""
        own = [int.from_bytes(bytes.fromhex(f), "little") for f in self.header["identity_salt"]]
        salt = [secrets.randbelow(P) for _ in range(6)]
        if self.job["bend"] == "salt of the identity":
            salt = own
        return salt + self.elements()

    def compared(self, seed: bytes, weights: list[int]) -> bytes:
        """That the weights are those of the identity, from the polynomials' coefficients."""
        how, rows = self.job["bend"], 1 << self.logrows
        root = pow(7, (P - 1) // rows, P)
        own = [int.from_bytes(bytes.fromhex(f), "little") for f in self.header["identity_salt"]]
        power = number(seed + b"identity-columns")
        apart = {
            row: power * (mine - public) * pow(rows, -1, P) % P
            for row, (mine, public) in enumerate(zip(weights, [*own, *self.public], strict=True))
            if mine != public
        }
        difference = [
            sum(d * pow(root, -row * j, P) for row, d in apart.items()) % P for j in range(rows)
        ]
        product = difference
        for i in range(6):  # times X - root^i
            shifted = zip([0, *product], [*product, 0], strict=True)
            product = [(a - pow(root, i, P) * b) % P for a, b in shifted]
        quotient = product[rows:]
        if how == "forged quotient":
            quotient[0] += 1
        points = self.points(rows)
        first = encoded(multiplied(points, quotient))
        at = number(digest(seed + digest(first)) + b"identity-point")
        if how == "place of one's own":
            at = 12345
        head = 1
        for i in range(6):
            head = head * (at - pow(root, i, P)) % P
        vanishing = (pow(at, rows, P) - 1) * pow(head, -1, P)
        if how == "quotient for its place":  # which solves the equation, after the fact
            value = sum(c * pow(at, j, P) for j, c in enumerate(difference))
            first = encoded(multiplied(points, [value * pow(vanishing, -1, P)]))
            quotient = [value * pow(vanishing, -1, P)]
        rest = list(difference)
        for j, c in enumerate(quotient):
            rest[j] -= vanishing * c
        opening = [0] * (rows - 1)
        carried = 0
        for j in reversed(range(1, rows)):  # divided by X - at
            carried = (rest[j] + carried * at) % P
            opening[j - 1] = carried
        return first + encoded(multiplied(points, opening))

    def points(self, count: int) -> list[Any]:
        """The first powers of the reference string."""
        data = (self.folder / "srs").read_bytes()[4 : 4 + 64 * count]
        raw = [
            curve.FQ(int.from_bytes(data[n : n + 32], "little") * pow(1 << 256, -1, Q) % Q)
            for n in range(0, len(data), 32)
        ]
        return [(x, y, curve.FQ.one()) for x, y in zip(raw[::2], raw[1::2], strict=True)]

    def commitment(self, tensor: list[str]) -> bytes:
        """Of each column, as the engine lays them out."""
        paths = [str(self.folder / n) for n in ("vk", "settings.json", "srs")]
        rows, found = (1 << self.logrows) - 6, b""
        for n in range((len(tensor) + len(tensor) // rows + 1) // rows + 1):
            column = tensor[n * rows : (n + 1) * rows] or [felt(0)]
            point: Any = ezkl.kzg_commit(column, *paths)[0]  # behind a full one stands an empty one
            found += bytes.fromhex(point.x)[::-1] + bytes.fromhex(point.y)[::-1]
        return found

    def seed(self, *tensors: list[str]) -> bytes:
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
            b"".join(self.commitment(tensor) for tensor in tensors),
        )
        return digest(b"zkml-prover/committed-hints/v1" + b"".join(digest(p) for p in parts))

    def challenges(self, seed: bytes) -> list[int]:
        found = [number(seed + n) for n in NAMES]
        if self.names_input:
            claim = json.loads((self.folder / "claim.json").read_bytes())
            found[3] = pow(found[4], claim["evaluated"][1], P)
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
        if self.names_input:
            self.name_input(hints)
        tensor = self.tensor(hints)
        weights = self.private_weights() if self.hides_weights else []
        inputs = [tensor, [felt(n) for n in weights]] if weights else [tensor]
        seed, how = self.seed(*inputs), self.job["bend"]
        challenges = self.challenges(seed)
        if how == "challenges":
            challenges = [1] * len(challenges)
        if how == "no challenge":
            challenges = [0] * len(challenges)
        if how == "lanes told apart by nothing":
            challenges[-1] = 1
        if how == "constant after challenges":
            weights[-1] += 1
            inputs[1] = [felt(n) for n in weights]
        if weights:
            (self.folder / "identity.bin").write_bytes(self.compared(seed, weights))
        if self.names_input:
            argument = self.opened(challenges[4], hints)
            (self.folder / "input_identity.bin").write_bytes(argument)
        if self.shows_weights:
            folded = self.network.folded(challenges)
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
