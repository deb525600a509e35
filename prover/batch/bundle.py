"""A batch bundle: the bundles of all items in one file, with shared parts stored once.

A zip archive in canonical form (``stored_zip``): members ``objects/HEX``, named by the SHA-256 of
their bytes, in the order in which the items first use them, and ``index.json`` last. The index is
canonical JSON, ``{"batch", "items": [{"id", "number", "members": {NAME: HEX, …}}, …],
"schema": 1}``, items by number. An item's members are the bytes that ``prover.statement.bundle``
writes for it. The index is untrusted: each item is verified by itself.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

from circuits.format.digests import canonical_json, parse_canonical_json
from prover.errors import BundleInvalid, BundleTooLarge
from prover.statement.bundle import Bundle
from prover.statement.stored_zip import (
    LOCAL,
    LOCAL_MAGIC,
    directory_entry,
    end_record,
    local_header,
)

INDEX = "index.json"
#: Limits of zip without extensions: 16 and 32 bits.
MAX_OBJECTS, MAX_BYTES = (1 << 16) - 2, (1 << 32) - 1
_MAX_MEMBER = 256 << 20
#: Members cached for the next items: those of a few proofs.
_RECENT = 32
_PREFIX = "objects/"
_NAME = re.compile(r"objects/[0-9a-f]{64}\Z")
_MEMBERS = tuple(f.name for f in fields(Bundle))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An item in the index: which objects its bundle is made of."""

    id: str | None
    number: int
    members: dict[str, str]


class BatchBundleWriter:
    """Writes a batch bundle item by item, with one item in memory at a time."""

    def __init__(self, out: IO[bytes], batch_id: str) -> None:
        self._out, self._batch_id = out, batch_id
        self._places: dict[str, tuple[int, int, int]] = {}  # size, checksum, offset by name
        self._items: list[dict[str, Any]] = []
        self._offset = 0
        self._recent: OrderedDict[int, tuple[bytes, str]] = OrderedDict()

    def add(self, item_id: str | None, number: int, bundle: Bundle) -> None:
        """Adds an item; items come in the order of their numbers. Raises ``BundleTooLarge``."""
        members = {}
        for name in _MEMBERS:
            data = getattr(bundle, name)
            if data is not None:
                digest = self._digest(data)
                self._put(_PREFIX + digest, data)
                members[name] = digest
        self._items.append({"id": item_id, "number": number, "members": members})

    def _digest(self, data: bytes) -> str:
        """The digest; cached for recently hashed objects."""
        known = self._recent.get(id(data))
        if known is None:
            known = self._recent[id(data)] = (data, hashlib.sha256(data).hexdigest())
            if len(self._recent) > _RECENT:
                self._recent.popitem(last=False)
        return known[1]

    def close(self) -> None:
        """Writes index and directory, which completes the bundle."""
        index = {"schema": 1, "batch": self._batch_id, "items": self._items}
        self._put(INDEX, canonical_json(index))
        size = 0
        for name, (length, crc, offset) in self._places.items():
            size += self._out.write(directory_entry(name, length, crc, offset))
        self._out.write(end_record(len(self._places), size, self._offset))

    def _put(self, name: str, data: bytes) -> None:
        if name in self._places:
            return
        crc = zlib.crc32(data)
        header = local_header(name, len(data), crc)
        after = self._offset + len(header) + len(data)
        if len(self._places) > MAX_OBJECTS or after > MAX_BYTES:
            raise BundleTooLarge(
                "the batch is too large for one bundle", advice="Fetch its items one by one."
            )
        self._places[name] = (len(data), crc, self._offset)
        self._out.write(header)
        self._out.write(data)
        self._offset = after


class BatchBundle:
    """An opened batch bundle whose form has been checked completely."""

    def __init__(self, file: IO[bytes], places: dict[str, tuple[int, int]], index: Any) -> None:
        self._file, self._places = file, places
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self.batch_id: str = index["batch"]
        self.entries: tuple[Entry, ...] = tuple(Entry(**entry) for entry in index["items"])
        uses = [digest for entry in self.entries for digest in entry.members.values()]
        self._shared = _repeated(uses)

    def bundle(self, entry: Entry) -> Bundle:
        """The bundle of one item. Items with a common part get the same object."""
        return Bundle(**{name: self._object(d) for name, d in entry.members.items()})

    def _object(self, digest: str) -> bytes:
        if digest in self._kept:
            self._kept.move_to_end(digest)
            return self._kept[digest]
        offset, size = self._places[_PREFIX + digest]
        self._file.seek(offset)
        data = self._file.read(size)
        if digest in self._shared:
            self._kept[digest] = data
            if len(self._kept) > _RECENT:
                self._kept.popitem(last=False)
        return data


