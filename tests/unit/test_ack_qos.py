"""A message whose acknowledgement failed does not keep a worker from the next one."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from workers.ack_qos import ForgettingQoS


class Gone(ForgettingQoS):
    """With a server that closes the connection."""

    def _remove_from_indices(self, delivery_tag: str, pipe: Any = None) -> Any:
        raise RedisConnectionError("Connection closed by server.")


class Channel:
    """As much of a channel as counting asks for."""

    do_restore = False

    def __init__(self) -> None:
        self.connection = None


def test_a_failed_acknowledgement_makes_room_for_the_next_message() -> None:
    qos: Any = Gone  # the transport has no types
    count = qos(Channel(), prefetch_count=1)
    count._delivered["tag"] = object()
    assert not count.can_consume()
    with pytest.raises(RedisConnectionError):
        count.ack("tag")
    assert count.can_consume()
