"""ONNX files in int8 for NVIDIA TensorRT: symmetric, with explicit QuantizeLinear and DequantizeLinear.

TensorRT builds an engine from the file on the GPU that will run it, as a strongly typed network. What is between the
two operations is computed in int8, everything else in float32.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segopt_callbacks.errors import FormatError
from segopt_callbacks.export import onnx
from segopt_callbacks.export.onnx import audit as onnx_file
from segopt_callbacks.export.onnx import graph as onnx_graph
from segopt_callbacks.export.onnx import int8 as onnx_int8
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.target import EIGHT_BIT_TOLERANCE, Runner, Target
from segopt_callbacks.export.tensorrt import engine as tensorrt_engine
from segopt_callbacks.export.tensorrt.rules import check_for_tensorrt

FILE_NAME = "tensorrt.onnx"
COMMAND = f"trtexec --onnx={FILE_NAME} --stronglyTyped --saveEngine=tensorrt.engine"
_MOST_TOLD = 3  # broken rules in a message
FEWEST_CHANNELS = 8  # of the input of a convolution in int8


def write(source: Source, path: Path) -> None:
    """Writes the file: the inputs of convolutions and matrix products in int8, biases and all else float32.

    NVIDIA recommends the placement. Outputs of weighted operations are not quantized, so that activations and additions
    fuse with them. Weights have a scale for each output channel. Those of transposed convolutions have one for all:
    TensorRT's kernels take scales of theirs to belong to input channels.

    Args:
        source: the function, and representative inputs.
        path: the file to write.

    Raises:
        FormatError: if a converter refuses the model, nothing in it can be int8, or TensorRT would refuse the file.
    """
    from onnxruntime.quantization import QuantType

    graph = onnx_graph.open_graph(onnx_int8.prepared_source(source))
    weighted = [node for node in graph.model.graph.node if node.op_type in onnx_file.WEIGHTED]
    excluded = [node.name for node in weighted if not _suits(graph, node)]
    if len(excluded) == len(weighted):
        raise FormatError(
            "nothing in the model has an int8 kernel in TensorRT (convolutions take "
            f"{FEWEST_CHANNELS} channels or more); export 'onnx' instead"
        )
    onnx_int8.quantize(
        source,
        path,
        activations=QuantType.QInt8,
        operators=list(onnx_file.WEIGHTED),
        excluded=excluded,
        one_scale=("ConvTranspose",),
        ActivationSymmetric=True,
        QuantizeBias=False,
        DedicatedQDQPair=True,
        OpTypesToExcludeOutputQuantization=list(onnx_file.WEIGHTED),
    )
    chosen = {node.name for node in weighted} - set(excluded)
    written = onnx_graph.open_graph(path)
    left = [onnx_graph.label(node) for node in onnx_file.float_nodes(written) if node.name in chosen]
    if left:
        raise FormatError(f"the quantizer has left operations in float32: {', '.join(left)}")
    broken = check_for_tensorrt(path)
    if broken:
        more = f"; and {len(broken) - _MOST_TOLD} more" if len(broken) > _MOST_TOLD else ""
        raise FormatError(f"TensorRT would refuse the file: {'; '.join(broken[:_MOST_TOLD])}{more}")


def notes(path: Path, weight: Mapping[str, Any]) -> dict[str, Any]:
    """What the report tells beside the file: what stays float32, and how to make the engine."""
    if tensorrt_engine.engine_path(path).exists():
        engine = {"engine": "built, run and compared"}
    else:
        engine = {"engine": "not built", "why": _missing_package() or "there is no NVIDIA GPU"}
    return {**engine, "command": COMMAND, "float32_operations": onnx_file.float_operations(path)}


def load(path: Path, source: Source, threads: int | None) -> Runner:
    """Opens the file in ONNX Runtime; where TensorRT and a GPU are, also builds the engine, whose answers count.

    Args:
        path: the file.
        source: what it was made from.
        threads: of ONNX Runtime.

    Raises:
        FormatError: if ONNX Runtime or TensorRT refuses the file.
    """
    run = onnx.load(path, source, threads)
    if _missing_package() or not tensorrt_engine.has_gpu():
        return run
    return tensorrt_engine.compared(path, source, run)


def _missing_package() -> str | None:
    for module, package in tensorrt_engine.REQUIRES.items():
        if importlib.util.find_spec(module) is None:
            return f"the package `{package}` is not installed"
    return None


def _suits(graph: onnx_graph.OnnxGraph, node: Any) -> bool:
    """Whether an operation is to be int8.

    NVIDIA's own quantizer (Model Optimizer) leaves products of activations, that is attention, in higher precision
    where they do not fuse as a whole; here they always stay float32.
    """
    weight = graph.constants.get(node.input[1], graph.constants.get(node.input[0]))
    if weight is None:
        return False
    groups = onnx_graph.attribute(node, "group", 1)
    if node.op_type == "Conv":
        # TensorRT 10.16 was seen to find no int8 kernel for a first convolution of 3 channels, ReLU and pooling.
        return groups > 1 or weight.dims[1] >= FEWEST_CHANNELS
    return groups == 1  # https://github.com/NVIDIA/TensorRT/issues/1934: refused before TensorRT 10.9


TARGET = Target(
    FILE_NAME,
    write,
    load,
    onnx_file.read_weights,
    onnx_file.read_activations,
    bytes_per_weight=1,
    tolerance=EIGHT_BIT_TOLERANCE,
    is_integer=True,
    is_timed=False,  # ONNX Runtime on a CPU, or an engine and a comparison; `trtexec` times engines
    notes=notes,
    requires=onnx.REQUIRES,
    extra="tensorrt",
)
