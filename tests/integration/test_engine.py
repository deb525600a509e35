"""The engine port with real EZKL: what a circuit accepts and refuses, and what is reproducible."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from circuits.engine import stall
from circuits.engine.constants import constants_uncounted, patch_constants
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles, LayoutStats, Limits, RunArgs
from circuits.engine.sandbox import Sandbox
from circuits.errors import (
    Canceled,
    EngineError,
    EngineStalled,
    EngineTimeout,
    InputOutOfRange,
    StorageFull,
)
from circuits.format.field import felts_to_bytes, from_felt, to_felt
from circuits.format.wide_constants import written
from circuits.rewrite import bind_context
from circuits.srs.verify_part import extract
from tests.cases import tiny
from tests.conftest import LIMITS

pytestmark = pytest.mark.slow

K = 8
SCALE = 5
CONTEXT = 0x0123456789ABCDEF << 180


@dataclass(frozen=True, kw_only=True)
class Built:
    """A circuit with one float input of four numbers and a context of one element."""

    onnx: bytes
    layout: LayoutStats
    files: CircuitFiles

    def inputs(self, *values: float, context: int = CONTEXT) -> list[list[str]]:
        return [[to_felt(round(v * 2**SCALE)) for v in values], [to_felt(context)]]


def build(engine: EzklEngine, srs: Path, out: Path, activation: str, **args: Any) -> Built:
    onnx = bind_context(tiny.linear(activation=activation), 1)
    shape = RunArgs(
        input_scale=SCALE,
        param_scale=SCALE,
        scale_rebase_multiplier=1,
        logrows=K,
        decomp_base=16,
        decomp_legs=4,
        **args,
    )
    (layout,) = engine.measure_layout(onnx, [shape], LIMITS)
    assert isinstance(layout, LayoutStats)
    engine.setup(onnx, layout.settings, srs / f"dev{K}.srs", out, LIMITS)
    files = CircuitFiles(
        compiled=out / "compiled",
        settings=out / "settings.json",
        pk=out / "pk",
        vk=out / "vk",
        srs=srs / f"dev{K}.srs",
    )
    return Built(onnx=onnx, layout=layout, files=files)


@pytest.fixture(scope="module")
def relu(engine: EzklEngine, srs_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """No table but those of its decompositions, which hold 16 bits."""
    out = tmp_path_factory.mktemp("relu")
    return build(engine, srs_cache, out, "Relu", lookup_range=(-2, 2))


@pytest.fixture(scope="module")
def sigmoid(engine: EzklEngine, srs_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A table that holds sums from -2 to 2 (at scale 5)."""
    out = tmp_path_factory.mktemp("sigmoid")
    return build(engine, srs_cache, out, "Sigmoid", lookup_range=(-64, 64))


def verifies(engine: EzklEngine, circuit: Built, proof_json: bytes) -> bool:
    return engine.verify(
        proof_json,
        circuit.files.settings.read_bytes(),
        circuit.files.vk.read_bytes(),
        extract(circuit.files.srs),
        LIMITS,
    )


def test_a_proof_holds_and_shows_input_context_and_output(engine: EzklEngine, relu: Built) -> None:
    stages: list[str] = []
    proof = engine.prove(
        relu.files, relu.inputs(1.0, -1.0, 2.0, 0.0), LIMITS, on_stage=stages.append
    )

    assert verifies(engine, relu, proof.proof_json)
    assert stages == ["witness", "prove"]
    assert [from_felt(f) for f in proof.instances[:4]] == [32, -32, 64, 0]
    assert int.from_bytes(bytes.fromhex(proof.instances[4]), "little") == CONTEXT
    # 0.125 - 2 < 0; -0.25 - 1 - 0.5 + 2 = 0.25; 0.5 + 0.25 + 0.5 + 1 = 2.25
    assert [from_felt(f) for f in proof.instances[5:]] == [0, 8, 72]


@pytest.mark.parametrize("at", [0, 4, 5], ids=["input", "context", "output"])
def test_a_proof_holds_for_no_other_statement(engine: EzklEngine, relu: Built, at: int) -> None:
    document = json.loads(
        engine.prove(relu.files, relu.inputs(1.0, -1.0, 2.0, 0.0), LIMITS).proof_json
    )
    number = int.from_bytes(bytes.fromhex(document["instances"][0][at]), "little")
    document["instances"][0][at] = (number + 1).to_bytes(32, "little").hex()

    assert not verifies(engine, relu, json.dumps(document).encode())


