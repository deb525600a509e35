"""The file ``network``, and the hints that follow from it and an input."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tests.dishonest_hints.points import P

#: Each part's elements of all lanes, lane after lane.
Hints = dict[str, list[int]]


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
                if (asked := term.get("lookup")) is not None:
                    entries = self.entries(x * asked["times"])
                    inner += entries * (x * asked["tilt"] + asked["height"])
            else:
                a, b = (self.read(term[name], rows) for name in ("left", "right"))
                if term["term"] == "pointwise":
                    inner += a * b * int(term["factor"])
                else:
                    for n in range(len(a)):
                        inner[n] += a[n].dot(b[n]) * int(term["factor"])
        return found

    def entries(self, numbers: Any) -> Any:
        """Those of the table of functions, rounded half away from zero."""
        table = self.header["steps"]["function"]
        one, function = 2 ** table["scale"], getattr(math, table["op"].lower())

        def entry(n: int) -> int:
            exact = one * function(int(n) / one)
            return int(math.copysign(math.floor(abs(exact) + 0.5), exact))

        return np.array([entry(n) for n in numbers.reshape(-1)], dtype=object).reshape(
            numbers.shape
        )

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
