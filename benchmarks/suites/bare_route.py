"""One FastAPI route that returns a given document: the minimum cost of a route.

``python -m benchmarks.suites.bare_route FILE`` prints its address, served as the API serves.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from api.__main__ import listen


def main(file: str) -> None:
    """Serves until it is terminated."""
    document: dict[str, Any] = json.loads(Path(file).read_text())
    app = FastAPI()

    @app.get("/v1/proofs/{job_id}")
    async def get_proof(job_id: str) -> dict[str, Any]:
        return document

    with listen("127.0.0.1", 0) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1])
