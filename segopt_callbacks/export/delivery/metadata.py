"""What a file tells about itself: its format, inputs and outputs, the versions behind it, and what the user adds.

It is JSON inside the file: a metadata buffer of a `.tflite`, an entry of an ONNX file's `metadata_props`. A folder has
a small file for it. Reading it takes no TensorFlow.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.errors import FormatError, damage_is_named
from segopt_callbacks.export.source import Source
from segopt_callbacks.processes import give_back
from segopt_callbacks.records import Port

KEY = "segopt_metadata"
IN_FOLDER, IN_SAVED_MODEL = Path("metadata.json"), Path("assets.extra") / "metadata.json"
RESERVED = ("format", "inputs", "outputs", "versions", "report")


def validate_metadata(metadata: Any) -> dict[str, Any]:
    """Checks what the user wants files to tell.

    Args:
        metadata: a mapping that JSON can hold, NumPy's arrays and numbers included, or `None`.

    Returns:
        the same as JSON will give it back; arrays as lists.

    Raises:
        ValueError: for what JSON cannot hold, for a key of `RESERVED`, and for `classes` and `palette` that are none.

    Example:
        >>> validate_metadata({"classes": ["road", "sky"], "scale": np.float32(0.5)})
        {'classes': ['road', 'sky'], 'scale': 0.5}
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping) or not all(isinstance(key, str) for key in metadata):
        raise ValueError(f"`metadata` must map names to what JSON can hold. Received: {metadata!r}.")
    try:
        plain = json.loads(dumps(metadata))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`metadata` must hold what JSON can: text, numbers, lists, dicts. Received: {error}."
        ) from error
    taken = [key for key in RESERVED if key in plain]
    if taken:
        raise ValueError(f"`metadata` must not have keys that exports write themselves; rename {', '.join(taken)}.")
    classes, palette = plain.get("classes", []), plain.get("palette", [])
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"`metadata['classes']` must be a list of names, by class id. Received: {classes!r}.")
    if not isinstance(palette, list) or not all(_is_colour(one) for one in palette):
        raise ValueError(
            f"`metadata['palette']` must be a list of colours [red, green, blue], each 0 to 255. Received: {palette!r}."
        )
    return plain


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those packages that are installed.

    Example:
        >>> list(versions(["numpy", "no-such-package"]))
        ['numpy']
    """
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def embed(path: Path, name: str, source: Source, packages: Iterable[str]) -> dict[str, Any]:
    """Writes into a file what it is to tell.

    A file that is neither a `.tflite` nor ONNX stays as it is: what it would tell stands in `NAME.json` beside it.

    Args:
        path: a file or folder that a format has just written.
        name: of the format.
        source: what it was made from; its `metadata` goes along.
        packages: whose versions are worth telling.

    Returns:
        what the file tells now, as `read_metadata` reads it.

    Raises:
        FormatError: if the file is damaged.
    """
    inputs, outputs = (list(map(_described, ports)) for ports in (source.inputs, source.outputs))
    document = {"format": name, "inputs": inputs, "outputs": outputs, "versions": versions(packages), **source.metadata}
    if path.suffix == ".tflite":
        _embed_in_tflite(path, document)
    elif path.is_dir():
        place = _place(path)
        place.parent.mkdir(exist_ok=True)
        place.write_text(dumps(document), encoding="utf-8")
    elif path.suffix == ".onnx":
        _embed_in_onnx(path, document)
    return document


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file of an export tells about itself; imports no TensorFlow.

    Args:
        path: a `.tflite` or `.onnx` file, the folder of a format, or a `NAME.json` beside one.

    Returns:
        `format`, `inputs`, `outputs`, `versions` of packages, and everything that was given as `metadata`. Each input
        and output has `name`, `shape` (`None` for an open size) and `dtype`. Where integers stand for floats, it has
        `quantization` (`scale`, `zero_point`), or `offset`, what is added to raw bytes.
        A `NAME.json` also has `report`.

    Raises:
        ValueError: if the file holds no such metadata, or is damaged.
        OSError: if it cannot be read.

    Example:
        >>> import tempfile
        >>> from segopt_callbacks import export_model
        >>> from segopt_callbacks.compat import keras
        >>> model, folder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), tempfile.mkdtemp()
        >>> report = export_model(model, folder, ["float32"], metadata={"classes": ["road", "sky"]}, verbose=0)
        >>> read_metadata(f"{folder}/float32.tflite")["classes"]
        ['road', 'sky']
    """
    if not isinstance(path, str | os.PathLike):
        raise ValueError(
            "`path` must be that of a `.tflite` or `.onnx` file, the folder of a format, or a NAME.json. "
            f"Received: {type(path).__name__}."
        )
    path = Path(path)
    content: bytes | str | None
    try:
        if path.is_dir():
            content = _place(path).read_bytes() if _place(path).exists() else None
        elif path.suffix == ".json":
            content = path.read_bytes()
        else:
            content = _from_onnx(path) if path.suffix == ".onnx" else _from_tflite(path)
        document = None if content is None else json.loads(content)
    except (FormatError, ValueError, RecursionError) as error:  # not JSON, or a damaged file around it
        raise ValueError(f"A file must be whole to be read; export it again. Received: {path}: {error}.") from error
    if not isinstance(document, dict) or "format" not in document:
        raise ValueError(f"A file must be of an export to tell anything. Received: {path}, which holds no {KEY}.")
    return document


