"""Where the service may listen without anybody needing a key: on loopback only."""

from __future__ import annotations

import ipaddress
import socket

from prover.errors import ApiKeyNeeded
from prover.store import Store


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on ``host``: an address, or a name whose every
    address is one of loopback. What cannot be looked up counts as reachable."""
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
    """Raises ``ApiKeyNeeded`` unless a key was made."""
    if not store.has_api_keys():
        raise ApiKeyNeeded(f"No API key was made, and {host or 'that address'} is not loopback.")
