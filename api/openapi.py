"""The OpenAPI document: FastAPI's, completed with what it cannot know."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from api.errors import MEDIA_TYPE

Responses = dict[int | str, dict[str, Any]]

_REF = "#/components/schemas/{model}"
_FASTAPI_OWN = ("HTTPValidationError", "ValidationError")


def also(status: int, model: type[BaseModel], description: str) -> Responses:
    """The OpenAPI entry of a second status that a route may answer with."""
    return {status: {"model": model, "description": description}}


def complete(api: FastAPI, *extra: type[BaseModel]) -> None:
    """Makes ``api.openapi()`` describe our errors in place of FastAPI's, and the ``extra`` models,
    which no route returns as a whole body."""
    generate = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            _describe_errors(generate(), extra)
        assert api.openapi_schema is not None
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign]


def _describe_errors(document: dict[str, Any], extra: tuple[type[BaseModel], ...]) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for model in extra:
        schema = model.model_json_schema(ref_template=_REF)
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = schema
    for name in _FASTAPI_OWN:
        schemas.pop(name, None)
    problem = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}}
    for operations in document["paths"].values():
        for operation in operations.values():
            answer = operation["responses"].get("422")
            if answer and "application/json" in answer.get("content", {}):
                operation["responses"]["422"] = {
                    "description": "Problem: `request_invalid`",
                    "content": problem,
                }
