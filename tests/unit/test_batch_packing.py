"""Packs are chosen by what they cost, set-ups included, and cover every input exactly once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prover.batch.packing import LANE_COUNTS, plan_packs


def mlp(lanes: int) -> float | None:
    """Prove seconds of a dense network: nearly flat, then linear, then out of memory."""
    return 7.0 + 0.4 * lanes if lanes <= 256 else None


def conv(lanes: int) -> float | None:
    """A network whose lanes share nothing."""
    return 0.5 * lanes


def test_a_dense_network_is_packed_as_wide_as_memory_allows() -> None:
    assert plan_packs(10_000, mlp, {1}).packs[0][0] == 256


def test_a_network_whose_lanes_share_nothing_is_not_worth_new_keys() -> None:
    assert plan_packs(8, conv, {1}).packs == ((1, 8),)


def test_keys_that_are_there_are_preferred_to_new_ones() -> None:
    assert {lanes for lanes, _ in plan_packs(20, mlp, {1, 16}).packs} <= {1, 16}


def test_no_keys_are_made_for_fewer_lanes_than_cost_the_same() -> None:
    seconds = {1: 5.0, 64: 20.0, 91: 20.0, 182: 40.0}
    assert plan_packs(64, seconds.get, {1}, seconds).packs == ((91, 1),)
    assert plan_packs(64, seconds.get, {1, 64}, seconds).packs == ((64, 1),)
    assert plan_packs(256, seconds.get, {1, 91}, seconds).packs == ((91, 3),)


def test_a_short_last_pack_is_cheaper_than_keys_for_the_tail() -> None:
    pack_plan = plan_packs(100, mlp, {64})
    assert pack_plan.packs == ((64, 2),)
    assert pack_plan.sizes(100) == [(64, 64), (64, 36)]


@settings(deadline=None)
@given(
    st.integers(1, 3000),
    st.sets(st.sampled_from(LANE_COUNTS)),
    st.floats(0.01, 20),
    st.floats(0.001, 2),
    st.sampled_from([1, 8, 64, 1024]),
)
def test_every_input_has_one_lane(
    count: int, ready: set[int], fixed: float, each: float, most: int
) -> None:
    pack_plan = plan_packs(count, lambda n: fixed + each * n if n <= most else None, ready)
    sizes = pack_plan.sizes(count)
    assert sum(items for _, items in sizes) == count
    assert all(1 <= items <= lanes <= most for lanes, items in sizes)


def test_keys_are_set_up_for_the_batches_to_come() -> None:
    """With 64 lanes this batch would take longer, and all batches of its kind together less."""
    assert plan_packs(64, mlp, {1, 16}).packs == ((16, 4),)
    assert plan_packs(64, mlp, {1, 16}, batches=8).packs == ((64, 1),)


batches_of_a_kind = {
    "count": st.integers(1, 300),
    "ready": st.sets(st.sampled_from(LANE_COUNTS)),
    "fixed": st.floats(0.01, 20),
    "each": st.floats(0.001, 2),
    "batches": st.integers(1, 20),
}


@settings(deadline=None, max_examples=40)
@given(**batches_of_a_kind)
def test_the_same_batch_again_finds_the_keys_that_it_needs(
    count: int, ready: set[int], fixed: float, each: float, batches: int
) -> None:
    def prove_s(lanes: int) -> float:
        return fixed + each * lanes

    first = plan_packs(count, prove_s, ready, batches=batches)
    there = ready | {lanes for lanes, _ in first.packs}
    again = plan_packs(count, prove_s, there, batches=batches)
    assert again.setup_s == 0
    assert again.seconds == pytest.approx(first.seconds)


@settings(deadline=None, max_examples=40)
@given(**batches_of_a_kind)
def test_looking_ahead_costs_a_bounded_time_now_and_none_in_the_end(
    count: int, ready: set[int], fixed: float, each: float, batches: int
) -> None:
    def prove_s(lanes: int) -> float:
        return fixed + each * lanes

    alone = plan_packs(count, prove_s, ready)
    ahead = plan_packs(count, prove_s, ready, batches=batches)
    slack = 1 + 1e-9
    assert ahead.seconds + ahead.setup_s <= batches * (alone.seconds + alone.setup_s) * slack
    assert (
        batches * ahead.seconds + ahead.setup_s <= (batches * alone.seconds + alone.setup_s) * slack
    )


def test_one_lane_is_always_needed() -> None:
    with pytest.raises(ValueError, match="no circuit"):
        plan_packs(3, lambda _: None, set())
