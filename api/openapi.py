"""The OpenAPI document: FastAPI's, with errors, access and examples added."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from api.access import OPTIONAL, needed, prefix_of
from api.errors import MEDIA_TYPE, responses

Responses = dict[int | str, dict[str, Any]]

_REF = "#/components/schemas/{model}"
_FASTAPI_OWN = ("HTTPValidationError", "ValidationError")
#: The examples of docs/http.md by route; ``make openapi`` extracts them.
_EXAMPLES = Path(__file__).with_name("examples.json")


def also(status: int, model: type[BaseModel], description: str) -> Responses:
    """The OpenAPI entry of another success status of a route."""
    return {status: {"model": model, "description": description}}


def event_stream(description: str) -> dict[str, Any]:
    """The OpenAPI entry of a server-sent event stream, and of each of its events."""
    text = {"type": "string"}
    item = {
        "type": "object",
        "properties": {"id": text, "event": text, "data": text},
        "required": ["id", "event", "data"],
    }
    # ``itemSchema`` is from OpenAPI 3.2; FastAPI writes it, and readers of 3.1 accept it.
    return {"description": description, "content": {"text/event-stream": {"itemSchema": item}}}


def complete(api: FastAPI, *extra: type[BaseModel]) -> None:
    """Makes ``api.openapi()`` describe this service's errors instead of FastAPI's, and the
    ``extra`` models, which are not a whole response body of any route."""
    generate = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            document = generate()
            _describe_errors(document, extra)
            _add_examples(document)
        assert api.openapi_schema is not None
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign]


def _describe_access(operation: dict[str, Any], method: str, path: str) -> None:
    """Describes the needed scopes and the responses without them."""
    scopes = needed(method, path)
    if scopes is None:
        return
    operation["security"] = [{"api_key": []}]
    operation["responses"] = {
        **{str(status): entry for status, entry in responses(401, 403, 429).items()},
        **operation["responses"],
    }
    if prefix_of(path) in OPTIONAL:
        operation["security"].append({})
    operation["x-scopes"] = sorted(scopes)


def _describe_errors(document: dict[str, Any], extra: tuple[type[BaseModel], ...]) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for model in extra:
        schema = model.model_json_schema(ref_template=_REF)
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = schema
    for name in _FASTAPI_OWN:
        schemas.pop(name, None)
    document["components"]["securitySchemes"] = {"api_key": {"type": "http", "scheme": "bearer"}}
    problem = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _describe_access(operation, method.upper(), path)
            answer = operation["responses"].get("422")
            if answer and "application/json" in answer.get("content", {}):
                operation["responses"]["422"] = {
                    "description": "Problem: `request_invalid`",
                    "content": problem,
                }


def _add_examples(document: dict[str, Any]) -> None:
    """Adds each route's commands as ``x-codeSamples``, and its bodies as ``example``."""
    shown = json.loads(_EXAMPLES.read_text())
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            own = shown.get(f"{method.upper()} {path}", {})
            if "shell" in own:
                operation["x-codeSamples"] = [{"lang": "Shell", "source": own["shell"]}]
            bodies = {"request": operation.get("requestBody", {}), **operation["responses"]}
            for label, body in bodies.items():
                if label in own:
                    for media, content in body["content"].items():
                        if media.endswith("json"):
                            content["example"] = own[label]
