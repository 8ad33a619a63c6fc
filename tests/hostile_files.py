"""Files that mean no good, and a way to run a command on them with little memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

ROOT = Path(__file__).parent.parent


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


def run(code: str, *arguments: str, limit: int, cwd: Path = ROOT) -> Ran:
    """Runs Python code in a process that may map `limit` bytes."""

    def confine() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    command = [sys.executable, "-c", code, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=cwd,
        env=environment,
        preexec_fn=confine,
    ) as process:
        printed, errors = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return Ran(process.returncode, printed, errors, usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime)


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


def deep_folder(top: Path, depth: int) -> Path:
    """Folders in folders, one letter each; returns the innermost."""
    inner = top
    for _ in range(depth):
        inner = inner / "d"
    os.makedirs(inner)
    return inner
