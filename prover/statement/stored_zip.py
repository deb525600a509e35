"""The pieces of a zip archive in canonical form: every member stored, no extra fields, no comments,
the zip epoch as time. Readers compare each piece with the result of these functions.
"""

from __future__ import annotations

import struct

LOCAL = struct.Struct("<4s5H3L2H")
LOCAL_MAGIC, CENTRAL_MAGIC, END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"

_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_VERSION = 20
_UNIX = 3 << 8
_DOS_EPOCH = (1 << 5) | 1  # 1 January 1980; the time of day is 0
_MODE = 0o100644 << 16


def local_header(name: str, size: int, crc: int) -> bytes:
    """The header before a member's bytes."""
    raw = name.encode("ascii")
    return LOCAL.pack(LOCAL_MAGIC, *_shared(size, crc), len(raw), 0) + raw


def directory_entry(name: str, size: int, crc: int, offset: int) -> bytes:
    """A member's entry in the directory; ``offset`` is that of its local header."""
    raw = name.encode("ascii")
    entry = _CENTRAL.pack(
        CENTRAL_MAGIC,
        _UNIX | _VERSION,
        *_shared(size, crc),
        len(raw),
        0,
        0,
        0,
        0,
        _MODE,
        offset,
    )
    return entry + raw


def end_record(count: int, directory_size: int, offset: int) -> bytes:
    """The end record; ``offset`` is the directory's."""
    return _END.pack(END_MAGIC, 0, 0, count, count, directory_size, offset, 0)


def _shared(size: int, crc: int) -> tuple[int, ...]:
    return (_VERSION, 0, 0, 0, _DOS_EPOCH, crc, size, size)
