"""Lets a worker continue after an acknowledgement failed because the queue restarted.

kombu's Redis transport counts a message as unacknowledged until Redis has accepted the
acknowledgement. If that call fails, the message counts forever: a worker with a prefetch of one
gets no more messages and does not notice the lost connection either. Here such a message no longer
counts. Redis redelivers it later, and its job's row shows that the job has ended.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis, virtual


class ForgettingQoS(redis.QoS):
    """The transport's QoS, which also drops messages whose acknowledgement failed."""

    def ack(self, delivery_tag: str) -> None:
        counts: Any = virtual.QoS  # locally, without Redis
        asks: Any = super()
        try:
            asks.ack(delivery_tag)
        except Exception:
            counts.ack(self, delivery_tag)
            raise


def forget_failed_acknowledgements() -> None:
    """Applies to every later connection of this process."""
    channel: Any = redis.Channel
    channel.QoS = ForgettingQoS
