"""Which encoding of a `.tflite` file is delivered: weights dense, or without their zeros; the smaller one that works.

A sparse weight passes a DENSIFY on its way to its operator, which LiteRT runs once, when the file is opened. So the
file is smaller and computes the same, as fast. TensorFlow's converter has an option for it
(`Optimize.EXPERIMENTAL_SPARSITY`). This encoder works on the finished file instead: the two files differ in nothing
else, and no model is converted twice. Formats that other tools write have it too.
"""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.errors import FormatError
from segopt_callbacks.export.litert import flatbuffer, schema, sparse
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.target import Runner
from segopt_callbacks.processes import Process, give_back
from segopt_callbacks.records import Port
from segopt_callbacks.sizes import file_bytes, gzip_bytes

ENCODABLE = ("FLOAT32", "FLOAT16", "INT8")  # what DENSIFY knows
OPERATOR_BYTES = 400  # of the file, about: a DENSIFY and the tensor that it makes
EXAMPLES = 4  # the weights are the same bits in both files; this is for the kernels that read them
ENOUGH = 10.0  # seconds after which a file is run on no further example
PATIENCE = 120.0  # seconds for opening both files and running one example
ROUNDING = 1e-5  # of the largest answer: what another order of additions costs
REFUSED_BY = (
    "tflite-micro, which has no DENSIFY, and Vela, for which no convolution of sparse weights can run on an NPU; pass "
    "`sparse=False` for a dense file"
)

Load = Callable[[Path, Source, int | None], Runner]


def keep_smallest(path: Path, source: Source, load: Load, notes: Mapping[str, Any] | None = None) -> None:
    """Leaves the zeros of a file's weights out, if it is smaller that way and answers alike.

    The sparse file is opened and run beside the dense one in a process of its own: what crashes there costs the
    sparse file alone.

    Args:
        path: the dense `.tflite` file.
        source: what it was made from; gives the examples to run.
        load: opens such a file, importable by its name.
        notes: what else `read_notes` shall tell.
    """
    notes = {**(notes or {}), "encoding": "dense"}
    candidate = sparse_file(path) if source.leaves_zeros_out else None
    if candidate is not None:
        other = path.with_name(f"{path.name}.sparse")
        other.write_bytes(candidate)
        del candidate
        give_back()  # files are run now, and a runtime has the weights in forms of its own
        with ThreadPoolExecutor() as pool:  # `gzip` is a program of its own
            packed = pool.map(gzip_bytes, (path, other))
            for name, one, size in zip(("dense", "sparse"), (path, other), packed, strict=True):
                notes |= {f"{name}_bytes": file_bytes(one), f"{name}_gzip_bytes": size}
        try:
            _require_better(path, other, source, load)
        except FormatError as error:
            # How long it may take is not up to the user's `time_limit`.
            notes["sparse_refused"] = str(error).partition("; raise `time_limit`")[0]
            other.unlink()
        else:
            notes |= {"encoding": "sparse", "refused by": REFUSED_BY}
            other.replace(path)
    write_notes(path, notes)


def write_notes(path: Path, notes: Mapping[str, Any]) -> None:
    """Keeps what `read_notes` shall tell of a file."""
    _notes_path(path).write_text(json.dumps(notes), encoding="utf-8")


