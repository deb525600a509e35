"""The common part of both clients: address, key, and making a request from a call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from api.client.calls import Call
from api.client.models import Event
from api.client.retries import Retries

#: Seconds of one `Prefer: wait`; longer waits repeat it.
WAIT_S = 30
#: Polling interval for resources without `Prefer: wait`, in seconds.
LOOK_S = 1.0


class Connection:
    """The service's address and credentials. ``api_key`` is sent as a bearer token."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        retries: Retries | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._retries = retries or Retries()
        self._options: dict[str, Any] = {"base_url": base_url, "timeout": timeout_s}
        if api_key is not None:
            self._options["headers"] = {"Authorization": f"Bearer {api_key}"}

    def _request(self, call: Call[Any]) -> dict[str, Any]:
        """The call as arguments of httpx, without its body."""
        headers = dict(call.headers)
        timeout: Any = self._timeout_s
        if call.wait_s:
            headers["Prefer"] = f"wait={call.wait_s}"
            timeout = self._timeout_s + call.wait_s
        if call.untimed:
            timeout = httpx.Timeout(self._timeout_s, read=None)
        return {
            "method": call.method,
            "url": call.path,
            "params": call.params,
            "headers": headers,
            "json": call.json,
            "files": call.files,
            "data": call.form,
            "timeout": timeout,
        }


@dataclass
class Place:
    """The position in an event stream: the newest event, and attempts since."""

    seq: int = 0
    attempt: int = 1

    def headers(self) -> dict[str, str]:
        return {"Last-Event-ID": str(self.seq)} if self.seq else {}

    def event(self, data: str) -> Event:
        """Parses an event and advances the position."""
        event = Event.model_validate_json(data)
        self.seq = event.seq
        return event


class EventReader:
    """Parses the lines of an event stream. The service's events have all data in one `data` line.

    An event is complete at the empty line after it (WHATWG HTML, 9.2.6); partial events are
    ignored.
    """

    def __init__(self) -> None:
        self._data: str | None = None

    def feed(self, line: str) -> str | None:
        """The data of the event that this line completes, or None."""
        if line.startswith("data:"):
            self._data = line.removeprefix("data:")
        elif not line and self._data is not None:
            data, self._data = self._data, None
            return data
        return None


async def sent_slowly(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """A body for the asynchronous client; reads the caller's iterator in a thread."""
    for chunk in chunks:
        yield chunk
