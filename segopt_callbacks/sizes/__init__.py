"""What the bytes of a model file are, and the command `segopt-sizes`. Imports no TensorFlow."""

from segopt_callbacks.sizes import markdown
from segopt_callbacks.sizes.command import FORMATS, main, read_ledger
from segopt_callbacks.sizes.count import file_bytes, gzip_bytes, walk
from segopt_callbacks.sizes.flatbuffer import require_tree
from segopt_callbacks.sizes.objects import read_saved_model_objects
from segopt_callbacks.sizes.protobuf import read_onnx_metadata
from segopt_callbacks.sizes.readers import CorruptFileError, read_hdf5, read_keras, require_sound_zip
from segopt_callbacks.sizes.text import Ledger, compare, why

__all__ = [
    "FORMATS",
    "CorruptFileError",
    "Ledger",
    "compare",
    "file_bytes",
    "gzip_bytes",
    "main",
    "markdown",
    "read_hdf5",
    "read_keras",
    "read_ledger",
    "read_onnx_metadata",
    "read_saved_model_objects",
    "require_sound_zip",
    "require_tree",
    "walk",
    "why",
]
