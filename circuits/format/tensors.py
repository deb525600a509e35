"""Shapes and number formats at a circuit's border: what goes in, what comes out.

We quantise inputs ourselves and hand the engine raw field elements, so a verifier needs nothing
of the engine's floating-point code to rebuild a proof's public instances from a claimed input.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.errors import InputOutOfRange
from circuits.format.field import SIGNED_LIMIT, from_felt, to_felt

#: What to do about an integer that is out of range.
_WHOLE = (
    "An index beyond the model's own table has no answer, whatever the circuit. Where it has one,"
    " plan a circuit with calibration data that holds such numbers."
)

#: Categories of one input at most: each is compared with, and stands in every receipt.
MOST_CATEGORIES = 1024
#: Axes of an input that has columns.
_RANK = 2


def quantised(values: NDArray[Any], scale: int) -> NDArray[np.float64]:
    """Values in steps of 2^-scale, half away from zero, as EZKL's own quantisation rounds (Rust's
    f64::round)."""
    scaled = np.ldexp(values.astype(np.float64), scale)
    rounded: NDArray[np.float64] = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled)
    return rounded


#: A category of a column of numbers.
_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_PRESENT = "Plan a circuit with calibration data in which values are missing."


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """A named tensor of the model: ``dtype`` is a numpy name (``float32``, ``int64``, ``bool``).

    ``missing_of``: it is the mask of that input: true where a value is missing, which is 0 there.
    ``categories``: it holds places in this list of texts; with ``other`` also the place after the
    last, for any other text. ``column_of``: these stand for the numbers in that input's column
    ``column``, ``[rows, 1]``, where the input itself is 0.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    missing_of: str | None = None
    categories: tuple[str, ...] | None = None
    other: bool = False
    column_of: str | None = None
    column: int = 0

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def places(self) -> int:
        """How many categories there are, that of all other texts included."""
        return len(self.categories or ()) + self.other

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": self.dtype,
            "shape": list(self.shape),
            **self.meaning(),
        }

    def meaning(self) -> dict[str, Any]:
        """What its numbers stand for, where they are not the numbers that were sent."""
        if self.missing_of is not None:
            return {"missing_of": self.missing_of}
        if self.categories is None:
            return {}
        told: dict[str, Any] = {"categories": list(self.categories), "other": self.other}
        if self.column_of is not None:
            told |= {"column_of": self.column_of, "column": self.column}
        return told

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TensorSpec:
        categories = data.get("categories")
        return cls(
            name=data["name"],
            dtype=data["dtype"],
            shape=tuple(data["shape"]),
            missing_of=data.get("missing_of"),
            categories=None if categories is None else tuple(categories),
            other=data.get("other", False),
            column_of=data.get("column_of"),
            column=data.get("column", 0),
        )


def is_sent(tensor: Mapping[str, Any]) -> bool:
    """Whether people send an input, given as JSON: masks and columns follow from what they send."""
    return "missing_of" not in tensor and "column_of" not in tensor


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A model's inputs and outputs, in order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs' names."""
        return tuple(t.name for t in self.inputs)

    @property
    def sent(self) -> tuple[TensorSpec, ...]:
        """The inputs that people send: masks and columns of categories follow from these."""
        return tuple(t for t in self.inputs if is_sent(t.meaning()))

    @property
    def masks(self) -> dict[str, TensorSpec]:
        """The masks by the names of the inputs that may have missing values."""
        return {t.missing_of: t for t in self.inputs if t.missing_of is not None}

    def to_json(self) -> dict[str, Any]:
        return {
            "inputs": [t.to_json() for t in self.inputs],
            "outputs": [t.to_json() for t in self.outputs],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Signature:
        """Raises ``ValueError`` for a mask of no input, or categories that are none."""
        inputs = tuple(TensorSpec.from_json(t) for t in data["inputs"])
        check_meanings(inputs)
        return cls(inputs=inputs, outputs=tuple(TensorSpec.from_json(t) for t in data["outputs"]))


def dtype_bounds(dtype: str) -> tuple[int, int]:
    """The least and the largest number of a dtype."""
    if dtype == "bool":
        return 0, 1
    info = np.finfo(dtype) if dtype.startswith("float") else np.iinfo(dtype)
    return int(info.min), int(info.max)


def scale_wanted(dtype: str, wanted: int) -> int:
    """The scale of an input where one is asked for: integers count in steps of one at least."""
    return wanted if dtype.startswith("f") else min(wanted, 0)


def check_meanings(inputs: Sequence[TensorSpec]) -> None:
    """Raises ``ValueError`` unless each mask is one of an input of floats, the only one and of its
    shape, each list of categories holds some texts, each once, for integers, and each column is
    the only one of its place in a plain input of rows."""
    plain = {t.name: t.shape for t in inputs if not t.meaning()}
    columns: set[tuple[str, int]] = set()
    floats = {t.name: t.shape for t in inputs if t.dtype.startswith("float")}
    for tensor in inputs:
        if tensor.missing_of is not None:
            if tensor.dtype != "bool" or floats.pop(tensor.missing_of, None) != tensor.shape:
                raise ValueError(f"{tensor.name!r} is no mask of {tensor.missing_of!r}")
        elif (texts := tensor.categories) is not None and (
            tensor.dtype != "int64"
            or not 0 < len(texts) <= MOST_CATEGORIES
            or not all(isinstance(text, str) for text in texts)
            or len({*texts}) < len(texts)
            or type(tensor.other) is not bool
        ):
            raise ValueError(f"{tensor.name!r} has no list of categories")
        if tensor.column_of is not None:
            place = tensor.column_of, tensor.column
            if not _is_column(tensor, plain) or place in columns:
                raise ValueError(f"{tensor.name!r} is no column of {tensor.column_of!r}")
            columns.add(place)


def _is_column(tensor: TensorSpec, plain: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether it may stand for the numbers in a column of one of these inputs, by their shapes."""
    shape = plain.get(tensor.column_of) if isinstance(tensor.column_of, str) else None
    return (
        shape is not None
        and len(shape) == _RANK
        and tensor.shape == (shape[0], 1)
        and type(tensor.column) is int
        and 0 <= tensor.column < shape[1]
        and tensor.categories is not None
        and not tensor.other
        and all(_WHOLE_NUMBER.fullmatch(text) for text in tensor.categories)
    )


