"""What Freivalds products cost: blocks of columns, and what comes with a second one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from circuits.engine.products import Equation, room_for_products
from circuits.lower import Bits, cost_by_layer, lower
from circuits.plan.cost import CostModel, product_blocks
from tests.unit.test_cost_model import priced
from tests.unit.test_lower_integers import BOUND, MODELS

PRODUCT: Equation = ("amk,kn->amn", {"a": 1, "m": 6, "k": 5, "n": 4})


def test_a_product_is_folded_from_both_sides() -> None:
    # weights along n (5·4), windows along m (6·5), their dot product (5); the result along n (6·4)
    # and then along m (6)
    assert room_for_products([PRODUCT]) == 20 + 30 + 5 + 24 + 6


def test_what_ends_up_in_the_main_columns_has_room_set_aside_too() -> None:
    digits: Equation = ("abd,abd->ab", {"a": 1, "b": 7, "d": 3})
    row: Equation = ("ak,kn->an", {"a": 1, "k": 5, "n": 4})
    # digits times powers (21), folded along b (21), summed (3); the result (7)
    assert room_for_products([digits]) == 21 + 21 + 3 + 7
    # weights along n (20), the dot product (5); the result (4)
    assert room_for_products([row]) == 20 + 5 + 4
    assert room_for_products([PRODUCT, digits, row]) == 85 + 52 + 29


@pytest.mark.parametrize("columns", [1, 2, 4])
def test_a_block_holds_the_rows_of_its_columns(columns: int) -> None:
    shape = priced(8, columns, 0, 2, 10)
    block = columns * (256 - 12)
    assert product_blocks(replace(shape, einsum_size=0, product_room=10**6)) == 0
    assert product_blocks(replace(shape, product_room=block - 2)) == 1
    assert product_blocks(replace(shape, product_room=block)) == 2
    assert product_blocks(replace(shape, product_room=2 * block + 1)) == 3


def test_a_second_block_costs_more_than_its_columns() -> None:
    costs = CostModel.shipped()
    one = replace(priced(10, 1, 0, 2, 10), product_room=500)
    none = replace(one, einsum_size=0)
    two = replace(one, product_room=1500)
    for quantity in ("prove_s", "peak_bytes", "pk_bytes"):
        least, middle, most = (getattr(costs.predict(p), quantity) for p in (none, one, two))
        assert most - middle > 1.5 * (middle - least) > 0


@pytest.mark.parametrize("name", ["conv, norm, max pool", "residual"])
def test_forms_are_weighed_with_their_room(name: str) -> None:
    layers = cost_by_layer(
        lower(MODELS[name], Bits(input=5, weights=(6,)), BOUND), legs=3, freivalds=True
    )
    assert sum(layer.room for layer in layers) > sum(layer.einsum for layer in layers) > 0
