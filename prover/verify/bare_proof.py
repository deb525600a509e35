"""Verification of a bare EZKL proof: what it establishes and what it does not."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.engine.port import Engine, Limits
from circuits.engine.proof_json import EzklProof, read_proof
from circuits.format.digests import sha256
from circuits.format.field import from_felt
from circuits.format.tensors import InputEncoding, TensorSpec
from circuits.srs import verify_part
from prover.verify.checks.engine_parts import VERIFY_LIMITS
from prover.verify.checks.evidence import (
    Evidence,
    Slot,
    Step,
    perform,
    refuse,
    skip,
    warn,
)
from prover.verify.checks.ezkl_settings import PUBLIC, EzklSettings
from prover.verify.checks.instances import quantised
from prover.verify.policy import Policy
from prover.verify.report import Layer, Report

_NOT_ESTABLISHED = (
    "Which model: nothing in these files binds the verifying key to an ONNX file.",
    "For whom or when: anybody can replay the proof for any purpose.",
    "Who made it: the files are not signed.",
    "That residues are zero: a circuit with hints has residues after its outputs, and only a"
    " manifest of zkml-prover says how many.",
    "That inputs lie in the range that the circuit was calibrated for.",
    "What the file says under pretty_public_inputs, version, timestamp and any further key: the"
    " engine ignores them.",
    "How close the circuit's outputs are to the model's.",
)


#: A version that may appear in a suggested command.
_VERSION = re.compile(r"[0-9]{1,4}([.][0-9]{1,4}){1,3}")
#: Larger values are not values of a model.
_EXACT = 2.0**96


@dataclass(frozen=True, kw_only=True)
class _Files:
    """The given files. The checks that read them fill the slots."""

    proof: bytes
    settings: bytes
    vk: bytes
    srs_part: bytes
    model: bytes | None
    inputs: list[NDArray[Any]] | None
    read: Slot[EzklProof]
    parsed: Slot[EzklSettings]


def verify_raw(
    proof: bytes,
    settings: bytes,
    vk: bytes,
    *,
    engine: Engine,
    srs_part: bytes | None = None,
    model: bytes | None = None,
    inputs: list[NDArray[Any]] | None = None,
    limits: Limits = VERIFY_LIMITS,
) -> Report:
    """Checks a proof made with EZKL, from EZKL's own files.

    ``srs_part``: 516 bytes (``verify_part.extract``); without it, the public ceremony's pinned
    constants. ``inputs``: the expected input, one array per model input, in order.
    Never raises for anything in the files.

    (1) proof-form: it is an EZKL proof, instances are canonical, hex_proof equals proof
    (2) settings: they are readable and of this engine's version
    (3) instances: their number is that of the settings
    (4) pretty: pretty_public_inputs agrees with the instances
    (5) input: the expected input, quantised by the settings' scales, is the one in the proof
    (6) srs: the reference string is the public ceremony's, or another
    (7) proof: the engine accepts the proof under this key, these settings, this reference string
    (8) proof-length: the engine rejects a shorter proof, so no bytes are appended
    (9) model: never established by these files alone
    (10) products: none is checked by Freivalds' argument, which allows forged outputs
    """
    files = _Files(
        proof=proof,
        settings=settings,
        vk=vk,
        srs_part=verify_part.PUBLIC_CEREMONY if srs_part is None else srs_part,
        model=model,
        inputs=inputs,
        read=Slot("proof"),
        parsed=Slot("settings"),
    )
    evidence = Evidence(policy=Policy(), engine=engine, now=datetime.now(UTC), limits=limits)
    steps = (
        Step(1, "proof-form", Layer.SCHEMA, lambda _: _form(files)),
        Step(2, "settings", Layer.SCHEMA, lambda e: _settings(files, e)),
        Step(3, "instances", Layer.INSTANCES, lambda _: _count(files)),
        Step(4, "pretty", Layer.INSTANCES, lambda _: _pretty(files)),
        Step(5, "input", Layer.INSTANCES, lambda _: _input(files)),
        Step(6, "srs", Layer.SETUP, lambda _: _srs(files)),
        Step(7, "proof", Layer.PROOF, lambda e: _proof(files, e)),
        Step(8, "proof-length", Layer.PROOF, lambda e: _length(files, e)),
        Step(9, "model", Layer.SETUP, lambda _: _model(files)),
        Step(10, "products", Layer.SETUP, lambda _: _products(files)),
    )
    checks = perform(steps, evidence)
    ok = not any(c.failed for c in checks)
    return Report(
        ok=ok,
        checks=checks,
        statement=None,
        words=_words(files) if ok else (),
        not_claimed=_NOT_ESTABLISHED,
    )


# (1)
def _form(files: _Files) -> str:
    files.read.fill(read_proof(files.proof))
    proof = files.read.value
    return f"{len(proof.proof)} bytes, {len(proof.instances)} public instances"


# (2)
def _settings(files: _Files, e: Evidence) -> str:
    files.parsed.fill(EzklSettings.parse(files.settings))
    settings = files.parsed.value
    if settings.version != e.engine.version:
        detail = f"made with EZKL {settings.version}; this verifier has {e.engine.version}"
        if _VERSION.fullmatch(settings.version):
            detail += f": check it with `pip install ezkl=={settings.version}` and `ezkl verify`"
        refuse(detail)
    return (
        f"EZKL {settings.version}, k = {settings.logrows}; input {settings.input_visibility},"
        f" weights {settings.param_visibility}, output {settings.output_visibility}"
    )


# (3)
def _count(files: _Files) -> str:
    settings = files.parsed.value
    stated = settings.hashes + sum(settings.sizes)
    found = len(files.read.value.instances)
    if settings.output_visibility == PUBLIC and found != stated:
        refuse(f"the proof has {found} instances, the settings require {stated}")
    return f"{found} instances"


# (4)
def _pretty(files: _Files) -> str:
    pretty = json.loads(files.proof).get("pretty_public_inputs")
    if not pretty:
        skip("the proof file has no pretty_public_inputs")
    settings = files.parsed.value
    said = [
        bytes.fromhex(felt.removeprefix("0x"))[::-1].hex()
        for group in ("inputs", "outputs")
        for tensor in pretty.get(group) or []
        for felt in tensor
    ]
    if said != files.read.value.instances[settings.hashes :]:
        refuse("pretty_public_inputs disagrees with the proof's instances")
    decoded = _decoded(files)
    rescaled = [t for g in ("rescaled_inputs", "rescaled_outputs") for t in pretty.get(g) or []]
    for tensor, values in zip(rescaled, decoded, strict=True):
        if not all(_close(float(a), b) for a, b in zip(tensor, values, strict=True)):
            refuse("the rescaled values of pretty_public_inputs disagree with the instances")
    return "agrees with the instances (the engine does not check it)"


def _close(stated: float, decoded: float) -> bool:
    if abs(decoded) > _EXACT:
        return True  # a raw element such as a context: EZKL cuts it to 128 bits before scaling
    return math.isclose(stated, decoded, rel_tol=1e-6, abs_tol=1e-9)


# (5)
def _input(files: _Files) -> str:
    if files.inputs is None:
        skip("no expected input was given")
    settings = files.parsed.value
    if settings.input_visibility != PUBLIC:
        skip(f"the input is {settings.input_visibility}: the instances do not show it")
    if len(files.inputs) != settings.public_inputs:
        refuse(f"{len(files.inputs)} inputs were given, the circuit has {settings.public_inputs}")
    at = settings.hashes
    for number, (values, scale, size) in enumerate(
        zip(files.inputs, settings.input_scales, settings.sizes, strict=False)
    ):
        spec = TensorSpec(name=str(number), dtype="float32", shape=(size,))
        encoding = InputEncoding(tensor=spec, scale=scale, lower=-math.inf, upper=math.inf)
        # EZKL reads an input as float32 before it scales.
        if (
            quantised(encoding, np.asarray(values, np.float32))
            != (files.read.value.instances[at : at + size])
        ):
            refuse(f"input {number} of the proof is not the expected one")
        at += size
    return "the expected input, quantised by this verifier, is the one in the proof"


# (6)
def _srs(files: _Files) -> str:
    verify_part.check(files.srs_part)
    if verify_part.ceremony(files.srs_part) is verify_part.Ceremony.PUBLIC:
        return "the public ceremony's, by the pinned constants"
    return "not the public ceremony's: its maker may be able to forge proofs"


# (7)
def _proof(files: _Files, e: Evidence) -> str:
    _require_version(files, e)
    if not _accepted(files, e, files.read.value):
        refuse(
            f"EZKL {e.engine.version} does not accept the proof under this key, these settings and"
            " this reference string"
        )
    return f"accepted by EZKL {e.engine.version}"


# (8)
def _length(files: _Files, e: Evidence) -> str:
    _require_version(files, e)
    proof = files.read.value
    if len(proof.proof) < 2:
        refuse("the proof is empty")
    shorter = EzklProof(instances=proof.instances, proof=proof.proof[:-1])
    if _accepted(files, e, shorter):
        refuse("the proof has appended bytes, which the engine ignores")
    return f"{len(proof.proof)} bytes, none appended"


def _require_version(files: _Files, e: Evidence) -> None:
    """Skips checks that need an engine of the proof's version."""
    made_with = files.parsed.value.version
    if made_with != e.engine.version:
        skip(f"EZKL {e.engine.version} cannot check proofs made with EZKL {made_with}")


