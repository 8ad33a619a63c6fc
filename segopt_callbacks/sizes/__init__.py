"""What the bytes of a model file are, and the command `segopt-sizes`. Imports no TensorFlow."""

from segopt_callbacks.sizes.command import FORMATS, find_models, main, read_ledger
from segopt_callbacks.sizes.count import file_bytes, gzip_bytes
from segopt_callbacks.sizes.readers import CorruptFileError
from segopt_callbacks.sizes.text import Ledger

__all__ = [
    "FORMATS",
    "CorruptFileError",
    "Ledger",
    "file_bytes",
    "find_models",
    "gzip_bytes",
    "main",
    "read_ledger",
]