def is_batch_bundle(path: Path) -> bool:
    """Whether a file begins as a batch bundle does."""
    with path.open("rb") as handle:
        start = handle.read(LOCAL.size + len(_PREFIX))
    return start[:4] == LOCAL_MAGIC and start[LOCAL.size :] == _PREFIX.encode()


def open_batch_bundle(file: IO[bytes]) -> BatchBundle:
    """Reads a batch bundle, which must be exactly as ``BatchBundleWriter`` writes it.

    Hashes each object; memory use is constant. Raises ``BundleInvalid``.
    """
    places: dict[str, tuple[int, int]] = {}
    directory, offset, index = hashlib.sha256(), 0, b""
    size = 0
    for name, data in _walk(file):
        if name in places or index:
            raise BundleInvalid("a member is repeated or follows the index")
        crc = zlib.crc32(data)
        entry = directory_entry(name, len(data), crc, offset)
        directory.update(entry)
        size += len(entry)
        header = local_header(name, len(data), crc)
        places[name] = (offset + len(header), len(data))
        offset += len(header) + len(data)
        if name == INDEX:
            index = data
    file.seek(offset)
    rest = hashlib.sha256(file.read(size))
    tail = file.read(1024)
    if rest.digest() != directory.digest() or tail != end_record(len(places), size, offset):
        raise BundleInvalid("the batch bundle's zip structure is not canonical")
    return BatchBundle(file, places, _checked_index(index, [n for n in places if n != INDEX]))


def _walk(file: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """Members by their local headers, each in canonical form."""
    file.seek(0)
    while True:
        start = file.tell()
        header = file.read(LOCAL.size)
        if header[:4] != LOCAL_MAGIC or len(header) < LOCAL.size:
            return
        *_, crc, _packed, size, name_length, _extra = LOCAL.unpack(header)
        name = file.read(min(name_length, 128)).decode("latin-1")
        if size > _MAX_MEMBER:
            raise BundleTooLarge(f"{name[:80]!r} has {size} bytes; at most {_MAX_MEMBER} are read")
        if name != INDEX and not _NAME.match(name):
            raise BundleInvalid(f"the batch bundle has an unknown member {name[:40]!r}")
        data = file.read(size)
        if local_header(name, size, crc) != header + name.encode() or zlib.crc32(data) != crc:
            raise BundleInvalid(f"{name} is not stored in canonical form (at byte {start})")
        if name != INDEX and name != _PREFIX + hashlib.sha256(data).hexdigest():
            raise BundleInvalid(f"{name} does not match the digest in its name")
        yield name, data


def _checked_index(data: bytes, names: list[str]) -> Any:
    try:
        index = parse_canonical_json(data)
        if set(index) != {"schema", "batch", "items"} or index["schema"] != 1:
            raise ValueError("the index has another form")
        used: dict[str, None] = {}
        last = 0
        for entry in index["items"]:
            if set(entry) != {"id", "number", "members"} or entry["number"] <= last:
                raise ValueError("the items are not in order")
            last = entry["number"]
            members = entry["members"]
            if not set(members) <= set(_MEMBERS):
                raise ValueError("an item has an unknown member")
            for name in _MEMBERS:
                if name in members:
                    used[_PREFIX + members[name]] = None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleInvalid(f"the batch bundle's index is not canonical: {error}") from None
    if list(used) != names:
        raise BundleInvalid("the batch bundle's objects are not those of its items, in their order")
    return index


def _repeated(digests: Iterable[str]) -> frozenset[str]:
    seen: set[str] = set()
    twice: set[str] = set()
    for digest in digests:
        (twice if digest in seen else seen).add(digest)
    return frozenset(twice)