def test_simulation_gives_the_outputs_of_the_proof(engine: EzklEngine, relu: Built) -> None:
    inputs = relu.inputs(1.0, -1.0, 2.0, 0.0)
    (simulated,) = engine.simulate(relu.onnx, relu.layout.settings, [inputs], LIMITS)
    proof = engine.prove(relu.files, inputs, LIMITS)

    assert not isinstance(simulated, EngineError)
    assert simulated.outputs[-1] == proof.instances[5:]


def test_a_value_beyond_the_table_is_refused_and_nothing_waits_for_ever(
    engine: EzklEngine, sigmoid: Built
) -> None:
    """EZKL itself would wait for ever: its log needs the lock that its caller holds."""
    limits = Limits(deadline_s=20, memory_bytes=4 << 30)
    inside = engine.prove(sigmoid.files, sigmoid.inputs(1.0, 0.5, 0.0, 0.0), limits)
    assert verifies(engine, sigmoid, inside.proof_json)
    stages: list[str] = []
    with pytest.raises(InputOutOfRange, match="lookup table") as caught:
        engine.prove(
            sigmoid.files, sigmoid.inputs(100.0, 0.0, 0.0, 0.0), limits, on_stage=stages.append
        )
    assert caught.value.code == "input_out_of_range"
    assert stages == ["witness"]


