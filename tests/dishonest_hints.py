"""A prover of committed hints who is not honest. ``prove`` is called in a child of the engine's.

Written from docs/receipt.md, without the prover's own code for hints, challenges and commitments.
Its folder holds a circuit's files and ``job.json``: each lane's input as integers and its context,
and what to bend. Writes ``proof.json``, ``lanes.json`` where there are several, ``identity.bin``
where weights are private and ``input_identity.bin`` where an identity names the input; whoever
verifies has to refuse it unless nothing was bent.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import ezkl
import numpy as np
from py_ecc import optimized_bn128 as curve

Q = curve.field_modulus
P = 0x30644E72E131A029B85045B68181585D2833E84879B9709143E1F593F0000001
NAMES = (b"output", b"row", b"column", b"input-row", b"input-column")
WEIGHTS_NAMES = (b"weights-row", b"weights-column")
#: Each part's elements of all lanes, lane after lane.
Hints = dict[str, list[int]]


def felt(n: int) -> str:
    return (int(n) % P).to_bytes(32, "little").hex()


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def encoded(point: Any) -> bytes:
    return b"".join(int(c).to_bytes(32, "big") for c in curve.normalize(point))


def multiplied(points: list[Any], numbers: list[int]) -> Any:
    """The sum of points times numbers, by eight bits at once; numbers below zero are small too."""
    least = [
        (point, n) if n <= P // 2 else (curve.neg(point), P - n)
        for point, n in zip(points, (n % P for n in numbers), strict=False)
    ]
    total = curve.Z1
    for shift in reversed(range(0, 256, 8)):
        for _ in range(8):
            total = curve.double(total)
        buckets: dict[int, Any] = {}
        for point, n in least:
            if part := n >> shift & 255:
                buckets[part] = curve.add(buckets[part], point) if part in buckets else point
        running = curve.Z1
        for part, lower in pairwise([*sorted(buckets, reverse=True), 0]):
            running = curve.add(running, buckets[part])
            total = curve.add(total, curve.multiply(running, part - lower))
    return total


def number(data: bytes) -> int:
    return int.from_bytes(digest(data)[:31], "little")


class Network:
    """The file ``network`` as docs/receipt.md describes it, computed with Python's integers."""

    def __init__(self, data: bytes) -> None:
        head, _, rest = data.partition(b"\n")
        self.header = json.loads(head)
        self.numbers, self.at = np.frombuffer(rest, dtype="<i8").astype(object), 0
        self.outputs = [self.view(v) for v in self.header["outputs"]]
        self.steps = [self.step(entry) for entry in self.header["network"]]
        assert self.at == len(self.numbers)
        self.base = self.header["steps"]["base"]
        self.lie = ""  # what all later steps are made to agree with
        self.sums = self.header["steps"]["sums"]

    def array(self, shape: list[int]) -> Any:
        start, self.at = self.at, self.at + int(np.prod(shape))
        return self.numbers[start : self.at].reshape(shape)

    def view(self, entry: dict[str, Any]) -> dict[str, Any]:
        return {"rows": entry["rows"], "places": self.array(entry["places"]).astype(int)}

    def step(self, entry: dict[str, Any]) -> dict[str, Any]:
        found = dict(entry)
        if "op" in entry:
            found["left"] = self.view(entry["left"])
            if isinstance(entry["right"], dict):
                found["right"] = self.view(entry["right"])
            return found
        found["terms"] = []
        for term in entry["terms"]:
            own = dict(term)
            for name in ("view", "left", "right"):
                if name in term:
                    own[name] = self.view(term[name])
            if "weights" in term:
                own["weights"] = self.array(term["weights"])
            found["terms"].append(own)
        found["bias"] = self.array(entry["bias"])
        return found

    @staticmethod
    def read(view: dict[str, Any], rows: list[Any]) -> Any:
        joined = np.concatenate([*(rows[r] for r in view["rows"]), np.zeros(1, dtype=object)])
        return joined[view["places"]]  # the last one, at -1, is zero

    @staticmethod
    def pairs(axis: dict[str, int]) -> list[tuple[int, int, int]]:
        """Elements, weights and the outputs in which they meet, in the border too."""
        found = []
        for i in range(axis["size"]):
            for t in range(axis["taps"]):
                at = i + axis["before"] - t * axis["dilation"]
                if at % axis["stride"] == 0:
                    found.append((i, t, at // axis["stride"]))
        return found

    def span(self, step: dict[str, Any], which: int) -> tuple[int, int]:
        """The first and the last output, with the border."""
        ends = [0, step["shape"][which] - 1]
        for term in step["terms"]:
            if term["term"] == "convolution":
                ends += [o for _, _, o in self.pairs(term["axes"][which])]
        return min(ends), max(ends)

    def full(self, step: dict[str, Any], rows: list[Any]) -> Any:
        """All coefficients of a sum, without its bias."""
        (top, bottom), (left, right) = self.span(step, 0), self.span(step, 1)
        size = (bottom - top + 1, right - left + 1, step["shape"][2])
        found = np.zeros(size, dtype=object)
        high, wide = step["shape"][:2]
        inner = found[-top : high - top, -left : wide - left]
        for term in step["terms"]:
            if term["term"] == "convolution":
                x, w = self.read(term["view"], rows), term["weights"]
                outputs, own = w.shape[:2]
                ours = outputs * own // x.shape[2]
                for i, t, y in self.pairs(term["axes"][0]):
                    for j, u, z in self.pairs(term["axes"][1]):
                        for f in range(outputs):
                            first = f // ours * own
                            group = x[i, j, first : first + own]
                            found[y - top, z - left, f] += int(group @ w[f, :, t, u])
            elif term["term"] == "function":
                x = self.read(term["view"], rows)
                inner += term["start"] * x
                for kink, slope in zip(term["kinks"], term["slopes"], strict=True):
                    inner += slope * np.maximum(x - kink, 0)
            else:
                a, b = (self.read(term[name], rows) for name in ("left", "right"))
                if term["term"] == "pointwise":
                    inner += a * b * int(term["factor"])
                else:
                    for n in range(len(a)):
                        inner[n] += a[n].dot(b[n]) * int(term["factor"])
        return found

    def run(self, inputs: list[list[int]]) -> tuple[Hints, list[list[int]]]:
        """Hints by name, and outputs. (What is read counts as it is meant: without offsets.)"""
        rows: list[Any] = [np.array(x, dtype=object) for x in inputs]
        hints: Hints = {}
        number = 0
        for step in self.steps:
            if "op" in step:
                a = self.read(step["left"], rows)
                if step["op"] == "total":
                    rows.append(a.sum(axis=-1).reshape(-1))
                    continue
                right = step["right"]
                b = self.read(right, rows) if isinstance(right, dict) else right
                over, under = np.maximum(a - b, 0), np.maximum(b - a, 0)
                made = {
                    "rectify": over,
                    "maximum": b + over,
                    "minimum": a - over,
                    "above": np.minimum(over, 1),
                    "below": np.minimum(under, 1),
                    "chosen": a * b,
                }[step["op"]]
                if self.lie == "other bit" and step["op"] == "above":
                    made = 1 - made
                rows.append(np.asarray(made).reshape(-1))
                continue
            own, full = self.sums[number], self.full(step, rows)
            top, left = self.span(step, 0)[0], self.span(step, 1)[0]
            high, wide = step["shape"][:2]
            divisor = self.base ** own["digits"]
            sums = full[-top : high - top, -left : wide - left] + step["bias"]
            sums = sums + divisor * own["offset"]
            quotients, rest = sums // divisor, sums % divisor
            if self.lie == "other order" and number == len(self.sums) - 2:
                quotients = quotients[..., ::-1].copy()  # scores, the last first
            if self.lie == "other decision" and step["sum"] == "decided":
                flat, less = quotients.reshape(-1), rest.reshape(-1)  # views of both
                at = max(np.flatnonzero(flat == 0), key=less.__getitem__)
                flat[at], less[at] = 1, less[at] - divisor
            hints[f"q{number}"] = list(quotients.reshape(-1))
            for n in range(own["digits"]):
                digits = rest // self.base**n
                if n < own["digits"] - 1:
                    digits = digits % self.base
                hints[f"lo{number}" + (f".{n}" if n else "")] = list(digits.reshape(-1))
            edge = [y for y in range(len(full)) if not -top <= y < high - top]
            hints[f"rows{number}"] = list(full[edge].reshape(-1))
            edge = [x for x in range(full.shape[1]) if not -left <= x < wide - left]
            inner = full[-top : high - top]
            hints[f"columns{number}"] = list(inner[:, edge].reshape(-1))
            meant = quotients - own["offset"]
            read = np.maximum(quotients, 0) if step["sum"] == "rectified" else meant
            if step["sum"] == "result":
                read = sums - divisor * own["offset"]
            rows.append(read.reshape(-1))
            number += 1
        return hints, [list(self.read(v, rows).reshape(-1)) for v in self.outputs]

    def folded(self, challenges: list[int]) -> list[int]:
        """What the weights fold to, sum by sum. (Of circuits none of whose rows are offset.)"""
        r, row, column = challenges[:3]
        found: list[int] = []

        def under(values: Iterable[int]) -> int:
            return sum(pow(r, f + 1, P) * int(v) for f, v in enumerate(values)) % P

        for step in self.steps:
            if "op" in step:
                continue
            spans = [self.span(step, which) for which in (0, 1)]
            bases = [
                base if last > first else 1
                for base, (first, last) in zip((row, column), spans, strict=True)
            ]
            ends = [[0], [0]]
            for term in step["terms"]:
                axes = term["axes"]
                for n in (0, 1):
                    ends[n].append((axes[n]["taps"] - 1) * axes[n]["dilation"] // axes[n]["stride"])
                channels = term["view"]["places"].shape[2]
                outputs, own = term["weights"].shape[:2]
                ours = outputs * own // channels
                for y in range(axes[0]["stride"]):
                    for x in range(axes[1]["stride"]):
                        for c in range(channels):
                            total = 0
                            for t in range(axes[0]["taps"]):
                                for u in range(axes[1]["taps"]):
                                    power, mine = 1, True
                                    for n, tap, phase in ((0, t, y), (1, u, x)):
                                        at = tap * axes[n]["dilation"]
                                        mine &= at % axes[n]["stride"] == phase
                                        back = ends[n][-1] - at // axes[n]["stride"] + 1
                                        power *= pow(bases[n], back, P)
                                    if mine:
                                        w = np.zeros(outputs, dtype=object)
                                        group = slice(c // own * ours, (c // own + 1) * ours)
                                        w[group] = term["weights"][group, c % own, t, u]
                                        total += under(w) * power
                            found.append(total % P)
            places = [
                sum(pow(base, max(e) + 2 + n, P) for n in range(step["shape"][which]))
                for which, (base, e) in enumerate(zip(bases, ends, strict=True))
            ]
            found.append(under(step["bias"]) * places[0] * places[1] % P)
        return found


class Prover:
    """Any circuit whose commitments are one column."""

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
        found["salt"] = [
            self.base - ((1 << self.logrows) - 8) + secrets.randbelow((1 << self.logrows) - 8)
            for _ in range(self.header["looked_up"])
        ]
        found["sum"] = [sum(max(n, 0) for n in found["salt"])]
        if self.names_input:
            found["blinding"] = [secrets.randbelow(P) for _ in range(6)]
        return found

    def tensor(self, hints: Hints) -> list[str]:
        flat = [felt(n) for part in hints.values() for n in part]
        room = (1 << self.logrows) - 12
        assert len(flat) <= room, "one column"
        return [felt(secrets.randbelow(P)) for _ in range(6)] + flat

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
        paths = [str(self.folder / n) for n in ("vk", "settings.json", "srs")]
        point: Any
        (point,) = ezkl.kzg_commit(tensor, *paths)
        return bytes.fromhex(point.x)[::-1] + bytes.fromhex(point.y)[::-1]

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
            if name not in hints:  # results have remainders only where weights are sealed
                continue
            size = len(hints[name]) // 3
            first, second = hints[name][:size], hints[name][size : 2 * size]
            hints[name][: 2 * size] = second + first

    return bend


def _carried(hints: Hints, quotient: str, remainder: str, base: int) -> None:
    """A quotient larger by one and a remainder below zero, where that is least so."""
    low = hints[remainder]
    at = max(range(len(low)), key=low.__getitem__)
    hints[quotient][at] += 1
    low[at] -= base


#: The hints of ``tests.integration.test_committed.network``.
_HIDDEN = ("q0", "lo0", "rows0", "columns0", "q1", "lo1", "q2", "lo2")
BENDS: dict[str, Callable[[Hints, int], None]] = {
    "quotient": _raise("q0", 3, 1),
    "remainder": lambda h, _: h["lo0"].__setitem__(3, (h["lo0"][3] + 1) % 2),
    "hidden quotient": _raise("q1", 0, 1),
    "border": _raise("rows0", 2, 1),
    "column": _raise("columns0", 2, 1),
    "sum of salt": _raise("sum", 0, 1),
    "negative remainder": lambda h, base: _both(_raise("q0", 5, 1), _raise("lo0", 5, -base))(h, 0),
    "rounded to the next": lambda h, base: _carried(h, "q0", "lo0.2", base),
    "result": _raise("q2", 0, 1),
    "negative input": lambda h, _: h["input"].__setitem__(5, -3),
    # Of three lanes: 72 quotients and 5 hidden ones, 3 results each.
    "quotient of the last lane": _raise("q0", 2 * 72 + 3, 1),
    "border of the last lane": _raise("rows0", -1, 1),
    "result of the last lane": _raise("q2", 2 * 3, 1),
    "results that cancel": _both(_raise("q2", 0, 1), _raise("q2", 3, -1)),
    "quotients that cancel": _both(_raise("q0", 3, 1), _raise("q0", 72 + 3, -1)),
    "lanes told apart by nothing": _both(_raise("q2", 0, 1), _raise("q2", 3, -1)),
    "results swapped": _swap("q2", "lo2"),
    "lanes swapped behind the input": _swap(*_HIDDEN),
    "whole lanes swapped": _swap("input", *_HIDDEN),
}


def by_name(text: str) -> Callable[[Hints, int], None]:
    """``NAME NUMBER``: an element of a hint nearer to zero by one, or one; ``carry SUM``: a
    quotient larger by one and a remainder below zero, where that is least so; else nothing.
    (Look-ups beyond the table make the engine wait for ever.)"""
    name, _, place = text.partition(" ")

    def nearer(hints: Hints, _: int) -> None:
        own = hints[name][int(place)]
        hints[name][int(place)] += 1 if own <= 0 else -1

    if name == "carry":
        return lambda h, base: _carried(h, f"q{place}", f"lo{place}", base)
    return nearer if place.isdecimal() else unbent


def _borrowed(hints: Hints, base: int) -> None:
    """An input's higher digit larger by one and the lower one below zero: of an element that
    ``tests.integration.test_committed_trees.tree`` compares."""
    low = hints["input"]
    at = max((0, 5, 12, 20, 29, 35), key=low.__getitem__)
    hints["input-0-1"][at] += 1
    low[at] -= base


BENDS["borrowed digit"] = _borrowed
BENDS["input below the table"] = _raise("input", 5, -3)
BENDS["constant after challenges"] = _raise("q2", 2, 1)
BENDS["result and weights"] = BENDS["weights under challenges"] = BENDS["result"]


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
