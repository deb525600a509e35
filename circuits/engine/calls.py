"""What runs inside an engine child. The only module that imports ``ezkl``.

Verification needs neither numpy nor onnx, so what does is imported where it is used. A server for
all calls loads it beforehand (``circuits.engine.forkserver``).

Every function takes and returns plain picklable values, works in the current folder (the child's
scratch, removed afterwards) and never sees a path that a client chose.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import ezkl

from circuits.engine.port import CircuitFiles, LayoutStats, ProofResult, RunArgs, Simulated
from circuits.engine.proof_json import normalise_proof, parse_proof
from circuits.engine.session import as_engine_error, redacted, report
from circuits.errors import (
    EngineError,
    EngineOutOfMemory,
    InputOutOfRange,
    StorageFull,
    ZkmlError,
)
from circuits.format.commitments import columns
from circuits.format.field import Felts
from circuits.format.hidden import Salt

# At DEBUG this logger prints keys; and a log call from an EZKL thread needs the GIL, which the
# call that it waits for is holding.
logging.getLogger("ezkl").setLevel(logging.CRITICAL)
logging.getLogger("ezkl").propagate = False

#: How long a thread that wants the GIL sleeps before it asks again. In a proof it is for threads
#: that will never get it (``circuits.engine.stall``): nobody else wants it.
_ASKS_AGAIN_S = 3600.0
#: A proxy that answers nobody: port 9 discards, where it is open at all.
_NO_WAY_OUT = "http://127.0.0.1:9"


def measure_layout(onnx: bytes, candidates: Sequence[RunArgs]) -> list[LayoutStats | EngineError]:
    """The engine's own count of what each candidate would cost, in order."""
    from circuits.engine.constants import constants_uncounted
    from circuits.engine.layout_checks import cells_of, is_committed, leans_on_operators

    Path("network.onnx").write_bytes(onnx)
    try:
        if leans_on_operators(onnx) and candidates:
            _check_operators(onnx, candidates[0])
    except BaseException as error:
        return [_engine_error(error)] * len(candidates)
    uncounted = constants_uncounted(onnx)
    cells = cells_of(onnx) if is_committed(onnx) else None
    return [_try_layout(args, uncounted, cells) for args in candidates]


def _try_layout(args: RunArgs, uncounted: int, cells: int | None) -> LayoutStats | EngineError:
    try:
        ezkl.gen_settings("network.onnx", "settings.json", py_run_args=_run_args(args))
    except BaseException as error:  # a panic is no Exception
        return _engine_error(error)
    return _measured_layout(args, Path("settings.json").read_text(), uncounted, cells)


