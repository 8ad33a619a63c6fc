"""Files that mean no good, and a way to run a command on them with little memory."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ran:
    """How a process ended.

    Attributes:
        code: exit code, negative for a signal.
        printed: on standard output.
        errors: on standard error.
        most_bytes: the most memory that it ever held.
        seconds: of CPU.
    """

    code: int
    printed: str
    errors: str
    most_bytes: int
    seconds: float


# A process of its own starts and measures the other one: memory is counted from before the program is there, so that
# the whole of a test session would count.
LAUNCHER = """
import json, resource, subprocess, sys

def confine():
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)

command = [sys.executable, "-c", *sys.argv[2:]]
ran = subprocess.run(command, capture_output=True, text=True, errors="replace", preexec_fn=confine)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
seconds = usage.ru_utime + usage.ru_stime
print(json.dumps([ran.returncode, ran.stdout, ran.stderr, usage.ru_maxrss * 1024, seconds]))
"""


def run(code: str, *arguments: str, limit: int, cwd: Path = ROOT) -> Ran:
    """Runs Python code in a process that may map `limit` bytes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LAUNCHER, str(limit), code, *arguments]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd, env=environment)
    return Ran(*json.loads(ran.stdout))


def command(name: str, arguments: Sequence[str | os.PathLike[str]], *, limit: int = 1 << 29, cwd: Path = ROOT) -> Ran:
    """Runs `segopt-sizes` or `segopt-report`."""
    package = {"segopt-sizes": "sizes", "segopt-report": "pages"}[name]
    code = f"import sys; from segopt_callbacks.{package} import main; sys.exit(main(sys.argv[1:]))"
    return run(code, *map(str, arguments), limit=limit, cwd=cwd)


def shared_tensors(count: int) -> bytes:
    """A `.tflite` of `count` subgraphs of `count` tensors, all of which are the same one in the file."""
    builder = flatbuffers.Builder(1 << 16)
    schema.TensorStart(builder)
    schema.TensorAddBuffer(builder, 0)
    tensor = schema.TensorEnd(builder)
    schema.SubGraphStartTensorsVector(builder, count)
    tensors = _repeated(builder, tensor, count)
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    subgraph = schema.SubGraphEnd(builder)
    schema.ModelStartSubgraphsVector(builder, count)
    subgraphs = _repeated(builder, subgraph, count)
    return _finished(builder, schema.ModelAddSubgraphs, subgraphs)


def shared_buffers(count: int, size: int) -> bytes:
    """A `.tflite` of `count` buffers, all of which are the same `size` bytes in the file."""
    builder = flatbuffers.Builder(1 << 16)
    data = builder.CreateByteVector(bytes(size))
    schema.BufferStart(builder)
    schema.BufferAddData(builder, data)
    buffer = schema.BufferEnd(builder)
    schema.ModelStartBuffersVector(builder, count)
    buffers = _repeated(builder, buffer, count)
    return _finished(builder, schema.ModelAddBuffers, buffers)


def shared_names(count: int, size: int) -> bytes:
    """A `.tflite` of `count` metadata tables, each of its own, whose name is one and the same `size` letters."""
    builder = flatbuffers.Builder(1 << 16)
    name = builder.CreateString("n" * size)
    tables = []
    for _ in range(count):
        schema.MetadataStart(builder)
        schema.MetadataAddName(builder, name)
        tables.append(schema.MetadataEnd(builder))
    schema.ModelStartMetadataVector(builder, count)
    for table in tables:
        builder.PrependUOffsetTRelative(table)
    return _finished(builder, schema.ModelAddMetadata, builder.EndVector())


def _repeated(builder: flatbuffers.Builder, table: int, count: int) -> int:
    for _ in range(count):
        builder.PrependUOffsetTRelative(table)
    return builder.EndVector()


def _finished(builder: flatbuffers.Builder, add: object, field: int) -> bytes:
    schema.ModelStart(builder)
    add(builder, field)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


@contextlib.contextmanager
def deep_folder(depth: int) -> Iterator[tuple[Path, Path]]:
    """Folders in folders, one letter each: the outermost and the innermost."""
    # Not below pytest's own folder, whose cleaning recurses.
    top = Path(tempfile.mkdtemp())
    try:
        inner = top
        for _ in range(depth):
            inner = inner / "d"
            os.mkdir(inner)
        yield top, inner
    finally:
        subprocess.run(["rm", "-rf", str(top)], check=True)


def field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def number(field_number: int, value: int) -> bytes:
    """A field that is a number."""
    return varint(field_number << 3) + varint(value)


def varint(value: int) -> bytes:
    digits = []
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])
