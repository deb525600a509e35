"""A worker that continues when its acknowledgement of a message meets a queue that restarts.

kombu's Redis transport counts a message as in work until Redis has taken its acknowledgement. Where
that call fails the message counts for ever: a worker that takes one at a time asks for no other,
and, asking for nothing, does not notice either that its connection is gone. Here such a message no
longer counts. Redis delivers it once more in time, and its job's row says that it is done.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis, virtual


class ForgettingQoS(redis.QoS):
    """The transport's own count, but for acknowledgements that failed."""

    def ack(self, delivery_tag: str) -> None:
        counts: Any = virtual.QoS  # without asking Redis
        asks: Any = super()
        try:
            asks.ack(delivery_tag)
        except Exception:
            counts.ack(self, delivery_tag)
            raise


def forget_failed_acknowledgements() -> None:
    """For every connection of this process that is made from now on."""
    channel: Any = redis.Channel
    channel.QoS = ForgettingQoS
