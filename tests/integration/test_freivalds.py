"""Why there are no Freivalds products: the engine proves other outputs with them.

A proof is made with another graph than the key's: the same layout, but the rows of a product's
result are exchanged before they go on. If the engine tied a product's result to what follows, such
a proof could not be accepted. When the last test fails, a new version of the engine does.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper, parser

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles, LayoutStats, RunArgs
from circuits.format.field import from_felt, to_felt
from circuits.srs.verify_part import extract
from tests.conftest import LIMITS

pytestmark = pytest.mark.slow

K = 9
X = range(1, 17)
SINGLE, MATRIX = "z", "x"


def graph(taken: str, order: list[int]) -> bytes:
    """A product of matrices and one of a single row; ``taken`` is the one whose result continues,
    in ``order``, and the other's continues as it is."""
    text = f"""<ir_version: 8, opset_import: ["" : 13]>
    g (float[4, 4] x, float[1, 4] z) => (float[4, 4] p, float[1, 4] o) {{
      m = MatMul(x, w)
      n = MatMul(z, w)
      g = Gather<axis = {0 if taken == MATRIX else 1}>({"m" if taken == MATRIX else "n"}, i)
      p = Add({"g" if taken == MATRIX else "m"}, b)
      o = Add({"g" if taken == SINGLE else "n"}, b)
    }}"""
    model = parser.parse_model(text)
    for name, array in (
        ("w", np.arange(1, 17, dtype=np.float32).reshape(4, 4)),
        ("i", np.array(order, dtype=np.int64)),
        ("b", np.array([[7.0]], dtype=np.float32)),
    ):
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return bytes(model.SerializeToString())


def set_up(
    engine: EzklEngine, onnx: bytes, srs: Path, out: Path, *, freivalds: bool
) -> CircuitFiles:
    args = RunArgs(
        input_scale=0,
        param_scale=0,
        scale_rebase_multiplier=1,
        logrows=K,
        num_inner_cols=1,
        decomp_base=16,
        decomp_legs=4,
        lookup_range=(0, 0),
        ignore_range_check_inputs_outputs=True,
        disable_freivalds=not freivalds,
    )
    (layout,) = engine.measure_layout(onnx, [args], LIMITS)
    assert isinstance(layout, LayoutStats)
    cells = json.loads(layout.settings)["einsum_params"]["total_einsum_col_size"]
    assert bool(cells) == freivalds
    out.mkdir()
    engine.setup(onnx, layout.settings, srs, out, LIMITS)
    return CircuitFiles(
        compiled=out / "compiled",
        settings=out / "settings.json",
        pk=out / "pk",
        vk=out / "vk",
        srs=srs,
    )


def forged(
    engine: EzklEngine, srs: Path, tmp_path: Path, taken: str, *, freivalds: bool
) -> tuple[bool, list[int], list[int]]:
    """Whether a proof made with the graph of another order verifies under the first one's key, and
    the outputs of both."""
    folder = srs / f"dev{K}.srs"
    honest, other = (
        set_up(engine, graph(taken, order), folder, tmp_path / name, freivalds=freivalds)
        for name, order in (("honest", [1, 0, 3, 2]), ("other", [2, 3, 0, 1]))
    )
    inputs = [[to_felt(n) for n in X], [to_felt(n) for n in list(X)[:4]]]
    crossed = CircuitFiles(
        compiled=other.compiled, settings=honest.settings, pk=honest.pk, vk=honest.vk, srs=folder
    )
    outputs = [
        [from_felt(f) for f in engine.prove(files, inputs, LIMITS).instances[20:]]
        for files in (honest, other)
    ]
    proof = engine.prove(crossed, inputs, LIMITS)
    assert [from_felt(f) for f in proof.instances[20:]] == outputs[1] != outputs[0]
    settings, vk = honest.settings.read_bytes(), honest.vk.read_bytes()
    accepted = engine.verify(proof.proof_json, settings, vk, extract(folder), LIMITS)
    return accepted, outputs[0], outputs[1]


@pytest.mark.parametrize("taken", [MATRIX, pytest.param(SINGLE, marks=pytest.mark.long)])
def test_without_freivalds_products_no_other_output_is_proved(
    engine: EzklEngine, srs_cache: Path, tmp_path: Path, taken: str
) -> None:
    accepted, _, _ = forged(engine, srs_cache, tmp_path, taken, freivalds=False)
    assert not accepted


@pytest.mark.parametrize("taken", [MATRIX, pytest.param(SINGLE, marks=pytest.mark.long)])
def test_with_a_freivalds_product_the_engine_accepts_other_outputs(
    engine: EzklEngine, srs_cache: Path, tmp_path: Path, taken: str
) -> None:
    """Of that product, and of any other in the same circuit."""
    accepted, _, _ = forged(engine, srs_cache, tmp_path, taken, freivalds=True)
    assert accepted, "the engine ties products now: decision 0006 can be taken back"