def _measured_layout(args: RunArgs, text: str, uncounted: int, cells: int | None) -> LayoutStats:
    """``cells``: those of a graph with committed hints, for whose inputs and cuts the engine counts
    assignments that it does not make."""
    settings = json.loads(text)
    settings["total_const_size"] += uncounted
    settings["timestamp"] = 0  # or equal circuits would have different settings digests
    settings["required_range_checks"].sort()  # the engine prints a set in any order
    settings["required_lookups"].sort(key=json.dumps)
    settings["einsum_params"]["equations"] = [
        [equation, dict(sorted(axes.items()))]
        for equation, axes in settings["einsum_params"]["equations"]
    ]
    if cells is not None:
        _only_committed(settings, args)
        settings["total_assignments"] = cells
        settings["num_rows"] = -(-cells // args.num_inner_cols)
    return LayoutStats(
        args=args,
        settings=json.dumps(settings),
        rows=settings["num_rows"],
        assignments=settings["total_assignments"]
        + settings["einsum_params"]["total_einsum_col_size"],
        constants=settings["total_const_size"],
        dynamic_size=settings["total_dynamic_col_size"] + settings["total_shuffle_col_size"],
        lookups=tuple(json.dumps(op, sort_keys=True) for op in settings["required_lookups"]),
        range_checks=tuple((low, high) for low, high in settings["required_range_checks"]),
        input_scales=tuple(settings["model_input_scales"]),
        output_scales=tuple(settings["model_output_scales"]),
        instance_shapes=tuple(tuple(s) for s in settings["model_instance_shapes"]),
        committed=sum(
            columns(size, args.logrows) for size in settings["module_sizes"]["polycommit"]
        ),
    )


def _only_committed(settings: dict[str, Any], args: RunArgs) -> None:
    """A circuit with committed hints has its table, with one of a function perhaps, and no other
    look-up, whose columns nothing would salt; and no argument of the engine's own."""
    others = (
        settings["required_range_checks"],
        settings["total_dynamic_col_size"],
        settings["total_shuffle_col_size"],
        settings["einsum_params"]["total_einsum_col_size"],
    )
    tables = 1 + (args.param_scale > 0)
    if any(others) or len(settings["required_lookups"]) != tables or not args.disable_freivalds:
        raise EngineError("the engine adds look-ups or arguments to a graph with committed hints")


def simulate(
    onnx: bytes, settings: str, samples: Sequence[list[Felts]], hints: bytes | None = None
) -> list[Simulated | EngineError]:
    """Runs samples through the circuit's arithmetic, in order, without keys."""
    from circuits.engine.layout_checks import salt_of

    try:
        _compile(onnx, settings, Path())
    except BaseException as error:
        return [_engine_error(error)] * len(samples)
    salt, drawn = salt_of(onnx), json.loads(settings)
    return [_attempt_simulate(sample, hints, salt, drawn) for sample in samples]


def _attempt_simulate(
    sample: list[Felts], hints: bytes | None, salt: Salt | None, settings: dict[str, Any]
) -> Simulated | EngineError:
    from circuits.engine.given import completed

    try:
        full = completed(sample, hints, salt, settings)
        witness = ezkl.gen_witness(_input_data(full), "compiled", None, None, None)
    except InputOutOfRange as error:
        return EngineError(error.detail)
    except BaseException as error:
        return _engine_error(error)
    return Simulated(
        outputs=[list(felts) for felts in witness["outputs"]],
        lookup_min=witness["min_lookup_inputs"],
        lookup_max=witness["max_lookup_inputs"],
        range_max=witness["max_range_size"],
    )


def setup(onnx: bytes, settings: str, srs: Path, out: Path) -> dict[str, float]:
    """Compiles and makes keys, into the folder ``out``; returns seconds by step."""
    from circuits.engine.layout_checks import is_committed

    report("compile")
    seconds = {}
    started = time.monotonic()
    _compile(onnx, settings, out)
    seconds["compile"] = time.monotonic() - started
    report("setup")
    started = time.monotonic()
    ezkl.setup(
        str(out / "compiled"),
        str(out / "vk"),
        str(out / "pk"),
        str(srs),
        witness_path=None,
        disable_selector_compression=False,
    )
    seconds["setup"] = time.monotonic() - started
    if is_committed(onnx):
        _check_table(out, srs)
    return seconds


def _check_table(out: Path, srs: Path) -> None:
    """Raises ``EngineError`` where a new key's table is not what committed hints lean on."""
    from circuits.committed.network import FunctionTable
    from circuits.engine.table_end import has_tables

    settings = json.loads((out / "settings.json").read_text())
    args = RunArgs.of(settings)
    paths = (str(out / "vk"), str(out / "settings.json"), str(srs))
    ops = {op for table in settings["required_lookups"] for op in table} - {"HardSwish"}
    function = FunctionTable(op=ops.pop(), scale=args.param_scale) if ops else None

    def commit(column: Felts) -> tuple[int, int]:
        x, y = _point(ezkl.kzg_commit(column, *paths)[0])
        return int.from_bytes(x, "big"), int.from_bytes(y, "big")

    low, vk = args.lookup_range[0], (out / "vk").read_bytes()
    if not has_tables(vk, low, args.logrows, commit, function):
        raise EngineError("the tables in the key are not those that hints are looked up in")


def _point(point: Any) -> tuple[bytes, bytes]:
    """The coordinates of a commitment, big-endian as proofs have them."""
    return bytes.fromhex(point.x)[::-1], bytes.fromhex(point.y)[::-1]


def prove(files: CircuitFiles, inputs: list[Felts], input_salt: bytes | None = None) -> ProofResult:
    """Witness and proof of one input, unverified. ``input_salt``: of its identity, if the circuit
    names it by one; else, and where it is left out, new.

    Raises ``InputOutOfRange`` when the witness leaves the circuit's tables, before proving: the
    engine would wait for ever (its log needs the GIL that this call holds).
    """
    from circuits.engine import given

    seconds = {}
    report("witness")
    started = time.monotonic()
    settings = json.loads(files.settings.read_text())
    made = given.for_proof(files, inputs, settings, input_salt, partial(_commit, files))
    try:
        witness = ezkl.gen_witness(
            _input_data(made.inputs), str(files.compiled), "witness.json", None, None
        )
    except BaseException as error:
        raise _witness_error(error) from None
    _check_tables(witness, settings)
    seconds["witness"] = time.monotonic() - started
    report("prove")
    started = time.monotonic()
    sys.setswitchinterval(_ASKS_AGAIN_S)
    try:
        ezkl.prove("witness.json", str(files.compiled), str(files.pk), "proof.json", str(files.srs))
    except BaseException as error:
        raise redacted(as_engine_error(error)) from None
    seconds["prove"] = time.monotonic() - started
    proof_json = normalise_proof(Path("proof.json").read_bytes())
    parsed = parse_proof(proof_json)
    return ProofResult(
        proof_json=proof_json,
        instances=list(parsed.instances),
        proof=parsed.proof,
        seconds=seconds,
        identity=made.weights,
        input_identity=made.named,
    )


def commit_weights(network: bytes, files: CircuitFiles) -> tuple[bytes, tuple[str, ...]]:
    """A network with private weights and, from now on, a salt for their identity; and that."""
    from circuits.engine import given

    return given.commit_weights(network, partial(_commit, files))


def _commit(files: CircuitFiles, column: Felts) -> bytes:
    """The commitment to a column, with what the engine puts on the rows behind it."""
    paths = (str(files.vk), str(files.settings), str(files.srs))
    return b"".join(_point(ezkl.kzg_commit(column, *paths)[0]))


def verify(proof_json: bytes, settings: bytes, vk: bytes, srs_part: bytes) -> bool:
    """Whether the proof holds; the engine reports "no" as an exception. Raises
    ``EngineOutOfMemory`` and ``StorageFull``, which are no answer."""
    Path("proof.json").write_bytes(proof_json)
    Path("settings.json").write_bytes(settings)
    Path("vk").write_bytes(vk)
    Path("srs").write_bytes(srs_part)
    try:
        return bool(ezkl.verify("proof.json", "settings.json", "vk", "srs", False))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        found = as_engine_error(error)
        if isinstance(found, EngineOutOfMemory | StorageFull):
            raise found from None
        return False


def evm_verifier(vk: bytes, settings: bytes, srs_part: bytes) -> str:
    """The verifier contract's Solidity source.

    The engine writes it and then wants its own copy of a compiler for the ABI, which it would
    download: it is shown an empty home and no way out, and its complaint about that is expected.
    """
    import asyncio

    Path("vk").write_bytes(vk)
    Path("settings.json").write_bytes(settings)
    Path("srs").write_bytes(srs_part)
    os.environ.update(dict.fromkeys(("HOME", "XDG_DATA_HOME"), str(Path.cwd())))
    os.environ.update(dict.fromkeys(("HTTPS_PROXY", "https_proxy", "ALL_PROXY"), _NO_WAY_OUT))
    os.environ.pop("NO_PROXY", None)
    os.environ.pop("no_proxy", None)

    async def create() -> None:
        await ezkl.create_evm_verifier("vk", "settings.json", "verifier.sol", "abi", "srs", False)

    try:
        asyncio.run(create())
    except BaseException as error:
        source = Path("verifier.sol")
        if not source.exists() or not source.read_text().rstrip().endswith("}"):
            raise as_engine_error(error) from None
    return Path("verifier.sol").read_text()


def poseidon(felts: Felts) -> str:
    """The engine's Poseidon hash of a tensor, as it stands among a proof's instances."""
    (digest,) = ezkl.poseidon_hash(felts)
    return str(digest)


def generate_srs(path: Path, logrows: int) -> None:
    """Makes an SRS whose secret this process knew."""
    ezkl.gen_srs(str(path), logrows)


def _compile(onnx: bytes, settings: str, out: Path) -> None:
    from circuits.engine.constants import patch_constants
    from circuits.engine.layout_checks import leans_on_operators

    Path("network.onnx").write_bytes(onnx)
    (out / "settings.json").write_text(settings)
    if leans_on_operators(onnx):
        _check_operators(onnx, RunArgs.of(json.loads(settings)))
    ezkl.compile_circuit("network.onnx", str(out / "compiled"), str(out / "settings.json"))
    patch_constants(onnx, out / "compiled")


def _check_operators(onnx: bytes, args: RunArgs) -> None:
    """``onnx`` is ``network.onnx`` in the current folder."""
    from circuits.engine.layout_checks import check_operators

    table = ezkl.table("network.onnx", _run_args(args))
    check_operators(onnx, args.input_visibility, table)


def _run_args(args: RunArgs) -> Any:
    out = ezkl.PyRunArgs()
    for name, value in asdict(args).items():
        setattr(out, name, value)
    return out


def _input_data(inputs: Iterable[Felts]) -> str:
    """Raw field elements: the engine does no quantising of its own."""
    return json.dumps({"input_data": list(inputs)})


def _check_tables(witness: dict[str, Any], settings: dict[str, Any]) -> None:
    if settings["required_lookups"]:
        low, high = settings["run_args"]["lookup_range"]
        if witness["min_lookup_inputs"] < low or witness["max_lookup_inputs"] > high:
            raise InputOutOfRange(
                "the input drives a value inside the model outside the circuit's lookup table"
            )
    widest = max((high - low for low, high in settings["required_range_checks"]), default=0)
    if witness["max_range_size"] > widest:
        raise InputOutOfRange(
            "the input drives a value inside the model outside the circuit's range checks"
        )


def _witness_error(error: BaseException) -> ZkmlError:
    if "synthesis error" in str(error):  # a decomposition did not hold its value
        return InputOutOfRange(
            "the input drives a value inside the model beyond what the circuit can hold"
        )
    return redacted(as_engine_error(error))


def _engine_error(error: BaseException) -> EngineError:
    if isinstance(error, (KeyboardInterrupt, MemoryError)):
        raise error
    mapped = as_engine_error(error)
    if isinstance(mapped, StorageFull):
        raise mapped
    return mapped if isinstance(mapped, EngineError) else EngineError(str(mapped))


def version() -> str:
    """The engine's version as installed; shows that it loads."""
    return importlib.metadata.version(ezkl.__name__)