def _accepted(files: _Files, e: Evidence, proof: EzklProof) -> bool:
    verify_part.check(files.srs_part)
    if not files.parsed.value.fits(files.vk):
        refuse("the settings describe a circuit of another size than the key's")
    return e.engine.verify(proof.to_bytes(), files.settings, files.vk, files.srs_part, e.limits)


# (9)
def _model(files: _Files) -> str:
    if files.model is None:
        skip("no model was given; the files do not name one")
    skip(
        f"the given model is {sha256(files.model)}: to bind it to the key, compile it with these"
        " settings and compare the verifying keys"
    )


def _decoded(files: _Files) -> list[list[float]]:
    """The public tensors as values, by the settings' scales."""
    settings = files.parsed.value
    instances = files.read.value.instances
    scales = [*settings.input_scales[: settings.public_inputs], *settings.output_scales]
    at = settings.hashes
    tensors = []
    for size, scale in zip(settings.sizes, scales, strict=False):
        felts = instances[at : at + size]
        tensors.append([math.ldexp(from_felt(f), -scale) for f in felts])
        at += size
    return tensors


# (10)
def _products(files: _Files) -> str:
    if files.parsed.value.freivalds_cells:
        warn(
            "the circuit has Freivalds products: the prover could choose the results of"
            " products, and so the outputs. Set disable_freivalds and prove again"
        )
    if files.parsed.value.committed:
        warn(
            "the circuit commits to tensors: if its challenges are hashes of the commitments,"
            " this was not checked"
        )
    return "no product is checked by Freivalds' argument"


def _words(files: _Files) -> tuple[str, ...]:
    settings = files.parsed.value
    tensors = _decoded(files)
    said = [
        f"Some model, compiled to the verifying key {sha256(files.vk)}, was evaluated by EZKL"
        f" {settings.version} on {_input_words(settings, tensors)} and gave:"
    ]
    said += [
        f"  output {number} = {_numbers(values)}"
        for number, values in enumerate(tensors[settings.public_inputs :])
    ]
    return tuple(said)


def _input_words(settings: EzklSettings, tensors: list[list[float]]) -> str:
    if not settings.public_inputs:
        return f"an input that is {settings.input_visibility}"
    return ", ".join(_numbers(values) for values in tensors[: settings.public_inputs])


def _numbers(values: list[float]) -> str:
    shown = ", ".join(f"{v:.6g}" for v in values[:8])
    more = f", … {len(values) - 8} more" if len(values) > 8 else ""
    return f"[{shown}{more}]"
