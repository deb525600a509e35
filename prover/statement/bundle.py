"""The ``.zkml`` bundle: one file with a proof and everything its verification needs.

A bundle is a zip archive in canonical form: fixed member order, every member stored, no extra
fields, no comments, the zip epoch as time. Equal members give equal bytes, and any zip tool can
open a bundle. A reader compares the whole file with what the writer would write, so every byte is
determined. Nothing is ever decompressed.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from prover.errors import BundleInvalid, BundleTooLarge
from prover.statement.stored_zip import LOCAL, directory_entry, end_record, local_header

#: The largest bundle: 512 MiB.
MAX_BYTES = 512 << 20
_MEBI = 1 << 20

#: Members in order, with the largest size of each and whether it is required.
_MEMBERS: dict[str, tuple[int, bool]] = {
    "receipt.dsse.json": (64 * _MEBI, True),
    "proof.json": (64 * _MEBI, True),
    "settings.json": (4 * _MEBI, True),
    "vk.key": (128 * _MEBI, True),
    "srs_part.bin": (516, True),
    "manifest.json": (4 * _MEBI, True),
    "plan.json": (16 * _MEBI, True),
    "signer.json": (1 * _MEBI, True),
    "lanes.json": (4 * _MEBI, False),
    "weights.bin": (128 * _MEBI, False),
    "identity.bin": (128, False),
    "input_identity.bin": (192, False),
    "input.json": (64 * _MEBI, False),
    "model.onnx": (256 * _MEBI, False),
}


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """The members of a bundle, as bytes.

    ``receipt`` and ``signer`` are empty until ``envelope.sign_bundle`` fills them. ``signer`` is
    the public key of the signature, which can so be checked without a policy. ``lanes``: present if
    committed hints belong to several inputs (``circuits.format.commitments.Lanes``). ``weights``:
    only if shown and not in the circuit. ``identity``: only if they are private
    (``circuits.srs.identity``). ``input_identity``: only if an identity names the input
    (``circuits.srs.input_identity``). ``input``: only if public. ``model``: only if the issuer
    chose to include it.
    """

    proof: bytes
    settings: bytes
    vk: bytes
    srs_part: bytes
    manifest: bytes
    plan: bytes
    receipt: bytes = b""
    signer: bytes = b""
    lanes: bytes | None = field(default=None, repr=False)
    weights: bytes | None = field(default=None, repr=False)
    identity: bytes | None = field(default=None, repr=False)
    input_identity: bytes | None = field(default=None, repr=False)
    input: bytes | None = field(default=None, repr=False)
    model: bytes | None = field(default=None, repr=False)


_FIELDS = dict(
    zip(
        _MEMBERS,
        (
            "receipt",
            "proof",
            "settings",
            "vk",
            "srs_part",
            "manifest",
            "plan",
            "signer",
            "lanes",
            "weights",
            "identity",
            "input_identity",
            "input",
            "model",
        ),
        strict=True,
    )
)


def write_bundle(bundle: Bundle) -> bytes:
    """The bundle in canonical form. Raises ``BundleTooLarge``."""
    members: list[tuple[str, bytes]] = []
    for name, attribute in _FIELDS.items():
        data = getattr(bundle, attribute)
        if data is None:
            continue
        if len(data) > _MEMBERS[name][0]:
            raise BundleTooLarge(f"{name} has {len(data)} bytes; at most {_MEMBERS[name][0]} fit")
        members.append((name, data))
    packed = _pack(members)
    if len(packed) > MAX_BYTES:
        raise BundleTooLarge(f"the bundle has {len(packed)} bytes; at most {MAX_BYTES} are read")
    return packed


def read_bundle(data: bytes) -> Bundle:
    """Reads a bundle, which must be exactly as ``write_bundle`` writes it.

    Work and memory are linear in ``len(data)``. Raises ``BundleInvalid`` (or ``BundleTooLarge``)
    for anything else: unknown, missing, repeated or misplaced members, compression, encryption,
    comments, extra bytes, a wrong checksum.
    """
    if len(data) > MAX_BYTES:
        raise BundleTooLarge(f"the bundle has {len(data)} bytes; at most {MAX_BYTES} are read")
    members = _walk(data)
    names = [name for name, _ in members]
    order = [name for name in _MEMBERS if name in names]
    if names != order:
        raise BundleInvalid("the bundle's members are out of order, or one is repeated")
    missing = [name for name, (_, needed) in _MEMBERS.items() if needed and name not in names]
    if missing:
        raise BundleInvalid(f"the bundle lacks {', '.join(missing)}", missing=missing)
    if _pack(members) != data:
        raise BundleInvalid("the bundle's zip structure is not canonical")
    return Bundle(**{_FIELDS[name]: content for name, content in members})


def _walk(data: bytes) -> list[tuple[str, bytes]]:
    """Members by their local headers, from the first byte on; the caller checks the rest."""
    members: list[tuple[str, bytes]] = []
    at = 0
    while data[at : at + 4] == b"PK\x03\x04":
        if len(members) == len(_MEMBERS) or at + LOCAL.size > len(data):
            raise BundleInvalid("the bundle has too many members, or is truncated")
        *_, method, _time, _date, _crc, packed, size, name_length, extra = LOCAL.unpack_from(
            data, at
        )
        start = at + LOCAL.size + name_length + extra
        name = data[at + LOCAL.size : at + LOCAL.size + name_length].decode("latin-1")
        if name not in _MEMBERS:
            raise BundleInvalid(f"the bundle has an unknown member {name[:40]!r}")
        if method != 0 or packed != size or extra:
            raise BundleInvalid(f"{name} is not stored in canonical form")
        if size > _MEMBERS[name][0]:
            raise BundleTooLarge(f"{name} has {size} bytes; at most {_MEMBERS[name][0]} are read")
        if start + size > len(data):
            raise BundleInvalid(f"the bundle is truncated in {name}")
        members.append((name, data[start : start + size]))
        at = start + size
    if not members:
        raise BundleInvalid("the file is not a bundle: it does not begin with a zip member")
    return members


def _pack(members: list[tuple[str, bytes]]) -> bytes:
    body: list[bytes] = []
    directory: list[bytes] = []
    offset = 0
    for name, data in members:
        crc = zlib.crc32(data)
        local = local_header(name, len(data), crc)
        directory.append(directory_entry(name, len(data), crc, offset))
        body += [local, data]
        offset += len(local) + len(data)
    central = b"".join(directory)
    return b"".join([*body, central, end_record(len(members), len(central), offset)])