@dataclass(frozen=True, kw_only=True)
class InputEncoding:
    """How one model input becomes field elements: ``round_half_away(x · 2^scale)``.

    ``lower`` and ``upper`` bound the *accepted* values of x, in the model's own units.
    """

    tensor: TensorSpec
    scale: int
    lower: float
    upper: float

    @property
    def in_dtype(self) -> bool:
        """Whether accepted integers are such as the dtype holds."""
        low, high = dtype_bounds(self.tensor.dtype)
        return self.tensor.dtype.startswith("float") or low <= self.lower <= self.upper <= high

    def quantise(self, values: NDArray[Any]) -> list[int]:
        """Integers of one input, row-major.

        ``values`` has the tensor's shape. Raises ``InputOutOfRange`` naming the input, the first
        value outside and the range.
        """
        x = np.asarray(values, dtype=np.float64).reshape(-1)
        outside = ~((x >= self.lower) & (x <= self.upper))  # NaN is outside too
        if outside.any():
            at = int(outside.argmax())
            index = [int(i) for i in np.unravel_index(at, self.tensor.shape or (1,))]
            if self.tensor.missing_of is not None:
                raise InputOutOfRange(
                    f"input {self.tensor.missing_of!r} has a missing value at {index}; the circuit"
                    " accepts none",
                    advice=_PRESENT,
                    input=self.tensor.missing_of,
                    index=index,
                )
            whole = not self.tensor.dtype.startswith("float")
            raise InputOutOfRange(
                f"input {self.tensor.name!r} has {float(x[at])!r} at {index}; the circuit accepts"
                f" {self.lower!r} to {self.upper!r}",
                advice=_WHOLE if whole else None,
                input=self.tensor.name,
                index=index,
                value=repr(float(x[at])),
                lower=self.lower,
                upper=self.upper,
            )
        return [int(v) for v in quantised(x, self.scale)]

    def to_json(self) -> dict[str, Any]:
        return {
            **self.tensor.to_json(),
            "scale": self.scale,
            "lower": self.lower,
            "upper": self.upper,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> InputEncoding:
        return cls(
            tensor=TensorSpec.from_json(data),
            scale=data["scale"],
            lower=data["lower"],
            upper=data["upper"],
        )


@dataclass(frozen=True, kw_only=True)
class OutputEncoding:
    """How field elements become one model output: ``n / 2^scale``."""

    tensor: TensorSpec
    scale: int

    def decode(self, felts: list[str]) -> NDArray[np.float64]:
        """The output's values (float64, exact up to 2^53), in the tensor's shape.

        Raises ``ValueError`` for a wrong count, or an element too large to be a signed number.
        """
        if len(felts) != self.tensor.size:
            raise ValueError(f"{self.tensor.name}: {len(felts)} elements for {self.tensor.shape}")
        ints = [from_felt(f) for f in felts]
        if any(abs(n) >= SIGNED_LIMIT for n in ints):
            raise ValueError(f"{self.tensor.name}: an element is not a signed number")
        values = [math.ldexp(n, -self.scale) for n in ints]
        return np.array(values, dtype=np.float64).reshape(self.tensor.shape)

    def to_json(self) -> dict[str, Any]:
        return {**self.tensor.to_json(), "scale": self.scale}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> OutputEncoding:
        return cls(tensor=TensorSpec.from_json(data), scale=data["scale"])


@dataclass(frozen=True, kw_only=True)
class ContextEncoding:
    """How the 248-bit context digest enters the circuit: ``limbs`` elements of ``bits`` bits each.

    One limb of 248 bits where public inputs carry no range check; several small ones where they do
    (conservative profile), least significant first. ``limbs == 0``: the circuit binds no context.
    """

    limbs: int
    bits: int

    def encode(self, context: int) -> list[str]:
        """Felts of a context digest (``0 <= context < 2^248``)."""
        mask = (1 << self.bits) - 1
        return [to_felt((context >> (i * self.bits)) & mask) for i in range(self.limbs)]

    def to_json(self) -> dict[str, Any]:
        return {"limbs": self.limbs, "bits": self.bits}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ContextEncoding:
        return cls(limbs=data["limbs"], bits=data["bits"])
