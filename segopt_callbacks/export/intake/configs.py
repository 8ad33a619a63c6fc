"""What a saved model is made of, by its own account, read without Keras: nothing of it is run."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from segopt_callbacks.sizes import CorruptFileError, read_hdf5, read_keras, read_saved_model_objects

_CONFIG = "config.json"
# In a SavedModel, these reach out of the graph: files of this machine, or Python.
_REACHING_OUT = frozenset(
    {b"ReadFile", b"WriteFile", b"MatchingFiles", b"PyFunc", b"PyFuncStateless", b"EagerPyFunc", b"LoadLibrary"}
)


def read_configs(path: Path) -> tuple[list[Any], list[str]]:
    """Every configuration that Keras may build the model from, whatever the file is called.

    Args:
        path: a `.keras` or `.h5` file, or the folder of a SavedModel.

    Returns:
        the configurations, and those operations of a SavedModel that reach out of its graph.

    Raises:
        CorruptFileError: if the file is damaged, or made to do harm: parts outside of it, bombs.
    """
    if path.is_dir():
        return _of_folder(path)
    texts = []
    # A file can be both.
    if zipfile.is_zipfile(path):
        read_keras(path)
        texts.append(_of_zip(path))
    if _is_hdf5(path):
        read_hdf5(path)
        texts += _of_hdf5(path)
    return [_parsed(text) for text in texts], []


def compiled_in(path: Path) -> dict[str, Any] | None:
    """What `compile` was given, as a `.keras` or `.h5` file tells it; `None` where it does not.

    Raises:
        CorruptFileError: if it is no JSON.
    """
    if path.is_file() and zipfile.is_zipfile(path):
        config = _parsed(_of_zip(path))
        return config.get("compile_config") if isinstance(config, dict) else None
    if path.is_file() and _is_hdf5(path):
        return next((_parsed(text) for text in _of_hdf5(path, "training_config")), None)
    return None


def _of_folder(path: Path) -> tuple[list[Any], list[str]]:
    texts = [(path / _CONFIG).read_bytes()] if (path / _CONFIG).is_file() else []
    operations: set[bytes] = set()
    for name in ("saved_model.pb", "keras_metadata.pb"):
        if (path / name).is_file():
            found = read_saved_model_objects(path / name)
            texts += found.metadata
            operations |= found.operations & _REACHING_OUT
    return [_parsed(text) for text in texts], sorted(one.decode() for one in operations)


def _of_zip(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:  # `read_keras` has looked at every member
        return archive.read(_CONFIG)


def _is_hdf5(path: Path) -> bool:
    import h5py

    return bool(h5py.is_hdf5(path))


def _of_hdf5(path: Path, name: str = "model_config") -> Iterator[bytes]:
    import h5py

    with h5py.File(path, "r") as file:
        text = file.attrs.get(name)
        if text is not None:
            yield text.encode() if isinstance(text, str) else bytes(text)


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptFileError(f"its configuration is no JSON ({error})") from error
