"""Inputs that are not just numbers, made so: values that may be missing, and categories as text.

A float input of which the model asks whether a value is there gets a mask as a second input. A text
input that the model looks up in lists of its own becomes the place of each text in their union, and
so does a column of numbers that are nothing but categories. The model then begins with what turns
them back, ``Where(mask, NaN, x)`` and ``Gather(categories, places)``: so onnxruntime still answers
it, and passes carry them to where they are asked for
(``circuits.rewrite.ml.missing`` and ``circuits.rewrite.ml.categories``).
"""

from __future__ import annotations

from collections.abc import Collection

from onnx import ModelProto, TensorProto

from circuits.frontend.categories import number_texts
from circuits.frontend.category_columns import number_columns
from circuits.frontend.fixed_shapes import real_inputs
from circuits.frontend.missing import mask_missing
from circuits.frontend.outputs import name_opset
from circuits.frontend.plain import PlainInputs


def plain_inputs(model: ModelProto, absent: Collection[str] = ()) -> PlainInputs:
    """Rewrites such inputs in place.

    Masks named in ``absent`` become inputs that nothing reads: no value is missing. Raises
    ``UnsupportedOperator`` for a text that something else than a list of texts is asked of,
    ``ModelTooLarge`` for too many or too long texts.
    """
    found = PlainInputs()
    inputs = real_inputs(model)
    texts = [i for i in inputs if i.type.tensor_type.elem_type == TensorProto.STRING]
    if texts:
        name_opset(model)
        number_texts(model.graph, texts, found)
    for value in inputs:
        if number_columns(model.graph, value, found):
            name_opset(model)
    mask_missing(model, absent, found)
    return found
