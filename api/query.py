"""Query parameters that a route does not know are refused, as fields of a body are."""

from __future__ import annotations

from fastapi import Request

from api.problem import RequestInvalid


async def refuse_unknown(request: Request) -> None:
    """Raises ``RequestInvalid``, which names the parameter that the OpenAPI document has not."""
    given = set(request.query_params)
    if given and (strange := sorted(given - _known(request))):
        raise RequestInvalid(
            f"This route has no query parameter {strange[0][:100]!r}.",
            advice="Leave it out; /docs lists those that there are.",
        )


def _known(request: Request) -> set[str]:
    operations = request.app.openapi()["paths"][request.scope["route"].path]
    parameters = operations[request.method.lower()].get("parameters", [])
    return {p["name"] for p in parameters if p["in"] == "query"}
