"""TensorRT engines, built and run where the package `tensorrt`, `cuda-python` and an NVIDIA GPU are.

Written by the documentation of the Python API of TensorRT 10 and 11 and of cuda-python 12.8 and newer. There was no GPU
where this was developed: it has never run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.errors import FormatError
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.target import Runner
from segopt_callbacks.processes import VISIBLE_GPUS

REQUIRES = {"tensorrt": "tensorrt", "cuda": "cuda-python"}  # module -> package
TOLERANCE = 0.05  # of the largest answer: float32 parts may compute in TF32, and a tie rounds to the other integer


def engine_path(path: Path) -> Path:
    """Where the engine of an ONNX file is kept while it is verified; it is not delivered, as it fits one GPU only."""
    return path.with_suffix(".engine")


def has_gpu() -> bool:
    """Whether this process can reach a GPU; shows it those that the user has left visible."""
    from cuda.bindings import runtime as cuda

    # Processes of an export see no GPU, so that TensorFlow does not take its memory.
    visible = os.environ.pop(VISIBLE_GPUS, None)
    if visible is not None:
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        if visible:
            os.environ["CUDA_VISIBLE_DEVICES"] = visible
    error, count = cuda.cudaGetDeviceCount()
    return int(error) == 0 and count > 0


def compared(path: Path, source: Source, reference: Runner) -> Runner:
    """Builds the engine; its answers, of which each batch is compared with those of another runtime.

    Args:
        path: the ONNX file.
        source: what it was made from.
        reference: runs the same file elsewhere.

    Raises:
        FormatError: if TensorRT refuses the file; from the runner, if its answers differ.
    """
    plan = build(path)
    engine_path(path).write_bytes(plan)
    run_one = opened(plan)

    def run(batch: list[np.ndarray]) -> list[np.ndarray]:
        answers = []
        for index in range(len(batch[0])):
            one = {name: value[index : index + 1] for name, value in zip(source.input_names, batch, strict=True)}
            outputs = run_one(one)
            answers.append([outputs[name] for name in source.output_names])
        joined = [np.concatenate(parts) for parts in zip(*answers, strict=True)]
        for name, ours, theirs in zip(source.output_names, joined, reference(batch), strict=True):
            require_close(name, ours, theirs)
        return joined

    return run


def require_close(name: str, engine: np.ndarray, reference: np.ndarray) -> None:
    """Raises if answers of an engine are not those of the reference.

    Example:
        >>> require_close("output", np.array([1.0, 2.0]), np.array([1.0, 2.05]))
        >>> require_close("output", np.array([1.0, 2.0]), np.array([1.0, 3.0]))
        Traceback (most recent call last):
        ...
        segopt_callbacks.errors.FormatError: the engine's 'output' is off by 0.33 of the largest answer ...
    """
    largest = float(np.abs(reference).max(initial=0.0)) or 1.0
    off = float(np.abs(engine.astype(np.float64) - reference).max(initial=0.0)) / largest
    if not off <= TOLERANCE:
        raise FormatError(f"the engine's {name!r} is off by {off:.2g} of the largest answer of ONNX Runtime")


def build(path: Path) -> bytes:
    """The serialized engine of an ONNX file, strongly typed.

    Raises:
        FormatError: if TensorRT cannot parse or build it.
    """
    import tensorrt

    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    # TensorRT 11 builds no other networks and ignores the flag; 10 needs it.
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(path.read_bytes()):
        errors = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        raise FormatError(f"TensorRT cannot parse the file: {'; '.join(errors)}")
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    if plan is None:
        raise FormatError("TensorRT cannot build an engine from the file; `trtexec --verbose` tells why")
    return bytes(plan)


def opened(plan: bytes) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Function that runs an engine of static shapes: inputs by name -> outputs by name."""
    import tensorrt
    from cuda.bindings import runtime as cuda

    runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
    engine = runtime.deserialize_cuda_engine(plan)
    context = engine.create_execution_context()
    stream = _checked(cuda.cudaStreamCreate())
    hosts, devices, outputs = {}, {}, []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        dtype = np.dtype(tensorrt.nptype(engine.get_tensor_dtype(name)))
        hosts[name] = np.empty(tuple(engine.get_tensor_shape(name)), dtype)
        devices[name] = _checked(cuda.cudaMalloc(max(hosts[name].nbytes, 1)))
        context.set_tensor_address(name, devices[name])
        if engine.get_tensor_mode(name) == tensorrt.TensorIOMode.OUTPUT:
            outputs.append(name)

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        for name, value in inputs.items():
            hosts[name][...] = value
            kind = cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
            _checked(cuda.cudaMemcpy(devices[name], hosts[name].ctypes.data, hosts[name].nbytes, kind))
        if not context.execute_async_v3(stream):
            raise FormatError("the engine does not run")
        _checked(cuda.cudaStreamSynchronize(stream))
        for name in outputs:
            kind = cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
            _checked(cuda.cudaMemcpy(hosts[name].ctypes.data, devices[name], hosts[name].nbytes, kind))
        return {name: hosts[name].copy() for name in outputs}

    run.engine = engine, runtime  # type: ignore[attr-defined]  # a context alone does not keep them alive
    return run


def _checked(result: tuple[Any, ...]) -> Any:
    """What a call of CUDA returns beside its error code."""
    error, *values = result
    if int(error) != 0:
        raise FormatError(f"CUDA reports {error}")
    return values[0] if values else None
