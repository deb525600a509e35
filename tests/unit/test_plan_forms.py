"""Which forms of an integer graph are priced."""

from __future__ import annotations

from circuits.lower import Bits, Form, GraphVariant, lower
from circuits.plan.forms import estimate, worth_pricing
from tests.unit.test_lower_integers import BOUND, graph

BITS = Bits(input=5, weights=(6,))
#: Its convolutions are products in Freivalds' columns; there is room for its dense layer, which in
#: the main columns is most of what stands there.
CNN = graph(
    "a = Conv<strides = [2, 2]>(x, k) b = Relu(a) c = Conv<strides = [2, 2]>(b, j) d = Relu(c)"
    " f = Flatten(d) y = MatMul(f, w)",
    "float[1, 1, 15, 15] x",
    {"k": [8, 1, 3, 3], "j": [8, 8, 3, 3], "w": [72, 130]},
)
#: Nothing but one product of a single row, which costs the same wherever it stands.
DENSE = graph("y = MatMul(x, w)", "float[1, 400] x", {"w": [400, 300]})


def made(data: bytes, form: Form) -> GraphVariant:
    return lower(data, BITS, BOUND, form)


def test_a_dense_layer_beside_a_convolution_goes_where_there_is_room() -> None:
    forms = worth_pricing(lambda form: made(CNN, form), has_conv=True)
    assert forms[0].conv == "matmul"
    assert forms[0].paired_from == 9_360
    assert estimate(made(CNN, forms[0])) < 0.8 * estimate(made(CNN, Form()))


def test_forms_that_cannot_pay_are_not_priced() -> None:
    forms = worth_pricing(lambda form: made(CNN, form), has_conv=True)
    assert Form(conv="direct", paired_from=9_360) not in forms
    assert worth_pricing(lambda form: made(DENSE, form), has_conv=False) == [Form()]
