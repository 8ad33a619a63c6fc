"""TVM: a shared library for CPUs, compiled through ONNX and Relax, with the weights inside."""

from __future__ import annotations

import json
import os
import platform
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.errors import FormatError, first_line
from segopt_callbacks.export import onnx
from segopt_callbacks.export.onnx import int8 as onnx_int8
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.target import FLOAT_TOLERANCE, Runner, Target
from segopt_callbacks.export.tvm.library import LIBRARY, read_weights
from segopt_callbacks.export.tvm.schedule import schedule
from segopt_callbacks.records import Port

SIGNATURE, README = "signature.json", "README.md"
# A library for the very CPU that compiles it dies on others with SIGILL. This level has AVX2 and FMA: Intel since 2013,
# AMD since 2015. Elsewhere LLVM's default, which runs on every CPU of the kind.
CPU_LEVELS = {"x86_64": "x86-64-v3", "AMD64": "x86-64-v3"}


def write(source: Source, path: Path) -> None:
    """Compiles the function and writes the folder: the library, the names of its inputs and outputs, how to load it.

    Args:
        source: the function to convert.
        path: the folder to write.

    Raises:
        FormatError: if TVM refuses the model, or there is no C compiler to link with.
    """
    import tvm

    if tvm.support.cc.get_cc() is None:
        raise FormatError("no C compiler is found to link the library; install gcc or clang, or set CC to one")
    target = _target()
    module, outputs = _imported(source)
    try:
        loops = schedule(tvm.relax.get_pipeline("zero")(module))
        executable = tvm.compile(loops, tvm.target.Target(target))
    except Exception as error:  # a pass in C++ raises any of Python's kinds by its name
        raise FormatError(f"TVM refuses the model: {first_line(error)}") from error
    path.mkdir()
    try:
        executable.export_library(str(path / LIBRARY))
    except (OSError, RuntimeError, ValueError) as error:  # what TVM makes of a compiler that fails or is not there
        raise FormatError(f"the C compiler cannot link the library: {first_line(error)}") from error
    ports = {
        "inputs": _ports([str(one.name) for one in module["main"].params], source.inputs),
        "outputs": _ports(outputs, source.outputs),
    }
    signature = ports | {"target": target, "tvm": tvm.__version__}
    (path / SIGNATURE).write_text(json.dumps(signature, indent=2) + "\n", encoding="utf-8")
    (path / README).write_text(_read_me(signature), encoding="utf-8")


def load(path: Path, source: Source, threads: int | None) -> Runner:
    """Opens the library in TVM's virtual machine.

    Args:
        path: the folder.
        source: what it was made from, for the order of inputs and outputs.
        threads: of the runtime, in a process that has not imported TVM yet.

    Returns:
        function from a batch of inputs to a batch of outputs.

    Raises:
        FormatError: if TVM cannot load the library.
    """
    if threads is not None:
        os.environ["TVM_NUM_THREADS"] = str(threads)
    import tvm

    signature = json.loads((path / SIGNATURE).read_text(encoding="utf-8"))
    taken, given = ([port["name"] for port in signature[key]] for key in ("inputs", "outputs"))
    try:
        library = tvm.runtime.load_module(str(path / LIBRARY))
        main = tvm.relax.VirtualMachine(library, tvm.cpu())["main"]
    except (RuntimeError, AttributeError, ValueError) as error:
        raise FormatError(f"TVM cannot load the library: {first_line(error)}") from error

    def run(batch: list[np.ndarray]) -> list[np.ndarray]:
        answers = []
        for index in range(len(batch[0])):
            one = {name: value[index : index + 1] for name, value in zip(source.input_names, batch, strict=True)}
            answer = main(*(tvm.runtime.tensor(one[name]) for name in taken))
            flat = [answer] if isinstance(answer, tvm.runtime.Tensor) else list(answer)
            named = dict(zip(given, flat, strict=True))
            answers.append([named[name].numpy() for name in source.output_names])
        return [np.concatenate(parts) for parts in zip(*answers, strict=True)]

    return run


def notes(path: Path, weight: Mapping[str, Any]) -> dict[str, Any]:
    """What a user of the library should know."""
    signature = json.loads((path / SIGNATURE).read_text(encoding="utf-8"))
    return {
        "cpu": signature["target"].get("mcpu", "every CPU of its kind"),
        "speed": "loops in tiles, vectors and threads that suit most CPUs; not tuned for this model or CPU",
        "load": f"see {README}",
    }


def _imported(source: Source) -> tuple[Any, list[str]]:
    """The function in Relax, and the names of its outputs in order.

    TVM does not compute shapes that the file computes from constants, as attention does. ONNX Runtime's preparation
    does. It also folds normalisation into weights, which gives them more distinct values, so it comes second.
    """
    path = onnx.onnx_source(source)
    try:
        return _read_onnx(path)
    except Exception as error:  # its frontend raises what its handlers of operations stumble over
        try:
            return _read_onnx(onnx_int8.prepared_source(source))
        except Exception:  # whatever ONNX Runtime or TVM say of the other file, the first refusal is the one to tell
            raise FormatError(f"TVM refuses the model: {first_line(error)}") from error


def _read_onnx(path: Path) -> tuple[Any, list[str]]:
    import onnx as onnx_package
    from tvm.relax.frontend.onnx import from_onnx

    model = onnx_package.load(str(path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = from_onnx(model, sanitize_input_names=False)
    return module, [one.name for one in model.graph.output]


def _target() -> dict[str, str]:
    level = CPU_LEVELS.get(platform.machine())
    return {"kind": "llvm"} | ({} if level is None else {"mcpu": level})


def _ports(names: list[str], ports: tuple[Port, ...]) -> list[dict[str, Any]]:
    """The ports in the library's own order.

    Raises:
        FormatError: if names have changed on the way.
    """
    by_name = {port.name: port for port in ports}
    if unknown := sorted(set(names) ^ set(by_name)):
        raise FormatError(f"inputs or outputs have other names in the library: {', '.join(unknown)}")
    return [{"name": name, "shape": by_name[name].shape, "dtype": by_name[name].dtype} for name in names]


def _read_me(signature: dict[str, Any]) -> str:
    zeros = ", ".join(
        f"tvm.runtime.tensor(np.zeros({tuple(port['shape'])}, {port['dtype']!r}))" for port in signature["inputs"]
    )
    lines = [
        f"# {LIBRARY}",
        "",
        f"Compiled by TVM {signature['tvm']} for {signature['target'].get('mcpu', 'every CPU of its kind')}.",
        "",
        "```python",
        "import numpy as np",
        "import tvm",
        "",
        f'machine = tvm.relax.VirtualMachine(tvm.runtime.load_module("{LIBRARY}"), tvm.cpu())',
        f'answers = machine["main"]({zeros})',
        "```",
        "",
        "One output is a tensor, several are a list of them; `.numpy()` makes arrays. Their order:",
        "",
        *(f"- input `{port['name']}`: {port['dtype']} {tuple(port['shape'])}" for port in signature["inputs"]),
        *(f"- output `{port['name']}`: {port['dtype']} {tuple(port['shape'])}" for port in signature["outputs"]),
    ]
    return "\n".join(lines) + "\n"


TARGET = Target(
    "tvm",
    write,
    load,
    read_weights,
    notes=notes,
    tolerance=FLOAT_TOLERANCE,
    requires=("tvm", *onnx.REQUIRES),
    extra="tvm",
)
