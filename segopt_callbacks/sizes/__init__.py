"""What the bytes of a model file are, and the command `segopt-sizes`. Imports no TensorFlow."""

from segopt_callbacks.sizes.command import FORMATS, main, read_ledger
from segopt_callbacks.sizes.count import file_bytes, gzip_bytes, walk
from segopt_callbacks.sizes.flatbuffer import require_tree
from segopt_callbacks.sizes.protobuf import read_onnx_metadata
from segopt_callbacks.sizes.readers import CorruptFileError
from segopt_callbacks.sizes.text import Ledger, compare, printable, why

__all__ = [
    "FORMATS",
    "CorruptFileError",
    "Ledger",
    "compare",
    "file_bytes",
    "gzip_bytes",
    "main",
    "printable",
    "read_ledger",
    "read_onnx_metadata",
    "require_tree",
    "walk",
    "why",
]
