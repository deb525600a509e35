"""What both clients share: the address, the key, and how a call becomes a request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from api.client.calls import Call
from api.client.models import Event
from api.client.retries import Retries

#: Seconds asked for in one `Prefer: wait`; waiting longer asks again.
WAIT_S = 30
#: Between two looks at something that cannot be waited for.
LOOK_S = 1.0


class Connection:
    """Where the service is and how it is asked. ``api_key`` is sent as a bearer token."""

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
        """The call in httpx's words, but for its body."""
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
    """How far a stream of events has been read: the newest event, and attempts since."""

    seq: int = 0
    attempt: int = 1

    def headers(self) -> dict[str, str]:
        return {"Last-Event-ID": str(self.seq)} if self.seq else {}

    def event(self, data: str) -> Event:
        """The event of a stream's data; reading continues behind it."""
        event = Event.model_validate_json(data)
        self.seq = event.seq
        return event


class EventReader:
    """Events out of the lines of a stream. Ours carry everything in `data`, on one line.

    An event counts once the empty line after it has come (WHATWG HTML, 9.2.6): a torn one is not
    half-read.
    """

    def __init__(self) -> None:
        self._data: str | None = None

    def feed(self, line: str) -> str | None:
        """The data of the event that this line completes, if it does."""
        if line.startswith("data:"):
            self._data = line.removeprefix("data:")
        elif not line and self._data is not None:
            data, self._data = self._data, None
            return data
        return None


async def sent_slowly(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """A body for the asynchronous client; the caller's iterator is read in its thread."""
    for chunk in chunks:
        yield chunk