def read_notes(path: Path, weight: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a file, for the report.

    Args:
        path: the file.
        weight: its `bytes` and `gzip_bytes`.

    Returns:
        `encoding`, `"dense"` or `"sparse"`. Where there are zeros to leave out, the bytes of both files, plain and
        after gzip. Then `sparse_refused`: why the sparse one is not delivered; or `refused by`: which runtimes do not
        take it.
    """
    notes = json.loads(_notes_path(path).read_text(encoding="utf-8"))
    if "sparse_bytes" in notes:
        for key in ("bytes", "gzip_bytes"):
            # What has come into the file since, its metadata, would have come into the other one too.
            added = weight[key] - notes[f"{notes['encoding']}_{key}"]
            notes |= {f"{kind}_{key}": notes[f"{kind}_{key}"] + added for kind in ("dense", "sparse")}
    return notes


def sparse_file(path: Path) -> bytes | None:
    """The same file with those weights sparse that take fewer bytes so; `None` if there are none."""
    model = schema.read(path)
    users = Counter(tensor.buffer for graph in model.subgraphs for tensor in graph.tensors)
    is_changed = False
    for graph in model.subgraphs:
        constant = _constant_weights(model, graph)
        for index in flatbuffer.kernels(model, graph):
            tensor = graph.tensors[index]
            is_free = index not in constant and users[tensor.buffer] == 1
            values = _worth_encoding(model, tensor) if is_free else None
            if values is not None:
                _make_sparse(model, graph, index, values)
                is_changed = True
    return schema.pack(model) if is_changed else None


def require_alike(load: Load, dense: Path, other: Path, source: Source) -> None:
    """Runs two files on the same examples, one file after the other: a runtime has weights in forms of its own.

    Raises:
        FormatError: if one of them does not open, or their answers differ by more than rounding.
    """
    answers = [_answers(load, path, source) for path in (dense, other)]
    for both in zip(*answers, strict=False):  # one may have run more examples in its time
        for name, expected, answer in zip(source.output_names, *both, strict=True):
            largest = np.abs(expected[np.isfinite(expected)]).max(initial=0)
            if not np.allclose(answer, expected, rtol=0, atol=ROUNDING * largest, equal_nan=True):
                raise FormatError(f"its output {name!r} is not that of the dense file")


def _answers(load: Load, path: Path, source: Source) -> list[list[np.ndarray]]:
    """Of a file to each example, as many as it can give in its time."""
    run, start, answers = load(path, source, None), time.monotonic(), []
    for example in itertools.islice(_examples(source), EXAMPLES):
        answers.append(run(example))
        if time.monotonic() - start > ENOUGH:
            break
    return answers


def _require_better(dense: Path, other: Path, source: Source, load: Load) -> None:
    if file_bytes(other) >= file_bytes(dense):
        raise FormatError("it is not smaller")
    with Process() as process:
        process.call(require_alike, load, dense, other, source, doing="running it", time_limit=PATIENCE)


def _worth_encoding(model: Any, tensor: Any) -> np.ndarray | None:
    """The values of a weight that takes fewer bytes without its zeros; `None` of any other."""
    if schema.type_name(tensor) not in ENCODABLE or tensor.sparsity is not None or not _is_symmetric(tensor):
        return None
    values = schema.values(model, tensor)
    if values is None or not values.any():
        return None  # LiteRT takes a tensor that stores nothing for one that is computed
    return values if sparse.encoded_bytes(values) + OPERATOR_BYTES < values.nbytes else None


def _is_symmetric(tensor: Any) -> bool:
    zero_points = None if tensor.quantization is None else tensor.quantization.zeroPoint
    return zero_points is None or not np.any(zero_points)


def _constant_weights(model: Any, graph: Any) -> set[int]:
    """Integer weights that kernels want as constants: XNNPACK's of dense layers, and of all that compute in float."""
    return {
        index
        for operator in graph.operators
        if (kind := schema.operator_name(model, operator)) in flatbuffer.WEIGHT_OPERATORS
        and (kind == "FULLY_CONNECTED" or schema.type_name(graph.tensors[operator.outputs[0]]) == "FLOAT32")
        for index in operator.inputs
        if index >= 0 and not schema.type_name(graph.tensors[index]).startswith("FLOAT")
    }


def _make_sparse(model: Any, graph: Any, index: int, values: np.ndarray) -> None:
    tensor = graph.tensors[index]
    stored, _, sparsity = sparse.encode(values)
    as_dense = schema.computed_like(tensor, f"{schema.tensor_name(tensor)}/dense")
    graph.tensors.append(as_dense)
    for operator in graph.operators:
        operator.inputs = [len(graph.tensors) - 1 if one == index else one for one in operator.inputs]
    graph.operators.insert(0, schema.operator(model, "DENSIFY", [index], [len(graph.tensors) - 1]))
    tensor.sparsity = sparsity
    model.buffers[tensor.buffer].data = stored.view(np.uint8)


def _examples(source: Source) -> Iterator[list[np.ndarray]]:
    """The representative inputs, or noise where there are none."""
    found = source.examples()
    first = next(found, None)
    if first is not None:
        return itertools.chain([first], found)
    random = np.random.default_rng(0)
    return iter([[_noise(port, random) for port in source.inputs] for _ in range(EXAMPLES)])


def _noise(port: Port, random: np.random.Generator) -> np.ndarray:
    shape = [1, *(size or 1 for size in port.shape[1:])]
    if np.issubdtype(port.dtype, np.integer):
        return random.integers(0, min(255, np.iinfo(port.dtype).max), shape, endpoint=True).astype(port.dtype)
    return random.uniform(size=shape).astype(port.dtype)


def _notes_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.notes.json")
