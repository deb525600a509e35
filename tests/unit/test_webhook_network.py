"""Where webhooks may go, and where they may not whatever a name resolves to."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpcore
import pytest

from prover.records.webhook_errors import WebhookUrlRefused
from prover.webhooks.network import GuardedNetwork, check_url, is_public

PUBLIC = "93.184.215.14"


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "127.8.9.10",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "100.100.100.200",  # metadata
        "169.254.169.254",  # metadata
        "168.63.129.16",  # metadata
        "192.0.0.192",  # metadata
        "198.18.0.1",
        "203.0.113.5",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",  # metadata
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo
    ],
)
def test_what_is_not_on_the_public_internet_is_refused(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text",
    [PUBLIC, "1.1.1.1", "2606:4700:4700::1111", f"::ffff:{PUBLIC}", "64:ff9b::101:101"],
)
def test_what_is_public_is_let_through(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "https://",
        "https:///path",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://user:word@example.com/",
        "https://example.com/#part",
        "https://example.com/a b",
        "https://example.com/\r\nX-Injected: 1",
        "https://exa\x00mple.com/",
        "https://exämple.com/",
        "https://[::1/",
        "https://example.com/" + "x" * 3000,
        "javascript:alert(1)",
        "//example.com/",
        "",
    ],
)
def test_what_is_no_address_of_a_receiver_is_refused(url: str) -> None:
    with pytest.raises(WebhookUrlRefused):
        check_url(url, allow_private=False, resolver=lambda *_: [PUBLIC])


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "2130706433", "0x7f.1"])
def test_a_url_that_means_this_machine_is_refused_however_it_is_written(host: str) -> None:
    with pytest.raises(WebhookUrlRefused):
        check_url(f"https://{host}/hook", allow_private=False)


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    with pytest.raises(WebhookUrlRefused):
        check_url("https://a.example/", allow_private=False, resolver=lambda *_: [PUBLIC, "::1"])


def test_a_name_that_does_not_resolve_yet_may_be_registered() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise OSError

    check_url("https://soon.example/", allow_private=False, resolver=unknown)


def test_a_port_of_the_urls_own_and_a_query_are_kept() -> None:
    check_url("https://a.example:8443/x?y=1", allow_private=False, resolver=lambda *_: [PUBLIC])


@contextmanager
def listener() -> Iterator[tuple[int, list[bytes]]]:
    """A port of this machine, and what each connection to it sent first."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        over = threading.Event()

        def accept() -> None:
            while not over.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(0.3)
                    try:
                        heard.append(connection.recv(100))
                    except TimeoutError:
                        heard.append(b"")

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1], heard
        finally:
            over.set()
            thread.join()


def test_dns_rebinding_between_check_and_connection_is_refused() -> None:
    """DNS rebinding: public when it is registered, this machine when it is used."""
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    with listener() as (port, heard):
        url = f"https://rebound.example:{port}/"
        check_url(url, allow_private=False, resolver=rebinding)
        network = GuardedNetwork(time.monotonic() + 5, allow_private=False, resolver=rebinding)
        with pytest.raises(WebhookUrlRefused):
            network.connect_tcp("rebound.example", port)
        time.sleep(0.2)
    assert heard == []
    assert len(asked) == 2


def test_the_socket_is_opened_to_the_checked_address_and_the_name_is_asked_once() -> None:
    connected: list[str] = []
    asked: list[str] = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return [PUBLIC]

    def connector(address: tuple[str, int], timeout_s: float) -> socket.socket:
        connected.append(address[0])
        raise OSError("as far as this test goes")

    network = GuardedNetwork(
        time.monotonic() + 5, allow_private=False, resolver=resolver, connector=connector
    )
    with pytest.raises(httpcore.ConnectError):
        network.connect_tcp("once.example", 443)
    assert (asked, connected) == (["once.example"], [PUBLIC])


def test_a_connection_that_ends_up_on_this_machine_is_closed_before_a_byte_is_sent() -> None:
    """A router that sends a public address here: only the connection itself shows it."""
    with listener() as (port, heard):

        def redirected(address: tuple[str, int], timeout_s: float) -> socket.socket:
            return socket.create_connection(("127.0.0.1", port), timeout_s)

        network = GuardedNetwork(
            time.monotonic() + 5,
            allow_private=False,
            resolver=lambda *_: [PUBLIC],
            connector=redirected,
        )
        with pytest.raises(WebhookUrlRefused):
            network.connect_tcp("routed.example", 443)
        time.sleep(0.2)
    assert heard in ([b""], [])  # closed without a word, whether or not it was accepted by then
