"""Refuses unknown query parameters, as unknown fields of a body are refused."""

from __future__ import annotations

from fastapi import Request

from api.problem import RequestInvalid


async def refuse_unknown(request: Request) -> None:
    """Raises ``RequestInvalid`` for a parameter that is not in the OpenAPI document."""
    given = set(request.query_params)
    if given and (strange := sorted(given - _known(request))):
        raise RequestInvalid(
            f"This route has no query parameter {strange[0][:100]!r}.",
            advice="Omit it; /docs lists the parameters.",
        )


def _known(request: Request) -> set[str]:
    operations = request.app.openapi()["paths"][request.scope["route"].path]
    parameters = operations[request.method.lower()].get("parameters", [])
    return {p["name"] for p in parameters if p["in"] == "query"}
