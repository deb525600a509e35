"""A load generator on plain sockets, so that the client costs less than the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

#: Makes the n-th request, as bytes of HTTP/1.1.
Request = Callable[[int], bytes]
_READ = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Load:
    """The result: seconds of each answered request, and the number of refused ones."""

    latencies_s: list[float]
    total_s: float
    refused: int

    def metrics(self) -> dict[str, float]:
        """Median, 99th percentile, and responses per second."""
        return {
            "latency_s": float(np.percentile(self.latencies_s, 50)),
            "p99_s": float(np.percentile(self.latencies_s, 99)),
            "throughput_per_s": len(self.latencies_s) / self.total_s,
        }


def request(
    base_url: str,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> bytes:
    """One request on a persistent connection."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {urlsplit(base_url).netloc}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def load(base_url: str, make: Request, *, total: int, connections: int) -> Load:
    """Sends ``total`` requests over ``connections`` connections, each sequentially. Raises
    ``OSError`` for a broken connection."""
    latencies: list[float] = []
    refused = 0
    numbers = iter(range(total))

    async def one_connection() -> None:
        nonlocal refused
        reader, writer = await connect(base_url)
        try:
            for number in numbers:
                sent = make(number)
                begin = time.perf_counter()
                writer.write(sent)
                status = await _answer(reader)
                latencies.append(time.perf_counter() - begin)
                refused += status >= 400
        finally:
            writer.close()

    begin = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(one_connection())
    return Load(latencies_s=latencies, total_s=time.perf_counter() - begin, refused=refused)


async def connect(base_url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the service."""
    parts = urlsplit(base_url)
    return await asyncio.open_connection(parts.hostname, parts.port)


async def until(reader: asyncio.StreamReader, mark: bytes) -> bool:
    """Reads a stream up to ``mark``; False if it ends before."""
    seen = b""
    while mark not in seen:
        chunk = await reader.read(_READ)
        if not chunk:
            return False
        seen = seen[-len(mark) :] + chunk
    return True


async def _answer(reader: asyncio.StreamReader) -> int:
    """Reads one response with a Content-Length; returns its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    status_line, *fields = head.decode("latin-1").split("\r\n")
    length = next(
        (int(f.split(":")[1]) for f in fields if f.lower().startswith("content-length:")), 0
    )
    await reader.readexactly(length)
    return int(status_line.split()[1])
