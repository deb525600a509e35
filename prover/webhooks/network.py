"""SSRF protection: webhooks may only go to public addresses.

A receiver's URL is untrusted and must not reach this machine, its network or a cloud's metadata
service. For each connection a name is resolved once, all its addresses are checked, the socket is
opened to a checked address instead of the name, and the peer is checked again before a byte is
sent. The name is never resolved a second time, which prevents DNS rebinding. Proxies of the
environment are not used, because they would resolve the name themselves.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpcore

from prover.records.webhook_errors import WebhookUrlRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
#: Returns a name's addresses as strings; raises ``OSError`` without one.
Resolve = Callable[[str, int], list[str]]
#: Opens a TCP connection to an address.
Connect = Callable[[tuple[str, int], float], socket.socket]

MAX_URL = 2048
#: Metadata services at formally public addresses (Azure's), or at addresses that ``ipaddress``
#: considers public in some Python versions (Oracle's, in 192.0.0.0/24).
_METADATA = tuple(map(ipaddress.ip_network, ("168.63.129.16/32", "192.0.0.0/24")))
#: Networks that embed an IPv4 address: the well-known NAT64 prefix (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether an address is on the public internet. An IPv6 address with an embedded IPv4 address
    (mapped, 6to4, NAT64) is judged by that."""
    if isinstance(address, ipaddress.IPv6Address):
        carried = _carried(address)
        if carried is not None:
            return is_public(carried)
        if address.is_site_local:
            return False
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not address.is_unspecified
        and not any(address in network for network in _METADATA)
    )


def _carried(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


def resolve(host: str, port: int) -> list[str]:
    """The system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def check_url(url: str, *, allow_private: bool, resolver: Resolve = resolve) -> None:
    """Raises ``WebhookUrlRefused`` for a URL that is not allowed. A name that does not resolve now
    passes, since it may resolve later."""
    parts = _parts(url, allow_private)
    assert parts.hostname is not None
    if allow_private:
        return
    try:
        addresses = resolver(parts.hostname, parts.port or 443)
    except (OSError, UnicodeError):
        return
    _refuse_private(parts.hostname, addresses)


def _parts(url: str, allow_private: bool) -> SplitResult:
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise WebhookUrlRefused(
            f"A URL has at most {MAX_URL} printable ASCII characters and no space."
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise WebhookUrlRefused(f"The URL cannot be read: {error}.") from None
    if parts.scheme not in ({"https", "http"} if allow_private else {"https"}):
        raise WebhookUrlRefused("The URL does not begin with https://.")
    if not parts.hostname or port == 0:
        raise WebhookUrlRefused("The URL has no valid host.")
    if parts.username is not None or parts.password is not None:
        raise WebhookUrlRefused("The URL has a user name or a password; use the signature instead.")
    if parts.fragment:
        raise WebhookUrlRefused("The URL has a fragment, which is never sent.")
    return parts


def _refuse_private(host: str, addresses: Iterable[str]) -> None:
    for text in addresses:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            raise WebhookUrlRefused(f"{host} does not resolve to an IP address.") from None
        if not is_public(address):
            # The address is not shown: callers could map the network.
            raise WebhookUrlRefused(f"{host} resolves to an address that is not public.")


def connect(address: tuple[str, int], timeout_s: float) -> socket.socket:
    """Opens a TCP connection."""
    return socket.create_connection(address, timeout_s)


class GuardedNetwork(httpcore.NetworkBackend):
    """Connections of one attempt: only to public addresses, and closed by ``ends`` (monotonic
    time), however slow the receiver is."""

    def __init__(
        self,
        ends: float,
        *,
        allow_private: bool,
        resolver: Resolve = resolve,
        connector: Connect = connect,
    ) -> None:
        self._ends = ends
        self._allow_private = allow_private
        self._resolve = resolver
        self._connect = connector

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Raises ``httpcore.ConnectError`` or ``ConnectTimeout``, and ``WebhookUrlRefused``."""
        try:
            addresses = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} does not resolve: {error}") from error
        self._check(host, addresses)
        last: Exception = httpcore.ConnectError(f"{host} does not resolve")
        for address in addresses:
            try:
                opened = self._connect((address, port), _left(self._ends, timeout))
            except TimeoutError as error:
                last = httpcore.ConnectTimeout(str(error))
            except OSError as error:
                last = httpcore.ConnectError(str(error))
            else:
                return self._guarded(host, opened)
        raise last

    def _check(self, host: str, addresses: Iterable[str]) -> None:
        if not self._allow_private:
            _refuse_private(host, addresses)

    def _guarded(self, host: str, opened: socket.socket) -> httpcore.NetworkStream:
        try:
            self._check(host, [str(opened.getpeername()[0])])
        except BaseException:
            opened.close()
            raise
        return _Stream(opened, self._ends)


class _Stream(httpcore.NetworkStream):
    """A socket whose operations all time out with the attempt."""

    def __init__(self, opened: socket.socket, ends: float) -> None:
        self._socket = opened
        self._ends = ends

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            self._socket.settimeout(_left(self._ends, timeout))
            return self._socket.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            while buffer:
                self._socket.settimeout(_left(self._ends, timeout))
                buffer = buffer[self._socket.send(buffer) :]
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        try:
            self._socket.settimeout(_left(self._ends, timeout))
            wrapped = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except TimeoutError as error:
            self.close()
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            self.close()
            raise httpcore.ConnectError(str(error)) from error
        return _Stream(wrapped, self._ends)


def _left(ends: float, timeout: float | None) -> float:
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError("the attempt took too long")
    return left if timeout is None else min(left, timeout)
