"""Metadata in bodies and queries: `prover.records.metadata` as pydantic reads it."""

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
        description="Words of your own: up to 16 short strings, returned and filtered by.",
        examples=[{"order": "4711"}],
    ),
]
#: The same as texts `key:value` of a query.
MetadataPairs = Annotated[
    list[str],
    AfterValidator(_pairs),
    Field(
        max_length=MAX_PAIRS,
        description="Words of your own, `key:value`; may be repeated up to 16 times.",
    ),
]
