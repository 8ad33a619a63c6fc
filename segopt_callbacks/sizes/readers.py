"""What is inside a `.h5` or `.keras`: its tensors, read without TensorFlow; and what every reader needs.

Every reader maps the file instead of loading it, and believes no length before comparing it with the bytes there are.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import lzma
import mmap
import re
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SMALL = 1024  # bytes; equal tensors below it are shapes, biases and the like, not a weight stored twice
_MOST_TENSORS = 1_000_000  # a large language model has a thousand; each takes memory here
_HIGHEST_RATIO = 100  # of a zip member; beyond that it is a bomb, for Keras does not compress at all
_MUCH = 1 << 20  # bytes; what claims less than a hundred of it is no bomb
_MOST_MEMBERS = 100_000  # of a zip; each takes memory here
_DAMAGED_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)
_OPTIMIZER = re.compile(r"(^|/)[._]*optimizer(_weights|_slot)?(/|$)", re.IGNORECASE)


class CorruptFileError(ValueError):
    """A file is not what its name says, or is cut off."""


@dataclass(frozen=True, slots=True)
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


def collected(tensors: Iterable[StoredTensor]) -> list[StoredTensor]:
    """The tensors as a list that fits into memory.

    Raises:
        CorruptFileError: if they are more than any model has.
    """
    found = list(itertools.islice(tensors, _MOST_TENSORS + 1))
    if len(found) > _MOST_TENSORS:
        raise CorruptFileError(f"it claims more than {_MOST_TENSORS:,} tensors")
    return found


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
            if found.external or found.is_virtual:
                raise CorruptFileError(f"{name!r} has its values in another file")
            size = found.id.get_storage_size()
            if found.nbytes > _HIGHEST_RATIO * max(size, _MUCH):
                raise CorruptFileError(f"{name!r} claims {found.nbytes:,} bytes out of {size:,}")
            if size > limit:
                raise CorruptFileError(f"{name!r} claims {size:,} bytes where the file has {limit:,}")
            tensors.append(StoredTensor(size, found.dtype.name, is_optimizer(name)))

    def leads_out(name: str, link: Any) -> str | None:
        return None if isinstance(link, h5py.HardLink) else name

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
            if link := file.visititems_links(leads_out):  # raising in there loses the error
                raise CorruptFileError(f"{link!r} is a link, where Keras writes values")
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
            require_sound_zip(archive)
            for member in archive.infolist():
                if member.filename.endswith(".h5"):
                    tensors += read_hdf5(_extracted(archive, member, Path(folder) / "weights.h5"))
    except CorruptFileError:
        raise
    except _DAMAGED_ZIP as error:
        raise CorruptFileError(f"the zip file is damaged ({error})") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # such as a full disk
            raise
        raise CorruptFileError("the zip file is damaged (a part of it lies before its beginning)") from error
    return tensors


def require_sound_zip(archive: zipfile.ZipFile, highest_ratio: float = _HIGHEST_RATIO) -> None:
    """Raises unless every member lies inside of the archive, is a file or folder, and is there once.

    Args:
        archive: open for reading.
        highest_ratio: bytes of a large member by those that it takes in the archive.

    Raises:
        CorruptFileError: for paths that lead out of it, links, bombs, and names that come twice.
    """
    members = archive.infolist()
    if len(members) > _MOST_MEMBERS:
        raise CorruptFileError(f"it claims more than {_MOST_MEMBERS:,} members")
    names = set()
    for member in members:
        name = member.orig_filename.replace("\\", "/")
        if name.startswith("/") or ".." in name.split("/") or ":" in name.split("/")[0] or "\0" in name:
            raise CorruptFileError(f"its member {name!r} leads out of it")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise CorruptFileError(f"its member {name!r} is a link")
        if member.file_size > highest_ratio * max(member.compress_size, _MUCH):
            raise CorruptFileError(f"{name!r} claims {member.file_size:,} bytes out of {member.compress_size:,}")
        if name in names:
            raise CorruptFileError(f"its member {name!r} is there twice")
        names.add(name)


def _extracted(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> Path:
    # To the disk: HDF5 seeks, which is slow inside of a zip, and memory stays bounded.
    if member.file_size > _HIGHEST_RATIO * max(member.compress_size, 1):
        raise CorruptFileError(f"{member.filename} claims {member.file_size:,} bytes out of {member.compress_size:,}")
    with archive.open(member) as source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy)
    return target
