"""The inference function as float32 ONNX."""

from __future__ import annotations

from pathlib import Path

from segopt_callbacks.export.errors import FormatError, first_line
from segopt_callbacks.export.source import Source

OPSET = 18


def onnx_source(source: Source) -> Path:
    """Converts the function of batch 1 by tf2onnx, once for an export.

    Args:
        source: the function to convert.

    Returns:
        the ONNX file, in the folder of `source`; inputs and outputs have the model's own names.

    Raises:
        FormatError: if tf2onnx refuses the model.
    """
    path = source.folder / "model.onnx"
    if path.exists():
        return path
    import onnx
    import tensorflow as tf
    import tf2onnx

    function, _ = source.function()
    specs = [tf.TensorSpec(port.shape, port.dtype, name=port.name) for port in source.inputs]
    serve = tf.function(lambda *inputs: function(**dict(zip(source.input_names, inputs, strict=True))))
    unfinished = path.with_suffix(".unfinished")
    try:
        # It leaves operations that it does not know as they are, and goes on; the checker knows ONNX' own alone.
        tf2onnx.convert.from_function(serve, specs, opset=OPSET, output_path=str(unfinished))
        onnx.checker.check_model(str(unfinished))
    except Exception as error:  # whatever it is, tf2onnx has refused
        raise FormatError(f"tf2onnx refuses the model: {first_line(error)}") from error
    return unfinished.rename(path)
