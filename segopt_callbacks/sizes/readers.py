"""What is inside a `.tflite`, `.h5` or `.keras`: its tensors, read from the bytes themselves, without TensorFlow.

Every reader maps the file instead of loading it, and believes no length before comparing it with the bytes there are.
"""

from __future__ import annotations

import hashlib
import mmap
import re
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SMALL = 1024  # bytes; equal tensors below it are shapes, biases and the like, not a weight stored twice
_HIGHEST_RATIO = 100  # of a zip member; beyond that it is a bomb, for Keras does not compress at all
_OPTIMIZER = re.compile(r"(^|/)[._]*optimizer(_weights|_slot)?(/|$)", re.IGNORECASE)
_TFLITE = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 5: "string", 6: "bool", 7: "int16"}
_TFLITE |= {9: "int8", 10: "float64", 12: "uint64", 15: "uint32", 16: "uint16", 17: "int4", 18: "bfloat16"}


class CorruptFileError(ValueError):
    """A file is not what its name says, or is cut off."""


@dataclass(frozen=True)
class StoredTensor:
    """One tensor in a file.

    Attributes:
        size_bytes: bytes that its values take in the file.
        dtype: such as `"float32"`.
        is_optimizer: whether it is optimizer state, which inference never reads.
        content: equal for tensors of equal values; `None` where that is not known, or the tensor is small.
    """

    size_bytes: int
    dtype: str
    is_optimizer: bool = False
    content: Hashable = None


def mapped(path: Path) -> memoryview:
    """The bytes of a file, mapped into memory rather than read.

    Raises:
        CorruptFileError: if the file is empty.
    """
    with path.open("rb") as stream:
        if not path.stat().st_size:
            raise CorruptFileError("the file is empty")
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


def digest(data: memoryview) -> Hashable:
    """What is equal for equal bytes; `None` for few of them."""
    return hashlib.blake2b(data, digest_size=16).digest() if len(data) >= SMALL else None


def is_optimizer(path: str) -> bool:
    """Whether a variable's path in a file lies in an optimizer.

    >>> is_optimizer("optimizer/vars/3"), is_optimizer("conv/kernel/.OPTIMIZER_SLOT/m"), is_optimizer("conv/kernel")
    (True, True, False)
    """
    return bool(_OPTIMIZER.search(path))


# --- .tflite: a flatbuffer of tables, each of which finds its fields through a table of offsets ----------------------


class _FlatBuffer:
    def __init__(self, data: memoryview) -> None:
        self.data = data

    def number(self, layout: str, position: int) -> int:
        """The number at a position, `layout` as in `struct`."""
        if not 0 <= position <= len(self.data) - struct.calcsize(layout):
            raise CorruptFileError("it points outside of itself, so it is cut off or damaged")
        return struct.unpack_from(layout, self.data, position)[0]

    def follow(self, position: int) -> int:
        """Where the offset at a position leads."""
        return position + self.number("<I", position)

    def field(self, table: int, index: int) -> int:
        """Where the field of a table is, 0 if it has its default."""
        offsets = table - self.number("<i", table)
        slot = 4 + 2 * index
        offset = self.number("<H", offsets + slot) if slot < self.number("<H", offsets) else 0
        return table + offset if offset else 0

    def scalar(self, table: int, index: int, layout: str) -> int:
        """A field that is a number, 0 by default."""
        position = self.field(table, index)
        return self.number(layout, position) if position else 0

    def vector(self, table: int, index: int, width: int) -> tuple[int, int]:
        """Start and length of a field that is a vector of elements of `width` bytes."""
        position = self.field(table, index)
        if not position:
            return 0, 0
        start = self.follow(position)
        length = self.number("<I", start)
        if start + 4 + length * width > len(self.data):
            raise CorruptFileError(f"it claims {length * width:,} bytes where {len(self.data) - start - 4:,} are left")
        return start + 4, length

    def tables(self, table: int, index: int) -> Iterator[int]:
        """Where each table of a field is that is a vector of tables."""
        start, length = self.vector(table, index, 4)
        return (self.follow(start + 4 * position) for position in range(length))


def read_tflite(path: Path) -> list[StoredTensor]:
    """The constant tensors of a LiteRT file.

    Raises:
        CorruptFileError: if the file is no LiteRT model, or damaged.
    """
    data = mapped(path)
    if bytes(data[4:8]) != b"TFL3":
        raise CorruptFileError("it does not begin like a LiteRT model (TFL3)")
    flat = _FlatBuffer(data)
    model = flat.follow(0)
    dtypes = {}  # number of a buffer -> dtype; buffers that no tensor uses hold metadata
    for subgraph in flat.tables(model, 2):
        for tensor in flat.tables(subgraph, 0):
            dtypes[flat.scalar(tensor, 2, "<I")] = _TFLITE.get(flat.scalar(tensor, 1, "<b"), "other")
    tensors = []
    for number, buffer in enumerate(flat.tables(model, 4)):
        start, length = flat.vector(buffer, 0, 1)
        if not length and flat.scalar(buffer, 1, "<Q") > 1:  # files above 2 GB keep their buffers behind the flatbuffer
            start, length = flat.scalar(buffer, 1, "<Q"), flat.scalar(buffer, 2, "<Q")
            if start + length > len(data):
                raise CorruptFileError(f"it claims {length:,} bytes where {max(len(data) - start, 0):,} are left")
        if length and number in dtypes:
            tensors.append(StoredTensor(length, dtypes[number], content=digest(data[start : start + length])))
    return tensors


# --- .h5 and .keras --------------------------------------------------------------------------------------------------


def read_hdf5(path: Path) -> list[StoredTensor]:
    """The datasets of an HDF5 file.

    Raises:
        CorruptFileError: if the file is not HDF5, or damaged.
    """
    import h5py

    limit = path.stat().st_size
    if not limit:
        raise CorruptFileError("the file is empty")
    tensors: list[StoredTensor] = []

    def visit(name: str, found: Any) -> None:
        if isinstance(found, h5py.Dataset):
            size = found.id.get_storage_size()
            if size > limit:
                raise CorruptFileError(f"{name!r} claims {size:,} bytes where the file has {limit:,}")
            tensors.append(StoredTensor(size, found.dtype.name, is_optimizer(name)))

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except CorruptFileError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise CorruptFileError(f"HDF5 cannot read it ({' '.join(str(error).split())})") from error
    return tensors


def read_keras(path: Path) -> list[StoredTensor]:
    """The weights in a `.keras` file: a zip of `config.json` and HDF5 files.

    Raises:
        CorruptFileError: if it is no such zip, or damaged.
    """
    mapped(path)
    if not zipfile.is_zipfile(path):
        raise CorruptFileError("it is no zip file, or cut off")
    tensors: list[StoredTensor] = []
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            if "config.json" not in archive.namelist():
                raise CorruptFileError("it holds no config.json, so it is no Keras model")
            for member in archive.infolist():
                if member.filename.endswith(".h5"):
                    tensors += read_hdf5(_extracted(archive, member, Path(folder) / "weights.h5"))
    except CorruptFileError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise CorruptFileError(f"the zip file is damaged ({error})") from error
    return tensors


def _extracted(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> Path:
    # To the disk: HDF5 seeks, which is slow inside of a zip, and memory stays bounded.
    if member.file_size > _HIGHEST_RATIO * max(member.compress_size, 1):
        raise CorruptFileError(f"{member.filename} claims {member.file_size:,} bytes out of {member.compress_size:,}")
    with archive.open(member) as source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy)
    return target
