"""Which forms of an integer graph are worth pricing.

A form changes the cost and nothing of the result. There are too many to have the engine lay each of
them out in every shape, and most are hopeless; a count of what each layer needs, which is right to
some per cent, tells which.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from circuits.engine.port import Priced, RunArgs
from circuits.lower import Form, GraphVariant, cost_by_layer
from circuits.plan.cost import CostModel
from circuits.plan.shapes import COLUMNS, MAX_LOGROWS, minimal_logrows

#: Values that a ReLU must take for a table to be worth a look: each table is a lookup argument.
_TABLE_PAYS = 512
#: Multiplications of a single row for a second row to be worth a look.
_PAIR_PAYS = 512
#: Largest single-row products that are tried with a second row, each with those above it.
_PAIRED = 3
#: Digits of these many bits stand for all that the engine will be asked to lay out.
_LEGS = (2, 3, 4, 6)
#: A form estimated so much dearer than the cheapest is not priced.
_HOPELESS = 1.4
#: What the engine checks by table in every circuit with decompositions: digits, and signs.
_SIGNS = (-1, 1)


def worth_pricing(make: Callable[[Form], GraphVariant], has_conv: bool) -> list[Form]:
    """The forms near the cheapest, by an estimate, the cheapest first.

    ``make`` lowers the model in a form. A table pays only where many values pass it, a second row
    only for a large product.
    """
    plain = make(Form())
    estimated = [
        (estimate(plain if form == Form() else make(form)), place, form)
        for place, form in enumerate(_forms(plain, has_conv))
    ]
    estimated.sort(key=lambda entry: entry[:2])
    least = estimated[0][0]
    return [form for seconds, _, form in estimated if seconds <= least * _HOPELESS]


def _forms(plain: GraphVariant, has_conv: bool) -> Iterator[Form]:
    tables = list(itertools.takewhile(lambda relu: relu[0] >= _TABLE_PAYS, plain.relus))
    large = sorted({n for n in plain.single_rows if n >= _PAIR_PAYS}, reverse=True)
    for conv in ("matmul", "direct") if has_conv else ("matmul",):
        for count in range(len(tables) + 1 if conv == "matmul" else 1):
            for paired in (0, *large[:_PAIRED]):
                yield Form(conv=conv, relu_tables=count, paired_from=paired)


def estimate(variant: GraphVariant) -> float:
    """Seconds of proving in the best shape, by the counts of its layers alone."""
    costs = CostModel.shipped()
    found = (
        costs.predict(shape).prove_s
        for legs in _LEGS
        for columns in COLUMNS
        if (shape := _shape(variant, legs, columns)) is not None
    )
    return min(found, default=math.inf)


def _shape(variant: GraphVariant, legs: int, columns: int) -> Priced | None:
    layers = cost_by_layer(variant, legs)
    main = sum(layer.assignments for layer in layers)
    each = max(2, math.ceil(variant.value_bounds.decomposed.bit_length() / legs))
    if each >= MAX_LOGROWS:
        return None
    tables = variant.value_bounds.lookup
    args = RunArgs(
        input_scale=0,
        param_scale=0,
        scale_rebase_multiplier=1,
        logrows=MAX_LOGROWS,
        num_inner_cols=columns,
        decomp_base=1 << each,
        decomp_legs=legs,
        lookup_range=tables or (0, 0),
    )
    draft = Priced(
        args=args,
        settings="",
        rows=math.ceil(main / columns),
        assignments=main,
        constants=0,
        einsum_size=sum(layer.einsum for layer in layers),
        dynamic_size=0,
        lookups=("HardSwish",) if tables else (),
        range_checks=(_SIGNS, (0, (1 << each) - 1)) if variant.value_bounds.decomposed > 1 else (),
        input_scales=(),
        output_scales=(),
        instance_shapes=(),
    )
    logrows = minimal_logrows(draft)
    if logrows > MAX_LOGROWS:
        return None
    return replace(draft, args=replace(args, logrows=logrows))
