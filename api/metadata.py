"""Metadata in bodies and queries: pydantic types for `prover.records.metadata`."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from circuits.errors import ZkmlError
from prover.records.metadata import MAX_PAIRS, read_metadata, read_pairs


def _checked(pairs: dict[str, str]) -> dict[str, str]:
    try:
        return read_metadata(pairs)
    except ZkmlError as error:
        raise ValueError(error.detail) from None


def _pairs(texts: list[str]) -> list[str]:
    try:
        read_pairs(texts)
    except ZkmlError as error:
        raise ValueError(error.detail) from None
    return texts


#: An object of short strings.
Metadata = Annotated[
    dict[str, str],
    AfterValidator(_checked),
    Field(
        max_length=MAX_PAIRS,
        description="Your own metadata: up to 16 short strings, for filters.",
        examples=[{"order": "4711"}],
    ),
]
#: The same as query parameters `key:value`.
MetadataPairs = Annotated[
    list[str],
    AfterValidator(_pairs),
    Field(
        max_length=MAX_PAIRS,
        description="Your own metadata, `key:value`; repeatable up to 16 times.",
    ),
]
