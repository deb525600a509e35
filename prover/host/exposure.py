"""The addresses on which the service may listen without API keys: loopback only."""

from __future__ import annotations

import ipaddress
import socket

from prover.errors import ApiKeyNeeded
from prover.store import Store


def is_loopback(host: str) -> bool:
    """Whether ``host`` is a loopback address, or a name that resolves only to such. A name that
    does not resolve counts as reachable."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host or None, 0)}
    except OSError:
        return False
    return host != "" and all(ipaddress.ip_address(a).is_loopback for a in found)


def require_api_key(store: Store, host: str) -> None:
    """Raises ``ApiKeyNeeded`` unless a key exists."""
    if not store.has_api_keys():
        raise ApiKeyNeeded(f"There is no API key, and {host or 'that address'} is not loopback.")
