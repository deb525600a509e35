"""The canonical form of a bundle."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.errors import BundleInvalid, BundleTooLarge
from prover.statement.bundle import MAX_BYTES, Bundle, read_bundle, write_bundle
from tests.conformance.make_vectors import FOLDER

GOOD = (FOLDER / "public.zkml").read_bytes()
NAMES = [
    "receipt.dsse.json",
    "proof.json",
    "settings.json",
    "vk.key",
    "srs_part.bin",
    "manifest.json",
    "plan.json",
    "signer.json",
    "lanes.json",
    "input.json",
    "model.onnx",
]
MEMBERS = st.binary(max_size=40)


def repacked(
    extra: Mapping[str, bytes] = MappingProxyType({}), compression: int = zipfile.ZIP_STORED
) -> bytes:
    """The good bundle's members but the model, and more, through an ordinary zip writer."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(GOOD)) as old, zipfile.ZipFile(out, "w", compression) as new:
        for name in old.namelist()[:-1]:
            new.writestr(name, old.read(name))
        for name, data in extra.items():
            new.writestr(name, data)
    return out.getvalue()


@given(
    st.builds(
        Bundle,
        **dict.fromkeys(("proof", "settings", "vk", "srs_part", "manifest", "plan"), MEMBERS),
        **dict.fromkeys(("receipt", "signer"), MEMBERS),
        **dict.fromkeys(("lanes", "input", "model"), st.none() | MEMBERS),
    )
)
def test_what_is_written_reads_back_and_any_zip_tool_opens_it(bundle: Bundle) -> None:
    data = write_bundle(bundle)
    assert read_bundle(data) == bundle
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [n for n in NAMES if n in archive.namelist()]
        assert archive.read("proof.json") == bundle.proof


@given(st.binary(max_size=400), st.integers(0, len(GOOD)))
def test_no_other_bytes_are_a_bundle(data: bytes, at: int) -> None:
    for edited in (data, GOOD[:at], GOOD[:at] + data, GOOD[:at] + data + GOOD[at:]):
        if edited != GOOD:
            with pytest.raises(BundleInvalid):
                read_bundle(edited)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (repacked(), "not canonical|canonical form"),
        (repacked(compression=zipfile.ZIP_DEFLATED), "not stored"),
        (repacked({"../../etc/passwd": b"x"}), "unknown member"),
        (repacked({"/proof.json": b"x"}), "unknown member"),
        (
            repacked(
                dict.fromkeys(
                    (
                        "model.onnx",
                        "lanes.json",
                        "weights.bin",
                        "identity.bin",
                        "input_identity.bin",
                        "more",
                    ),
                    b"x",
                )
            ),
            "too many members",
        ),
        (GOOD + GOOD, "not canonical|canonical form"),
        (b"MZ" + GOOD, "does not begin"),
    ],
    ids=["times", "deflated", "traversal", "absolute", "surplus", "twice", "prefixed"],
)
def test_a_zip_of_another_form_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(BundleInvalid, match=said):
        read_bundle(data)


def test_members_are_all_there_once_and_in_order() -> None:
    bundle = read_bundle(GOOD)
    with zipfile.ZipFile(io.BytesIO(GOOD)) as archive:
        assert archive.namelist() == [n for n in NAMES if n != "lanes.json"]
    second = GOOD.index(b"PK\x03\x04", 4)
    for data in (GOOD[second:], GOOD[:second] + GOOD):
        with pytest.raises(BundleInvalid):
            read_bundle(data)
    assert read_bundle(write_bundle(replace(bundle, model=None))).model is None


def test_sizes_are_bounded_before_anything_is_copied() -> None:
    with pytest.raises(BundleTooLarge):
        write_bundle(replace(read_bundle(GOOD), srs_part=bytes(517)))
    lying = bytearray(GOOD)
    struct.pack_into("<2L", lying, 18, 1 << 31, 1 << 31)  # the first member's stated sizes
    with pytest.raises(BundleTooLarge):
        read_bundle(bytes(lying))

    class Huge(bytes):
        def __len__(self) -> int:
            return MAX_BYTES + 1

    with pytest.raises(BundleTooLarge):
        read_bundle(Huge())