def test_the_engine_s_deadlock_is_real_noticed_and_ended_at_its_deadline(
    engine: EzklEngine, sigmoid: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    """zkonduit/ezkl issue 1029, with our look at the witness taken away: a thread of the prover
    logs, for which it needs the GIL, which the call that waits for it holds."""
    monkeypatch.setattr(stall, "LOOK_S", 0.5)
    monkeypatch.setattr(stall, "LOOKS", 10)
    unlooked = "setattr(__import__('circuits.engine.calls').engine.calls, '_check_tables', print)"
    prove, beyond = "circuits.engine.calls:prove", sigmoid.inputs(100.0, 0.0, 0.0, 0.0)
    limits = replace(LIMITS, deadline_s=600.0)
    for may_stall, ends in ((True, EngineStalled), (False, EngineTimeout)):
        stages: list[str] = []
        began = time.monotonic()
        with engine.sandbox.session(limits, reads=sigmoid.files.paths) as child:
            child.call("builtins:eval", unlooked)
            pid = child.call("os:getpid")
            with pytest.raises(ends):
                child.call(
                    prove, sigmoid.files, beyond, on_stage=stages.append, may_stall=may_stall
                )
        assert stages == ["witness", "prove"]
        # Long enough for the second to get there too, on whatever machine.
        limits = replace(LIMITS, deadline_s=2 * (time.monotonic() - began))
        give_up = time.monotonic() + 60
        while psutil.pid_exists(pid):
            assert time.monotonic() < give_up
            time.sleep(0.01)


def test_a_value_beyond_a_decomposition_is_refused(engine: EzklEngine, relu: Built) -> None:
    with pytest.raises(InputOutOfRange, match="can hold"):
        engine.prove(relu.files, relu.inputs(2.0**20, 0.0, 0.0, 0.0), LIMITS)


def test_a_disk_that_is_full_is_named_wherever_the_engine_finds_it(
    engine: EzklEngine, relu: Built, srs_cache: Path, little_disk: Path
) -> None:
    """EZKL itself may say nothing, and trip over what it has written by half."""
    filler, refused = little_disk / "filler", 0
    for room in (0, *(1 << n for n in range(12, 21))):
        out = little_disk / f"room-{room}"
        out.mkdir()
        filler.write_bytes(b"x" * (shutil.disk_usage(little_disk).free - room))
        try:
            engine.setup(relu.onnx, relu.layout.settings, srs_cache / f"dev{K}.srs", out, LIMITS)
        except StorageFull:
            refused += 1
        else:
            assert (out / "pk").read_bytes() == relu.files.pk.read_bytes()
        shutil.rmtree(out)
        filler.unlink()
    assert refused >= 3


def test_a_scratch_disk_that_is_full_is_named(
    relu: Built, little_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(little_disk))
    monkeypatch.setenv("TMPDIR", str(little_disk))
    own = EzklEngine(Sandbox())
    filler, refused = little_disk / "filler", 0
    try:
        # Where the disk is full at the start, Python chooses another.
        assert own.sandbox.call("os:getcwd", limits=LIMITS).startswith(str(little_disk))
        for room in (0, 4096, 8192, 1 << 20):
            filler.write_bytes(b"x" * (shutil.disk_usage(little_disk).free - room))
            try:
                proof = own.prove(relu.files, relu.inputs(1.0, -1.0, 2.0, 0.0), LIMITS)
            except StorageFull:
                refused += 1
            else:
                assert verifies(own, relu, proof.proof_json)
            filler.unlink()
    finally:
        own.sandbox.close()
    assert 1 <= refused <= 3


def test_one_settings_file_gives_one_verifying_key(
    engine: EzklEngine, relu: Built, srs_cache: Path, tmp_path: Path
) -> None:
    engine.setup(relu.onnx, relu.layout.settings, srs_cache / f"dev{K}.srs", tmp_path, LIMITS)

    assert (tmp_path / "vk").read_bytes() == relu.files.vk.read_bytes()
    assert (tmp_path / "pk").read_bytes() == relu.files.pk.read_bytes()


def test_the_same_candidate_is_priced_the_same(engine: EzklEngine, relu: Built) -> None:
    assert engine.measure_layout(relu.onnx, [relu.layout.args], LIMITS) == [relu.layout]


def test_an_infeasible_candidate_does_not_affect_the_others(
    engine: EzklEngine, relu: Built
) -> None:
    args = relu.layout.args
    dominated = replace(args, input_visibility="nobody")
    answers = engine.measure_layout(relu.onnx, [dominated, args], LIMITS)

    assert isinstance(answers[0], EngineError)
    assert answers[1] == relu.layout


def test_a_damaged_circuit_is_an_error_and_not_a_proof(
    engine: EzklEngine, relu: Built, tmp_path: Path
) -> None:
    inputs = relu.inputs(1.0, -1.0, 2.0, 0.0)
    for name in ("compiled", "pk", "srs"):
        damaged = tmp_path / name
        damaged.write_bytes(getattr(relu.files, name).read_bytes()[:-40])
        files = CircuitFiles(**{**vars(relu.files), name: damaged})
        with pytest.raises(EngineError):
            engine.prove(files, inputs, LIMITS)


def test_numbers_of_a_private_input_are_not_in_the_errors_of_the_engine(
    engine: EzklEngine, relu: Built
) -> None:
    secret = 1234567
    with pytest.raises(EngineError) as caught:
        engine.prove(relu.files, [[to_felt(secret)] * 3 + ["zz"], [to_felt(CONTEXT)]], LIMITS)
    assert str(secret) not in caught.value.detail
    assert to_felt(secret) not in caught.value.detail


def test_a_proof_can_be_stopped(engine: EzklEngine, relu: Built) -> None:
    stages: list[str] = []
    with pytest.raises(Canceled):
        engine.prove(
            relu.files,
            relu.inputs(0.0, 0.0, 0.0, 0.0),
            LIMITS,
            on_stage=stages.append,
            should_stop=lambda: "prove" in stages,
        )


def test_an_engine_over_its_deadline_is_reported(engine: EzklEngine, relu: Built) -> None:
    hurried = Limits(deadline_s=0.02, memory_bytes=4 << 30)
    with pytest.raises(EngineTimeout):
        engine.prove(relu.files, relu.inputs(0.0, 0.0, 0.0, 0.0), hurried)


TERMS = 168


def wide_products(*inputs: str) -> tuple[bytes, NDArray[np.float64]]:
    """A graph that multiplies each of these inputs, ``[1, TERMS]``, by the same weights of some
    thirty bits, and gives the sum; and the weights. Some of these are equal."""
    rng = np.random.default_rng(5)
    weights = rng.choice(rng.integers(1 << 28, 1 << 30, 1500), (TERMS, 11)).astype(np.float64)
    stand_ins, exact = written(weights, 0)
    products = [f"{name}w" for name in inputs]
    nodes = [
        helper.make_node("MatMul", [x, "w"], [y]) for x, y in zip(inputs, products, strict=True)
    ]
    nodes.append(helper.make_node("Sum" if inputs[1:] else "Identity", products, ["y"]))
    float32 = TensorProto.FLOAT
    made = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info(name, float32, [1, TERMS]) for name in inputs],
        [helper.make_tensor_value_info("y", float32, [1, 11])],
        [numpy_helper.from_array(stand_ins, "w"), numpy_helper.from_array(exact, "w.exact")],
    )
    opset = [helper.make_opsetid("", 17)]
    data = helper.make_model(made, opset_imports=opset, ir_version=8).SerializeToString()
    return bytes(data), weights


