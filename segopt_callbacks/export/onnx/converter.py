"""ONNX files: float32, by tf2onnx; and how every ONNX file is run."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.errors import FormatError, first_line
from segopt_callbacks.export.onnx import audit as onnx_file
from segopt_callbacks.export.onnx import graph as onnx_graph
from segopt_callbacks.export.source import ONE, Source
from segopt_callbacks.export.target import FLOAT_TOLERANCE, Runner, Target
from segopt_callbacks.records import Port

OPSET = 18  # the newest that tf2onnx writes; TensorRT 10 and 11, OpenVINO and ONNX Runtime read it
REQUIRES = ("tf2onnx", "onnx", "onnxruntime")
EXTRA = "onnx"
# tf2onnx's optimizer walks through sets. Where sizes are open and the answer has one channel, 7 of 120 conversions left
# an output with a fifth axis; the next one goes through the sets in another order.
ATTEMPTS = 4
XLA = "_XlaMustCompile"  # TensorFlow's mark on functions that are never inlined


def write(source: Source, path: Path) -> None:
    """Writes the float32 file: batch 1, images as the model has them (height, width, channels), its names.

    tf2onnx converts an open batch as soundly, for up to 7% of the time; the formats that start from this file compile
    for sizes that are known.
    """
    shutil.copyfile(onnx_source(source), path)


def onnx_source(source: Source) -> Path:
    """The function as a float32 ONNX file; written when the first format of an export needs it.

    Args:
        source: the function, in reach of this process.

    Returns:
        a file in the source's folder, which several formats start from: read it, and leave it as it is.

    Raises:
        FormatError: if tf2onnx cannot convert the model.
    """
    path = source.folder / "float32.onnx"
    if not path.exists():
        for _ in range(ATTEMPTS):
            model = _converted(source)
            if not _differing(model, source):
                break
        onnx_graph.shorten_names(model)
        onnx_file.merge_rounded_weights(model)
        _check(model, source)
        save(model, path)
    return path


def save(model: Any, path: Path) -> None:
    """Writes an `onnx.ModelProto`, complete or not at all."""
    import onnx

    unfinished = path.with_name(f".{path.name}.unfinished")
    onnx.save(model, str(unfinished))
    unfinished.replace(path)


def load(path: Path, source: Source, threads: int | None) -> Runner:
    """Opens a file in ONNX Runtime, on the CPU.

    Args:
        path: the file.
        source: what it was made from, for the order of inputs and outputs.
        threads: of an operation.

    Returns:
        function from a batch of inputs to a batch of outputs, which it computes one example after the other.

    Raises:
        FormatError: if ONNX Runtime cannot load the file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; it warns of what its own optimizer does
    options.intra_op_num_threads = threads or 0
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no class in common but Exception
        raise FormatError(f"ONNX Runtime cannot load the file: {first_line(error)}") from error

    def run(batch: list[np.ndarray]) -> list[np.ndarray]:
        answers = []
        for index in range(len(batch[0])):
            one = {name: value[index : index + 1] for name, value in zip(source.input_names, batch, strict=True)}
            answers.append(session.run(list(source.output_names), one))
        return [np.concatenate(parts) for parts in zip(*answers, strict=True)]

    return run


def _converted(source: Source) -> Any:
    import tensorflow as tf
    import tf2onnx

    function, _module = _open_function(source)  # the module keeps the variables alive
    specs = [tf.TensorSpec(port.shape, port.dtype, name=port.name) for port in source.inputs]

    def serve(*values: tf.Tensor) -> dict[str, tf.Tensor]:
        return function(**dict(zip(source.input_names, values, strict=True)))

    traced = tf.function(serve, input_signature=specs, autograph=False)
    try:
        model, _ = tf2onnx.convert.from_function(traced, specs, opset=OPSET, custom_op_handlers={"Erfc": (_erfc, [])})
    except Exception as error:  # its own, and what its handlers of operations stumble over
        raise FormatError(f"tf2onnx refuses the model: {first_line(error)}") from error
    _store_captured(model, traced.get_concrete_function(*specs))
    return model