def dumps(document: Mapping[str, Any]) -> str:
    """JSON in few bytes; it is valid UTF-8, and has neither NaN nor infinity.

    Raises:
        TypeError: for what JSON cannot hold.
        ValueError: for NaN, infinity, and text that is no Unicode.
    """
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain)
    text.encode()
    return text


def _described(port: Port) -> dict[str, Any]:
    return {"name": port.name, "shape": list(port.shape), "dtype": port.dtype}


def _place(folder: Path) -> Path:
    # TensorFlow's own place for files that it does not know, which its loaders and servers leave alone.
    return folder / (IN_SAVED_MODEL if (folder / "saved_model.pb").exists() else IN_FOLDER)


def _embed_in_tflite(path: Path, document: dict[str, Any]) -> None:
    """Embeds the document, and first tells in it the dtypes of the file itself."""
    from segopt_callbacks.export.litert import schema

    model = schema.read(path)
    (signature,) = model.signatureDefs
    tensors = model.subgraphs[signature.subgraphIndex].tensors
    for key, found in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        index = {schema.text(one.name): one.tensorIndex for one in found}
        document[key] = [_in_file(port, schema, tensors[index[port["name"]]]) for port in document[key]]
    schema.set_metadata(model, KEY, dumps(document).encode())
    path.write_bytes(schema.pack(model))
    del model
    give_back()  # this process opens the file now, and waits to run it


def _in_file(port: dict[str, Any], schema: Any, tensor: Any) -> dict[str, Any]:
    told = port | _quantized(schema, tensor)
    return told | {"offset": -128} if (port["dtype"], told["dtype"]) == ("uint8", "int8") else told


def _quantized(schema: Any, tensor: Any) -> dict[str, Any]:
    """The dtype of an input or output in the file, and what its integers mean."""
    dtype, quantization = schema.type_name(tensor).lower(), tensor.quantization
    if quantization is None or quantization.scale is None or not len(quantization.scale) or "float" in dtype:
        return {"dtype": dtype}
    scale, zero_point = float(quantization.scale[0]), int(quantization.zeroPoint[0])
    return {"dtype": dtype, "quantization": {"scale": scale, "zero_point": zero_point}}


def _from_tflite(path: Path) -> bytes | None:
    from segopt_callbacks.export.litert import schema

    return schema.get_metadata(schema.read(path), KEY)


def _embed_in_onnx(path: Path, document: Mapping[str, Any]) -> None:
    import onnx

    with damage_is_named("reading it"):
        model = onnx.load(str(path), load_external_data=False)
    onnx.helper.set_model_props(model, {KEY: dumps(document)})
    onnx.save(model, str(path))


def _from_onnx(path: Path) -> bytes | None:
    from segopt_callbacks.sizes import read_onnx_metadata

    return read_onnx_metadata(path).get(KEY.encode())


def _is_colour(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(part, int) and not isinstance(part, bool) and 0 <= part <= 255 for part in value)
    )


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} of type {type(value).__name__}")
