"""One attempt against real receivers on this machine, well-behaved and not."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from prover.records.webhook import Due, SignatureScheme
from prover.webhooks.sender import Outcome, Sender
from prover.webhooks.signing import new_secret
from tests.cases.webhooks import ENDPOINT

SECRET = new_secret(SignatureScheme.HMAC)
PAYLOAD = {"type": "proof.succeeded", "timestamp": "t", "data": {"id": "ü"}}


@contextmanager
def receiver(answer: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[bytes]]]:
    """A server that reads one request per connection and passes the socket to ``answer``."""
    heard: list[bytes] = []
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(2)
                heard.append(_request(connection))
                with suppress(OSError):
                    answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/hook?x=1", heard
        finally:
            over.set()
            thread.join()


def _request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def says(text: str) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(text.replace("\n", "\r\n").encode())


def attempt(url: str, *, allow_private: bool = True, attempt_s: float = 5) -> Outcome:
    due = Due(
        endpoint=replace(ENDPOINT, url=url, secret=SECRET, previous_secret=None),
        event_id="msg_1",
        payload=PAYLOAD,
        number=1,
        tries=1,
        queued_at=datetime.now(UTC),
    )
    return Sender(allow_private=allow_private, attempt_s=attempt_s).send(due)


def test_what_arrives_is_verified_by_the_library_that_receivers_use() -> None:
    with receiver(says("HTTP/1.1 204 No Content\n\n")) as (url, heard):
        outcome = attempt(url)
    assert outcome.delivered
    head, _, body = heard[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert first == "POST /hook?x=1 HTTP/1.1"
    headers = dict(line.split(": ", 1) for line in lines)
    assert headers["content-type"] == "application/json"
    assert Webhook(SECRET).verify(body, headers) == PAYLOAD
    assert json.loads(body) == PAYLOAD


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 400, 404, 500, 503])
def test_everything_but_2xx_is_a_failure_and_a_redirect_is_not_followed(status: int) -> None:
    with receiver(says("HTTP/1.1 200 OK\nContent-Length: 0\n\n")) as (elsewhere, visited):
        answer = f"HTTP/1.1 {status} So\nLocation: {elsewhere}\nContent-Length: 0\n\n"
        with receiver(says(answer)) as (url, _):
            outcome = attempt(url)
        assert visited == []
    assert (outcome.status, outcome.delivered, outcome.gone) == (status, False, False)


def test_410_says_that_nothing_more_is_wanted() -> None:
    with receiver(says("HTTP/1.1 410 Gone\nContent-Length: 0\n\n")) as (url, _):
        assert attempt(url).gone


def test_retry_after_is_read() -> None:
    answer = "HTTP/1.1 503 Busy\nRetry-After: 90\nContent-Length: 0\n\n"
    with receiver(says(answer)) as (url, _):
        assert attempt(url).retry_after == timedelta(seconds=90)


def test_a_body_without_end_is_not_read() -> None:
    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with receiver(endless) as (url, _):
        started = time.monotonic()
        assert attempt(url).delivered
    assert time.monotonic() - started < 4


def test_a_slow_response_ends_with_the_attempt() -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for _ in range(100):
            connection.sendall(b"X-Slow: 1\r\n")
            time.sleep(0.1)

    with receiver(drip) as (url, _):
        outcome = attempt(url, attempt_s=0.5)
    assert (outcome.status, outcome.delivered) == (None, False)
    assert outcome.error is not None
    assert "no response within" in outcome.error
    assert outcome.duration_s < 5


@pytest.mark.parametrize(
    "answer", ["", "SSH-2.0-OpenSSH\n", "HTTP/1.1 abc\n\n", "HTTP/1.1 200 OK\nA: " + "x" * 200_000]
)
def test_what_is_not_http_is_a_failure_with_a_reason(answer: str) -> None:
    with receiver(says(answer)) as (url, _):
        outcome = attempt(url, attempt_s=3)
    assert not outcome.delivered
    assert outcome.error


def test_a_closed_port_and_an_unknown_name_are_failures_with_a_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/", "https://no-such-name.invalid/"):
        outcome = attempt(url)
        assert not outcome.delivered
        assert outcome.error


def test_what_was_allowed_when_it_was_registered_is_refused_at_the_attempt() -> None:
    with receiver(says("HTTP/1.1 200 OK\n\n")) as (url, heard):
        for refused in (url, url.replace("http:", "https:")):
            outcome = attempt(refused, allow_private=False)
            assert not outcome.delivered
            assert outcome.error
    assert heard == []
