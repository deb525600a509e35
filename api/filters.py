"""The query parameters that filter lists, combined by AND."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query
from pydantic import AwareDatetime

from api.ids import Id
from prover.records.batch import BatchState
from prover.records.job import JobState
from prover.records.metadata import MAX_PAIRS, read_pairs
from prover.store.filters import Filter

_Model = Annotated[Id | None, Query(description="Of this model only.")]
_Circuit = Annotated[Id | None, Query(description="Of this circuit only.")]
_Since = Annotated[
    AwareDatetime | None, Query(description="Created at or after: RFC 3339 with UTC offset.")
]
_Before = Annotated[AwareDatetime | None, Query(description="Made before then.")]
_Pairs = Annotated[
    list[str] | None,
    Query(
        max_length=MAX_PAIRS,
        description="`key:value`, repeatable: metadata must have all of them.",
    ),
]


async def _of_jobs(
    state: JobState | None = None,
    model: _Model = None,
    circuit: _Circuit = None,
    created_since: _Since = None,
    created_before: _Before = None,
    metadata: _Pairs = None,
) -> Filter:
    return Filter(
        state=state,
        model_id=model,
        circuit_id=circuit,
        since=created_since,
        before=created_before,
        metadata=read_pairs(metadata or ()),
    )


async def _of_batches(
    state: BatchState | None = None,
    model: _Model = None,
    circuit: _Circuit = None,
    created_since: _Since = None,
    created_before: _Before = None,
    metadata: _Pairs = None,
) -> Filter:
    return Filter(
        state=state,
        model_id=model,
        circuit_id=circuit,
        since=created_since,
        before=created_before,
        metadata=read_pairs(metadata or ()),
    )


async def _of_models(
    created_since: _Since = None, created_before: _Before = None, metadata: _Pairs = None
) -> Filter:
    return Filter(since=created_since, before=created_before, metadata=read_pairs(metadata or ()))


async def _of_circuits(
    model: _Model = None,
    created_since: _Since = None,
    created_before: _Before = None,
    metadata: _Pairs = None,
) -> Filter:
    return Filter(
        model_id=model,
        since=created_since,
        before=created_before,
        metadata=read_pairs(metadata or ()),
    )


JobFilter = Annotated[Filter, Depends(_of_jobs)]
BatchFilter = Annotated[Filter, Depends(_of_batches)]
ModelFilter = Annotated[Filter, Depends(_of_models)]
CircuitFilter = Annotated[Filter, Depends(_of_circuits)]
