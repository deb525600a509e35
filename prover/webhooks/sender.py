"""One attempt to deliver one event."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import httpcore
import httpx

from circuits.format.digests import canonical_json
from prover.records.webhook import Due
from prover.records.webhook_errors import WebhookUrlRefused
from prover.webhooks import signing
from prover.webhooks.network import (
    Connect,
    GuardedNetwork,
    Resolve,
    check_url,
    connect,
    resolve,
)
from prover.webhooks.schedule import parse_retry_after

#: Time limit of a response, from the first packet to the last header, in seconds.
ATTEMPT_S = 15.0
_GONE = 410
_MAX_ERROR = 200


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of an attempt: a response status, or an error."""

    at: datetime
    duration_s: float
    status: int | None = None
    error: str | None = None
    retry_after: timedelta | None = None

    @property
    def delivered(self) -> bool:
        """Any 2xx. A redirect is a failure: following it would send a signed body elsewhere."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether the receiver asked to be disabled (410)."""
        return self.status == _GONE


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Makes attempts; thread-safe."""

    allow_private: bool
    attempt_s: float = ATTEMPT_S
    resolver: Resolve = resolve
    connector: Connect = connect
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    tls: ssl.SSLContext = field(default_factory=httpx.create_ssl_context)

    def send(self, due: Due) -> Outcome:
        """Posts an event and reads the response's head. Never raises because of a receiver."""
        at, started = self.clock(), time.monotonic()

        def outcome(**found: object) -> Outcome:
            return Outcome(at=at, duration_s=time.monotonic() - started, **found)  # type: ignore[arg-type]

        try:
            # Checked again, since the operator may have changed the setting.
            check_url(due.endpoint.url, allow_private=self.allow_private, resolver=_unresolved)
            status, retry_after = self._post(due, at, started)
        except WebhookUrlRefused as error:
            return outcome(error=error.detail[:_MAX_ERROR])
        except (httpcore.TimeoutException, TimeoutError):
            return outcome(error=f"no response within {self.attempt_s:.0f} s")
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            return outcome(error=f"{type(error).__name__}: {error}"[:_MAX_ERROR])
        return outcome(status=status, retry_after=parse_retry_after(retry_after, at))

    def _post(self, due: Due, at: datetime, started: float) -> tuple[int, str | None]:
        body = canonical_json(due.payload).decode()
        signed = signing.headers(due.event_id, body, at, signing.secrets_at(due.endpoint, at))
        sent = {
            "content-type": "application/json",
            "user-agent": f"zkml-prover/{version('zkml-prover')}",
            "accept": "*/*",
            **signed,
        }
        network = GuardedNetwork(
            started + self.attempt_s,
            allow_private=self.allow_private,
            resolver=self.resolver,
            connector=self.connector,
        )
        with (
            # A new connection for each attempt, so that its address is checked each time.
            httpcore.ConnectionPool(
                ssl_context=self.tls, network_backend=network, max_keepalive_connections=0
            ) as pool,
            pool.stream(
                "POST", due.endpoint.url, headers=list(sent.items()), content=body.encode()
            ) as answer,
        ):
            # The body is not read: its length is untrusted and its content irrelevant.
            found = [v for k, v in answer.headers if k.lower() == b"retry-after"]
            return answer.status, found[0].decode("latin-1") if found else None


def _unresolved(host: str, port: int) -> list[str]:
    """Leaves resolving and checking a name to the connection."""
    raise OSError
