"""ONNX files in int8 for CPUs, by ONNX Runtime's static quantizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segopt_callbacks.errors import FormatError, first_line
from segopt_callbacks.export.onnx import audit as onnx_file
from segopt_callbacks.export.onnx import converter
from segopt_callbacks.export.onnx import graph as onnx_graph
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.target import EIGHT_BIT_TOLERANCE, Target


def write(source: Source, path: Path) -> None:
    """Writes the file: activations uint8, weights int8 with a scale for each output channel, biases int32.

    Ranges are the smallest and largest value of each activation over the representative inputs. Integer inputs of the
    model stay what they are; float outputs stay float. On x86 CPUs without VNNI, 8 bit sums of ONNX Runtime may
    overflow; its session option `session.x64quantprecision` set to "1" avoids that, more slowly.

    Args:
        source: the function, and representative inputs.
        path: the file to write.

    Raises:
        FormatError: if a converter refuses the model.
    """
    from onnxruntime.quantization import QuantType

    quantize(source, path, activations=QuantType.QUInt8)


def quantize(
    source: Source,
    path: Path,
    *,
    activations: Any,
    operators: list[str] | None = None,
    excluded: list[str] | None = None,
    one_scale: tuple[str, ...] = (),
    **options: Any,
) -> None:
    """Writes a file in which QuantizeLinear and DequantizeLinear stand around what is computed in integers.

    Args:
        source: the function, and representative inputs.
        path: the file to write.
        activations: `onnxruntime.quantization.QuantType` of activations; weights are int8.
        operators: those to quantize, such as `"Conv"`; by default all that the quantizer knows.
        excluded: names of nodes that stay float32.
        one_scale: operators whose weights have one scale instead of one for each output channel.
        options: the quantizer's `extra_options`.

    Raises:
        FormatError: if the quantizer refuses the model.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    prepared = prepared_source(source)
    graph = onnx_graph.open_graph(prepared)
    initializers = {one.name for one in graph.model.graph.initializer}
    single = [
        weight.name
        for weight in onnx_file.stored_weights(graph)
        if weight.name in initializers and (weight.node.op_type in one_scale or not weight.has_scale_per_channel)
    ]
    reader = _reader(source)
    try:
        quantize_static(
            str(prepared),
            str(path),
            reader,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=operators,
            per_channel=True,
            activation_type=activations,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=excluded,
            # Entropy found the same ranges on a trained U-Net and percentiles worse ones, in 3 to 8 times the time.
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "WeightSymmetric": True,
                # MatMul multiplies by (..., in, out): output channels are last, where the quantizer takes axis 1.
                "QDQOpTypePerChannelSupportToAxis": {"MatMul": -1},
                "TensorQuantOverrides": {name: [{"symmetric": True}] for name in single},
                **options,
            },
        )
    except Exception as error:  # its checks', ONNX' and ONNX Runtime's, which have no class in common
        raise FormatError(f"ONNX Runtime cannot quantize the model: {first_line(error)}") from error


def prepared_source(source: Source) -> Path:
    """The float32 file with BatchNormalization folded into weights and all shapes known; made once for an export.

    Raises:
        FormatError: if ONNX Runtime cannot read the model.
    """
    path = source.folder / "prepared.onnx"
    if path.exists():
        return path
    import onnx as onnx_package
    from onnxruntime.quantization import quant_pre_process

    plain = converter.onnx_source(source)
    unfinished = source.folder / "preparing.onnx"
    try:
        # ONNX' own inference of shapes suffices where every size is known; the symbolic one takes SymPy.
        quant_pre_process(str(plain), str(unfinished), skip_symbolic_shape=True)
    except Exception as error:  # ONNX' and ONNX Runtime's, which have no class in common
        raise FormatError(f"ONNX Runtime cannot prepare the model: {first_line(error)}") from error
    model = onnx_package.load(str(unfinished))
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"  # the quantizer tells nodes apart by their names
    used = {node.domain for node in model.graph.node}
    for one in [one for one in model.opset_import if one.domain not in used]:
        model.opset_import.remove(one)  # ONNX Runtime lists all that it knows
    onnx_file.merge_rounded_weights(model)
    converter.save(model, path)
    return path


def _reader(source: Source) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        """The representative inputs, one after the other."""

        def __init__(self) -> None:
            self.examples = source.examples()

        def get_next(self) -> Mapping[str, Any] | None:
            example = next(self.examples, None)
            return None if example is None else dict(zip(source.input_names, example, strict=True))

    return Reader()


TARGET = Target(
    "onnx_int8.onnx",
    write,
    converter.load,
    onnx_file.read_weights,
    onnx_file.read_activations,
    onnx_file.float_operations,
    bytes_per_weight=1,
    tolerance=EIGHT_BIT_TOLERANCE,
    is_integer=True,
    open_sizes=True,
    requires=converter.REQUIRES,
    extra=converter.EXTRA,
)