def test_constants_beyond_float32_are_proved_as_they_are(
    engine: EzklEngine, srs_cache: Path, tmp_path: Path
) -> None:
    """Their stand-ins all differ, as not all of them do: the engine would keep more cells than they
    need."""
    network, weights = wide_products("x")
    uncounted = constants_uncounted(network)
    args = RunArgs(
        input_scale=0,
        param_scale=0,
        scale_rebase_multiplier=1,
        logrows=10,
        num_inner_cols=4,
        decomp_base=1 << 8,
        decomp_legs=4,
        ignore_range_check_inputs_outputs=True,
    )
    (layout,) = engine.measure_layout(network, [args], LIMITS)
    assert isinstance(layout, LayoutStats)
    srs = srs_cache / "dev10.srs"
    engine.setup(network, layout.settings, srs, tmp_path, LIMITS)
    files = CircuitFiles(
        compiled=tmp_path / "compiled",
        settings=tmp_path / "settings.json",
        pk=tmp_path / "pk",
        vk=tmp_path / "vk",
        srs=srs,
    )
    column = (1 << 10) - 12
    assert uncounted < 0 < column < layout.constants, (layout.constants, uncounted)
    x = np.random.default_rng(2).integers(-64, 65, TERMS)
    proof = engine.prove(files, [[to_felt(int(n)) for n in x]], LIMITS)
    assert [from_felt(f) for f in proof.instances[TERMS:]] == (x @ weights).tolist()
    settings, vk = files.settings.read_bytes(), files.vk.read_bytes()
    assert engine.verify(proof.proof_json, settings, vk, extract(srs), LIMITS)


def test_constants_missing_from_the_circuit_fail_the_build(tmp_path: Path) -> None:
    """If the engine compiles a graph differently, the build fails: no circuit is wrong."""
    stand_ins, exact = written(np.array([1.0, 2.0**30 + 1]), 0)
    network = helper.make_model(
        helper.make_graph(
            [],
            "g",
            [],
            [],
            [numpy_helper.from_array(stand_ins, "a"), numpy_helper.from_array(exact, "a.exact")],
        )
    ).SerializeToString()
    compiled = tmp_path / "compiled"
    element = felts_to_bytes(to_felt(int(n)) for n in stand_ins)
    for content, count in ((b"", 0), (element + b"between" + element, 2)):
        compiled.write_bytes(content)
        with pytest.raises(EngineError, match="'a' is not in the compiled circuit as it was"):
            patch_constants(network, compiled)
        assert compiled.read_bytes() == content, count
    compiled.write_bytes(b"before" + element)
    patch_constants(network, compiled)
    assert compiled.read_bytes() == b"before" + felts_to_bytes(map(to_felt, (1, 2**30 + 1)))


def test_weights_that_two_products_share_are_put_back_once(engine: EzklEngine) -> None:
    network, weights = wide_products("x", "z")
    args = RunArgs(
        input_scale=0,
        param_scale=0,
        scale_rebase_multiplier=1,
        logrows=12,
        decomp_base=1 << 14,
        decomp_legs=3,
        ignore_range_check_inputs_outputs=True,
    )
    (layout,) = engine.measure_layout(network, [args], LIMITS)
    assert isinstance(layout, LayoutStats)
    x, z = (np.random.default_rng(s).integers(-64, 65, TERMS) for s in (1, 2))
    felts = [[to_felt(int(n)) for n in v] for v in (x, z)]
    (run,) = engine.simulate(network, layout.settings, [felts], LIMITS)
    assert not isinstance(run, EngineError), run
    assert [from_felt(f) for f in run.outputs[0]] == ((x + z) @ weights).tolist()


def test_a_compiled_circuit_without_the_constants_is_refused(tmp_path: Path) -> None:
    network, _ = wide_products("x")
    compiled = tmp_path / "compiled"
    compiled.write_bytes(b"of another version")
    with pytest.raises(EngineError, match="not in the compiled circuit"):
        patch_constants(network, compiled)
    assert compiled.read_bytes() == b"of another version"
