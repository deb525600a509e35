"""Batched reads of concurrent requests: few, fresh, and each result to its caller."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from api.batched_reads import BatchedReads

EACH_WAY = pytest.mark.parametrize("in_thread", [True, False])


@EACH_WAY
def test_requests_at_once_share_a_read(in_thread: bool) -> None:
    asked: list[list[int]] = []

    def read(keys: Collection[int]) -> dict[int, str]:
        asked.append(sorted(keys))
        return {key: str(key) for key in keys if key > 1}

    async def main() -> list[list[str | None]]:
        looks = BatchedReads(read, in_thread=in_thread)
        return list(await asyncio.gather(looks.get(2), looks.get(1, 3), looks.get(2)))

    assert asyncio.run(main()) == [["2"], [None, "3"], ["2"]]
    assert asked == [[1, 2, 3]]


@EACH_WAY
def test_a_later_request_reads_again(in_thread: bool) -> None:
    now = ["before"]

    async def main() -> None:
        looks: BatchedReads[str, str] = BatchedReads(
            lambda keys: dict.fromkeys(keys, now[0]), in_thread=in_thread
        )
        assert await looks.get("job") == ["before"]
        now[0] = "after"
        assert await looks.get("job") == ["after"]

    asyncio.run(main())


@EACH_WAY
def test_a_failed_read_fails_its_callers_and_no_later_ones(in_thread: bool) -> None:
    fails = [True]

    def read(keys: Collection[str]) -> dict[str, int]:
        if fails[0]:
            raise OSError("away")
        return dict.fromkeys(keys, 1)

    async def main() -> None:
        looks = BatchedReads(read, in_thread=in_thread)
        both = await asyncio.gather(looks.get("a"), looks.get("b"), return_exceptions=True)
        assert [type(error) for error in both] == [OSError, OSError]
        fails[0] = False
        assert await looks.get("a") == [1]

    asyncio.run(main())


@EACH_WAY
def test_one_canceled_caller_does_not_affect_the_others(in_thread: bool) -> None:
    async def main() -> None:
        looks: BatchedReads[str, int] = BatchedReads(
            lambda keys: dict.fromkeys(keys, 1), in_thread=in_thread
        )
        first, second = (asyncio.create_task(looks.get("a")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == [1]

    asyncio.run(main())
