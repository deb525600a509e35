"""The query parameters that filter lists, combined by AND."""

from __future__ import annotations

from dataclasses import replace
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
_Batch = Annotated[
    Id | None,
    Query(description="Those that this batch's items share, which are not listed otherwise."),
]
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


async def _of_models(
    created_since: _Since = None, created_before: _Before = None, metadata: _Pairs = None
) -> Filter:
    return Filter(since=created_since, before=created_before, metadata=read_pairs(metadata or ()))


ModelFilter = Annotated[Filter, Depends(_of_models)]


async def _of_circuits(rest: ModelFilter, model: _Model = None) -> Filter:
    return replace(rest, model_id=model)


CircuitFilter = Annotated[Filter, Depends(_of_circuits)]


async def _of_batches(
    rest: CircuitFilter, circuit: _Circuit = None, state: BatchState | None = None
) -> Filter:
    return replace(rest, circuit_id=circuit, state=state)


BatchFilter = Annotated[Filter, Depends(_of_batches)]


async def _of_jobs(
    rest: CircuitFilter,
    circuit: _Circuit = None,
    batch: _Batch = None,
    state: JobState | None = None,
) -> Filter:
    return replace(rest, circuit_id=circuit, batch_id=batch, state=state)


JobFilter = Annotated[Filter, Depends(_of_jobs)]
