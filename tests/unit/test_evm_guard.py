"""Guards: what they demand of each public instance, and that nothing goes around them."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from circuits.errors import ProofMalformed
from circuits.evm.errors import NotForContracts
from circuits.evm.guard import COMPILED, SOURCE, Accepted, Guard, read_vka
from circuits.format.commitments import Commitments, Weights
from circuits.format.hidden import Hidden
from circuits.format.hints import Hints
from circuits.format.manifest import Accuracy, CircuitManifest, SrsRef
from circuits.format.profile import Argument, Profile, Soundness, Target, Visibility
from circuits.format.tensors import ContextEncoding, InputEncoding, OutputEncoding, TensorSpec

ROOT = Path(__file__).parents[2]
HINTS = Hints(
    residues=5, results=(7,), challenged=False, output_bounds=(900,), most_bits=60, lookup=None
)


def manifest(
    profile: Profile, hints: Hints | None = None, hidden: Hidden | None = None
) -> CircuitManifest:
    """x of four elements from -0.3 to 1.75 at scale 2, y of three."""
    x = TensorSpec(name="x", dtype="float32", shape=(1, 4))
    y = TensorSpec(name="y", dtype="float32", shape=(1, 3))
    return CircuitManifest(
        circuit_id="",
        model_sha256="",
        rewritten_sha256="",
        passes=(),
        engine="ezkl",
        engine_version="",
        profile=profile,
        srs=SrsRef(logrows=6, sha256="", origin=""),
        files={},
        inputs=(InputEncoding(tensor=x, scale=2, lower=-0.3, upper=1.75),),
        context=ContextEncoding(limbs=1, bits=248),
        outputs=(OutputEncoding(tensor=y, scale=4),),
        proof_bytes=64,
        accuracy=Accuracy(max_error=0, agreement=1, samples=1, calibrated=True),
        hints=hints,
        hidden=hidden,
    )


EVM = manifest(Profile(target=Target.EVM))


def test_public_inputs_are_held_to_the_range_that_a_verifier_accepts() -> None:
    guard = Guard.of(EVM)
    assert guard.proof_bytes == 64
    assert guard.accepted == (
        Accepted(count=4, bounds=(-1, 7)),  # -0.3 and 1.75 in quarters, rounded
        Accepted(count=1),
        Accepted(count=3),
    )


def test_residues_have_to_be_zero_and_outputs_as_small_as_they_rely_on() -> None:
    accepted = Guard.of(manifest(Profile(), HINTS)).accepted
    assert accepted == (
        Accepted(count=4, bounds=(-1, 7)),
        Accepted(count=1),
        Accepted(count=7),
        Accepted(count=3, bounds=(-900, 900)),
        Accepted(count=5, bounds=(0, 0)),
    )


def test_a_hidden_input_is_bounded_by_the_circuit_and_its_residue_has_to_be_zero() -> None:
    private = Profile(visibility=Visibility.PRIVATE_INPUT)
    accepted = Guard.of(manifest(private, hidden=Hidden(inputs="table"))).accepted
    assert accepted == (
        Accepted(count=1),
        Accepted(count=3),
        Accepted(count=1, bounds=(0, 0)),
    )


def committed(visibility: Visibility, **changes: Any) -> CircuitManifest:
    shown = visibility.shows_input
    claim = Commitments(
        weights=Weights.SEALED,
        network_sha256="",
        elements=130,
        residues=2,
        output_bounds=(900,),
        evaluated=(2, 2) if shown else None,
    )
    profile = Profile(visibility=visibility, argument=Argument.COMMITTED, target=Target.EVM)
    return replace(
        manifest(profile),
        files={"vk": "sha256:" + "11" * 32, "settings": "sha256:" + "22" * 32},
        commitments=replace(claim, **changes),
    )


def test_a_guard_of_committed_hints_computes_what_the_circuit_shows() -> None:
    guard = Guard.of(committed(Visibility.PUBLIC), srs_part=b"srs")
    assert guard.challenged is not None
    assert guard.challenged.committed_bytes == 3 * 64  # of 130 elements in columns of 58
    assert guard.challenged.inputs == Accepted(count=4, bounds=(-1, 7))
    assert guard.challenged.width == 2
    assert guard.accepted == (
        Accepted(count=5),  # challenges
        Accepted(count=1),  # the input's evaluation
        Accepted(count=3, bounds=(-900, 900)),
        Accepted(count=2, bounds=(0, 0)),
    )
    private = Guard.of(committed(Visibility.PRIVATE_INPUT), srs_part=b"srs")
    assert private.challenged is not None
    assert (private.challenged.inputs.count, private.challenged.width) == (0, 0)


@pytest.mark.parametrize(
    ("changes", "given"),
    [
        ({"weights": Weights.SHOWN, "folded": 5}, {"srs_part": b"srs"}),
        ({"lanes": 2}, {"srs_part": b"srs"}),
        ({}, {"srs_part": b"srs", "vka": bytes(32)}),
        ({}, {}),
    ],
)
def test_committed_hints_that_no_contract_checks_have_no_guard(
    changes: dict[str, Any], given: dict[str, bytes]
) -> None:
    with pytest.raises(NotForContracts):
        Guard.of(committed(Visibility.PRIVATE_INPUT, **changes), **given)


@pytest.mark.parametrize(
    "unfit",
    [
        manifest(Profile(), replace(HINTS, challenged=True)),
        manifest(Profile(soundness=Soundness.FREIVALDS)),
        manifest(Profile(visibility=Visibility.PRIVATE_INPUT)),  # of an older compiler
        *(
            manifest(Profile(visibility=visibility), hidden=Hidden(weights=1 << 24))
            for visibility in (Visibility.HASHED_WEIGHTS, Visibility.PRIVATE_WEIGHTS)
        ),
    ],
)
def test_what_no_contract_checks_has_no_guard(unfit: CircuitManifest) -> None:
    with pytest.raises(NotForContracts) as caught:
        Guard.of(unfit)
    assert "--target evm" in caught.value.advice


@pytest.mark.parametrize("bounds", [(1, 0), (-(1 << 111) - 1, 0), (0, 1 << 111)])
def test_bounds_that_do_not_fit_are_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no guard"):
        Accepted(count=1, bounds=bounds)


def test_calldata_of_other_lengths_is_not_made() -> None:
    guard = Guard.of(EVM)
    felts = ["00" * 32] * 8
    assert len(guard.calldata(bytes(64), felts)) == 4 + 4 * 32 + 64 + 8 * 32
    for proof, instances in ((bytes(96), felts), (bytes(64), felts[1:])):
        with pytest.raises(ProofMalformed, match="the guard takes 64 and 8"):
            guard.calldata(proof, instances)


def test_a_key_artifact_is_as_long_as_it_says() -> None:
    words = bytes(range(64))
    assert read_vka((2).to_bytes(8, "little") + words) == words
    for data in (b"", (1).to_bytes(8, "little") + words, (3).to_bytes(8, "little") + words):
        with pytest.raises(ValueError, match="artifact"):
            read_vka(data)


def test_the_compiled_guards_are_of_this_source() -> None:
    """Where there is no compiler; tests/integration/test_evm.py compiles it."""
    kept = json.loads(COMPILED.read_text(encoding="utf-8"))
    assert kept["source_sha256"] == hashlib.sha256(SOURCE.read_bytes()).hexdigest()


def test_nothing_but_a_guard_calls_a_verifier() -> None:
    """The verifiers' function, its selectors, and the engine's own encoder of calls to it."""
    direct = re.compile(r"verifyProof\(|1e8e1e13|3409fc9f|encode_evm_calldata|verify_evm")
    found = {
        str(path.relative_to(ROOT))
        for package in ("circuits", "prover", "api", "workers", "benchmarks", "docs")
        for kind in ("*.py", "*.sol", "*.md", "*.sh", "*.ts")
        for path in (ROOT / package).rglob(kind)
        if direct.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"circuits/evm/guard.sol", "docs/security/advisories/0001-evm-calldata.md"}