def _erfc(ctx: Any, node: Any, name: str, args: Any) -> None:
    """How tf2onnx is to convert TensorFlow's `Erfc`, of which GELU is made and which ONNX lacks: `1 - erf(x)`."""
    (output,) = node.output
    shape, dtype = ctx.get_shape(output), ctx.get_dtype(output)
    one = ctx.make_const(f"{name}_one", np.array(1, np.float32))
    erf = ctx.make_node("Erf", node.input, shapes=[shape], dtypes=[dtype])
    ctx.remove_node(name)
    ctx.make_node("Sub", [one.output[0], erf.output[0]], outputs=[output], name=name, shapes=[shape], dtypes=[dtype])


def _store_captured(model: Any, concrete: Any) -> None:
    """Puts constants into the file that tf2onnx takes for inputs: arrays that layers such as Normalization keep."""
    from onnx import numpy_helper

    # The placeholders of what a function captures follow its arguments.
    placeholders = concrete.inputs[len(concrete.inputs) - len(concrete.captured_inputs) :]
    captured = {one.name: value for one, value in zip(placeholders, concrete.captured_inputs, strict=True)}
    for info in [one for one in model.graph.input if one.name in captured]:
        model.graph.input.remove(info)
        model.graph.initializer.append(numpy_helper.from_array(captured[info.name].numpy(), info.name))


def _open_function(source: Source) -> tuple[Any, Any]:
    """`source.function()`, with what Keras hands to XLA (grouped convolutions, on a CPU) open to tf2onnx."""
    import tensorflow as tf
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = SavedModel.FromString((source.folder / ONE / "saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    marked = [one for function in functions for one in (function, *function.node_def) if XLA in one.attr]
    if not marked:
        return source.function()
    for one in marked:
        del one.attr[XLA]
    with tempfile.TemporaryDirectory(dir=source.folder) as folder:
        shutil.copytree(source.folder / ONE, folder, dirs_exist_ok=True, copy_function=os.link)
        (Path(folder) / "saved_model.pb").unlink()
        (Path(folder) / "saved_model.pb").write_bytes(saved.SerializeToString())
        module = tf.saved_model.load(folder)
    return module.signatures["serving_default"], module


def _check(model: Any, source: Source) -> None:
    """Raises unless the file is valid ONNX and has the inputs and outputs of the model."""
    import onnx

    # tf2onnx leaves what it does not know as TensorFlow calls it, and says so in its log only.
    unknown = [
        onnx_graph.label(node)
        for node in onnx_graph.graph_of(model).nodes
        if not node.domain and not onnx.defs.has(node.op_type, OPSET)
    ]
    if unknown:
        raise FormatError(f"operations are not in ONNX: {', '.join(unknown)}; replace them, or leave this format out")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise FormatError(f"tf2onnx has written a model that is not valid: {first_line(error)}") from error
    if differing := _differing(model, source):
        raise FormatError(differing)


def _differing(model: Any, source: Source) -> str:
    """How the inputs or outputs of the file are not those of the model; nothing where they are."""
    for what, ports, infos in (
        ("inputs", source.inputs, model.graph.input),
        ("outputs", source.outputs, model.graph.output),
    ):
        found = [onnx_graph.described(info) for info in infos]
        if not _agree(ports, found):
            return f"the {what} of the ONNX model are {found}, and those of the model {list(ports)}"
    return ""


def _agree(ports: Sequence[Port], found: list[dict[str, Any]]) -> bool:
    by_name = {one["name"]: one for one in found}
    return len(found) == len(ports) == len(by_name) and all(
        port.name in by_name
        and port.dtype == by_name[port.name]["dtype"]
        and len(port.shape) == len(by_name[port.name]["shape"])
        and all(size in (None, other) for size, other in zip(port.shape, by_name[port.name]["shape"], strict=True))
        for port in ports
    )


TARGET = Target(
    "onnx.onnx",
    write,
    load,
    onnx_file.read_weights,
    onnx_file.read_activations,
    tolerance=FLOAT_TOLERANCE,
    open_sizes=True,
    requires=REQUIRES,
    extra=EXTRA,
)
