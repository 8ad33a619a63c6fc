"""OpenVINO model, quantized to int8 by NNCF: a folder of `model.xml` and `model.bin`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.errors import FormatError, first_line
from segopt_callbacks.export import onnx
from segopt_callbacks.export.openvino import audit as openvino_audit
from segopt_callbacks.export.openvino.resize import resize_instead_of_repeat
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.target import EIGHT_BIT_TOLERANCE, FLOAT_TOLERANCE, Runner, Target

NAME = "model.xml"
PRECISION = {"INFERENCE_PRECISION_HINT": "f32"}  # of what is not quantized; bf16 by default on CPUs that have it


def write(source: Source, path: Path) -> None:
    """Converts, quantizes and writes the folder.

    Weights are int8, symmetric, with a scale for each output channel: zeros are stored as 0, and a channel of few
    distinct values keeps as few. Activations are symmetric, too. On a small trained U-Net NNCF's other preset, of
    asymmetric activations, is as fast and half as far again from the float answers; correcting biases layer by layer
    instead of all at once leaves 40% fewer pixels of another class, for three quarters more time. Ranges reach from the
    lowest to the highest value of all examples; NNCF's own are means of each example's, which clips the largest answers
    (by a fifth on another U-Net, by 44% behind an `Embedding`).

    Args:
        source: the function to convert, and representative inputs, which show the ranges of activations.
        path: the folder to write.

    Raises:
        FormatError: if OpenVINO or NNCF refuse the model, or change it.
    """
    without_telemetry()
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    nncf.set_log_level(logging.ERROR)
    model, examples = converted(source), _Examples(source)
    require_agreement(model, source)
    try:
        quantized = nncf.quantize(
            model,
            nncf.Dataset(examples),
            preset=nncf.QuantizationPreset.PERFORMANCE,
            subset_size=len(examples),
            fast_bias_correction=False,
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
            ),
        )
    except Exception as error:  # its errors, and OpenVINO's, have no class in common
        raise FormatError(f"NNCF cannot quantize the model: {_cause(error)}") from error
    save(quantized, source, path)


def save(model: Any, source: Source, path: Path) -> None:
    """Writes an `openvino.Model`, in which operations are called by their weights, as far as these can be told.

    OpenVINO's own names are numbers, other ones each time.
    """
    openvino = without_telemetry()
    path.mkdir()
    openvino.save_model(model, str(path / NAME), compress_to_fp16=False)
    _, module = source.function()
    rows = openvino_audit.read_weights(path, {key: variable.numpy() for key, variable in module.weights.items()})
    names = {row["name"]: row["weight"] for row in rows if row["weight"] is not None}
    for node in model.get_ops():
        node.set_friendly_name(names.get(node.get_friendly_name(), node.get_friendly_name()))
    openvino.save_model(model, str(path / NAME), compress_to_fp16=False)


def converted(source: Source) -> Any:
    """The function of batch 1 as an `openvino.Model` in float32, with its names of inputs and outputs.

    It starts from ONNX. From the SavedModel, OpenVINO 2026.4 loses padding where a layer that pads stands before a
    convolution that pads, and attention becomes `Einsum`, which NNCF leaves in float32.

    Raises:
        FormatError: if tf2onnx or OpenVINO refuse the model.
    """
    path, openvino = onnx.onnx_source(source), without_telemetry()
    try:
        model = openvino.convert_model(str(path))
    except Exception as error:  # it raises plain Exception itself, and what its frontends raise
        raise FormatError(f"OpenVINO refuses the model: {_cause(error)}") from error
    for ports, names in ((model.inputs, source.input_names), (model.outputs, source.output_names)):
        found = set().union(*(port.names for port in ports))
        if not found.issuperset(names):
            raise FormatError(f"OpenVINO renames {', '.join(names)} to {', '.join(sorted(found))}")
    resize_instead_of_repeat(model)
    return model


def load(path: Path, source: Source, threads: int | None) -> Runner:
    """Opens the folder in the OpenVINO runtime on the CPU; what is not quantized is computed in float32.

    Args:
        path: the folder.
        source: what it was made from, for the order of inputs and outputs.
        threads: of the runtime.

    Returns:
        function from a batch of inputs to a batch of outputs.

    Raises:
        FormatError: if the runtime cannot load the folder.
    """
    return _runner(compiled(str(path / NAME), threads), source)


def compiled(model: Any, threads: int | None = None) -> Any:
    """A file, or an `openvino.Model`, as an `openvino.CompiledModel`; see `load`."""
    openvino = without_telemetry()
    settings = PRECISION | ({} if threads is None else {"INFERENCE_NUM_THREADS": threads})
    try:
        return openvino.Core().compile_model(model, "CPU", settings)
    except RuntimeError as error:
        raise FormatError(f"OpenVINO cannot load the model: {_cause(error)}") from error


def _runner(model: Any, source: Source) -> Runner:
    outputs = [model.output(name) for name in source.output_names]
    request = model.create_infer_request()

    def run(batch: list[np.ndarray]) -> list[np.ndarray]:
        answers = []
        for index in range(len(batch[0])):
            one = {name: value[index : index + 1] for name, value in zip(source.input_names, batch, strict=True)}
            request.reset_state()  # examples have nothing to do with each other
            answer = request.infer(one)
            answers.append([answer[output].copy() for output in outputs])
        return [np.concatenate(parts) for parts in zip(*answers, strict=True)]

    return run


def require_agreement(model: Any, source: Source) -> None:
    """Compares an `openvino.Model` with TensorFlow on one example; behind rounding nobody would see a difference.

    Raises:
        FormatError: if an answer has another shape, or differs by more than additions in another order explain.
    """
    import tensorflow as tf

    example = next(source.examples())
    function, _ = source.function()
    expected = function(**dict(zip(source.input_names, map(tf.constant, example), strict=True)))
    for name, answer in zip(source.output_names, _runner(compiled(model), source)(example), strict=True):
        one = expected[name].numpy()
        if answer.shape != one.shape:
            raise FormatError(f"OpenVINO changes the model: {name!r} has shape {answer.shape} instead of {one.shape}")
        largest = np.abs(one).max(initial=1e-30)
        difference = np.abs(answer.astype(np.float64) - one).max(initial=0.0) / largest
        if not difference <= FLOAT_TOLERANCE:
            raise FormatError(
                f"OpenVINO changes the model: before quantization {name!r} differs by {difference:.2g} of the largest "
                f"answer, more than rounding explains ({FLOAT_TOLERANCE:.2g})"
            )


def _cause(error: BaseException) -> str:
    r"""What is wrong, in one line; OpenVINO begins with places in its own sources.

    Example:
        >>> _cause(RuntimeError("Exception from src/a.cpp:9:\nCheck 'x' failed at src/b.cpp:1:\nNo rule for: Erfc\n"))
        'No rule for: Erfc'
    """
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Check '", "Exception from", "FrontEnd API"))]
    return " ".join(told)[:300] or first_line(error)


def without_telemetry() -> Any:
    """The `openvino` package, in a process that tells nobody about it.

    OpenVINO and NNCF send events to Google Analytics at every import and conversion, and keep an identifier in the
    home folder, unless the user has opted out. Both go without where the package that sends is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # an import of it raises ImportError
    import openvino

    return openvino


class _Examples:
    """The representative inputs by name, as often as they are asked for, and never all of them in memory."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._length = sum(1 for _ in source.examples())

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for example in self._source.examples():
            yield dict(zip(self._source.input_names, example, strict=True))


TARGET = Target(
    "openvino_int8",
    write,
    load,
    openvino_audit.read_weights,
    float_operations=openvino_audit.float_operations,
    bytes_per_weight=1,
    tolerance=EIGHT_BIT_TOLERANCE,
    is_integer=True,
    requires=("openvino", "nncf", *onnx.REQUIRES),
    extra="openvino",
)
