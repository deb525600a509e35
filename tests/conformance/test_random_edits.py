"""Random edits: refused, or without a change of meaning; never a crash, never a long wait."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circuits.engine.ezkl_engine import EzklEngine
from circuits.format.digests import canonical_json
from prover.statement.bundle import Bundle, read_bundle, write_bundle
from prover.verify.bundle import verify_bundle
from prover.verify.policy import Policy
from prover.verify.report import Report
from tests.cases.verdicts import NOW
from tests.conformance.forgeries import Forgery, statement_of, with_file
from tests.conformance.make_vectors import FOLDER, public_key
from tests.effort import examples

pytestmark = pytest.mark.slow

POLICY = Policy(trusted=(public_key(1),))
DATA = (FOLDER / "public.zkml").read_bytes()
GOOD = read_bundle(DATA)
MEMBERS = [f.name for f in dataclasses.fields(Bundle) if getattr(GOOD, f.name) is not None]
RANDOM = settings(
    max_examples=examples(30, 300),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
#: Replace ``length`` bytes at a position (a share of the whole) by others.
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=40)), min_size=1, max_size=4
)


def edited(data: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for share, length, new in edits:
        at = int(share * len(data))
        data = data[:at] + new + data[at + length :]
    return data


def judged(data: bytes, engine: EzklEngine) -> Report:
    report = verify_bundle(data, policy=POLICY, engine=engine, now=NOW)
    assert len(report.checks) == 40
    assert not any("did not finish" in check.detail for check in report.checks)
    assert json.dumps(report.to_json())
    return report


@pytest.fixture(autouse=True)
def warm(engine: EzklEngine) -> None:
    """The engine's server process is up before anything is timed."""
    assert judged(DATA, engine).ok


@RANDOM
@given(edits=EDITS)
def test_an_edit_to_the_file(edits: list[tuple[float, int, bytes]], engine: EzklEngine) -> None:
    data = edited(DATA, edits)
    assert judged(data, engine).ok == (data == DATA)


@RANDOM
@given(member=st.sampled_from(MEMBERS), edits=EDITS)
def test_an_edit_to_a_member(
    member: str, edits: list[tuple[float, int, bytes]], engine: EzklEngine
) -> None:
    bundle = dataclasses.replace(GOOD, **{member: edited(getattr(GOOD, member), edits)})
    if member == "srs_part":
        bundle = dataclasses.replace(bundle, srs_part=bundle.srs_part[:516])
    assert judged(write_bundle(bundle), engine).ok == (bundle == GOOD)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@RANDOM
@given(data=st.data())
def test_an_edit_to_the_manifest_that_the_issuer_signs(
    data: st.DataObject, engine: EzklEngine
) -> None:
    """The deepest hand: any value at any place, every digest made to fit, signed by the key."""
    manifest = json.loads(GOOD.manifest)
    holder = manifest
    while True:
        key = data.draw(
            st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder)))
        )
        if not isinstance(holder[key], dict | list) or not holder[key] or data.draw(st.booleans()):
            break
        holder = holder[key]
    holder[key] = data.draw(JSON)
    forgery = Forgery(GOOD, statement_of(GOOD))
    try:
        forgery.set_member(manifest=json.dumps(manifest).encode())
        forgery.set_manifest(forgery.manifest)
        told = forgery.resigned()
    except Exception:  # so far from a manifest that not even a liar can state it
        told = dataclasses.replace(GOOD, manifest=json.dumps(manifest).encode())
    report = judged(write_bundle(told), engine)
    if report.ok:
        # What the proof itself establishes cannot have moved.
        stated = statement_of(told)["predicate"]
        honest = statement_of(GOOD)["predicate"]
        for part in ("felts", "values"):
            assert [o[part] for o in stated["outputs"]] == [o[part] for o in honest["outputs"]]
        assert stated["context"] == honest["context"]
        assert stated["input"]["commitment"] == honest["input"]["commitment"]
        assert stated["proof"] == honest["proof"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("context", "limbs"), 10**12),
        (("context", "bits"), 10**12),
        (("context", "limbs"), -1),
        (("inputs", 0, "shape"), [10**6] * 6),
        (("inputs", 0, "scale"), 10**9),
        (("inputs", 0, "scale"), -(10**30)),
        (("inputs", 0, "lower"), "low"),
        (("outputs", 0, "shape"), [10**12]),
        (("outputs", 0, "scale"), 10**30),
        (("outputs", 0, "scale"), -5000),
        (("outputs",), []),
        (("profile", "visibility"), "none"),
        (("schema",), 2),
    ],
    ids=str,
)
def test_a_manifest_out_of_bounds(
    path: tuple[str | int, ...], value: object, engine: EzklEngine
) -> None:
    manifest = json.loads(GOOD.manifest)
    holder = manifest
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    bundle = dataclasses.replace(GOOD, manifest=canonical_json(manifest))
    assert not judged(write_bundle(bundle), engine).ok


@RANDOM
@given(
    name=st.sampled_from(
        [
            ("num_rows",),
            ("total_assignments",),
            ("total_const_size",),
            ("total_dynamic_col_size",),
            ("max_dynamic_input_len",),
            ("num_dynamic_lookups",),
            ("num_shuffles",),
            ("total_shuffle_col_size",),
            ("einsum_params", "total_einsum_col_size"),
            ("run_args", "num_inner_cols"),
            ("run_args", "logrows"),
            ("run_args", "decomp_legs"),
            ("run_args", "decomp_base"),
            ("run_args", "lookup_range", 1),
            ("required_range_checks", 0, 1),
            ("model_instance_shapes", 0, 0),
            ("model_input_scales", 0),
        ]
    ),
    value=st.integers(-(2**63), 2**63),
)
def test_a_number_in_the_settings_that_the_issuer_signs(
    name: tuple[str | int, ...], value: int, engine: EzklEngine
) -> None:
    """Some of these would keep the engine busy for ever."""
    found = json.loads(GOOD.settings)
    holder = found
    for part in name[:-1]:
        holder = holder[part]
    holder[name[-1]] = value
    data = json.dumps(found).encode()
    forgery = Forgery(dataclasses.replace(GOOD, settings=data), statement_of(GOOD))
    forgery.set_manifest(with_file(forgery.manifest, "settings", data))
    judged(write_bundle(forgery.resigned()), engine)


@pytest.mark.parametrize(
    "name", [("run_args", "num_inner_cols"), ("total_assignments",), ("total_const_size",)]
)
def test_a_large_key_does_not_vouch_for_endless_settings(
    name: tuple[str, ...], engine: EzklEngine
) -> None:
    """A key long enough for as many columns as the settings ask: the engine is not even asked."""
    found = json.loads(GOOD.settings)
    holder = found
    for part in name[:-1]:
        holder = holder[part]
    columns = 50_000
    holder[name[-1]] = columns * (1 if name[-1] == "num_inner_cols" else 1 << 10)
    key = GOOD.vk + bytes(32 * columns)
    bundle = dataclasses.replace(GOOD, settings=json.dumps(found).encode(), vk=key)
    report = judged(write_bundle(bundle), engine)
    (proof,) = [c for c in report.checks if c.name == "proof"]
    assert "another size than the key" in proof.detail
