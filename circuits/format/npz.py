"""Reading numpy's ``.npz`` and ``.npy`` from strangers: no pickles, no lies about sizes."""

from __future__ import annotations

import io
import math
import zipfile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

#: How a zip archive, and so an ``.npz`` file, begins.
MAGIC = b"PK\x03\x04"
MAX_UNPACKED = 1 << 30
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(data: bytes, *, max_unpacked: int = MAX_UNPACKED) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz`` file by name.

    Raises ``ValueError`` with a short reason for anything but a readable file of plain arrays that
    unpack to at most ``max_unpacked`` bytes.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > max_unpacked:
                raise _Refused(f"unpacks to more than {max_unpacked >> 20} MiB")
            return {
                entry.filename.removesuffix(".npy"): _read_array(archive, entry)
                for entry in archive.infolist()
            }
    except _Refused:
        raise
    except Exception as error:
        # zipfile, zlib and numpy raise a dozen unrelated types for a file made to harm.
        raise ValueError("is damaged, or no .npz file") from error


def read_npy(data: bytes) -> NDArray[Any]:
    """The array of an ``.npy`` file. Raises ``ValueError`` with a short reason."""
    try:
        return _array(io.BytesIO(data), len(data))
    except _Refused:
        raise
    except Exception as error:
        raise ValueError("is damaged, or no .npy file") from error


class _Refused(ValueError):
    """A file that could be read and will not be."""


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(entry) as handle:
        return _array(handle, entry.file_size)


def _array(handle: IO[bytes], size: int) -> NDArray[Any]:
    """One array, allocated only if its bytes are there."""
    header = _HEADERS.get(np.lib.format.read_magic(handle))
    if header is None:
        raise _Refused("has an array of an unknown format")
    shape, fortran_order, dtype = header(handle)
    if dtype.hasobject:
        raise _Refused("holds pickled objects, which are never read")
    count = math.prod(shape)
    if count * dtype.itemsize > size:
        raise _Refused("has an array that is larger than its bytes")
    flat = np.frombuffer(handle.read(count * dtype.itemsize), dtype, count)
    return flat.reshape(shape, order="F" if fortran_order else "C").copy()
