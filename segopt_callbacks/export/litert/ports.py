"""The names of input tensors in a `.tflite` file, for programs that know no signatures."""

from __future__ import annotations

from segopt_callbacks.export.litert import schema


def name_inputs(content: bytes) -> bytes:
    """Calls each input tensor as the converter calls one that nothing rounds: `serving_default_NAME:0`.

    Where a function rounds its inputs itself, the converter names them by the operation that rounds.

    Args:
        content: a `.tflite` file.

    Returns:
        the file with such names; the very same bytes where all inputs have theirs.
    """
    model = schema.unpack(content)
    renamed = False
    for signature in model.signatureDefs or []:
        graph = model.subgraphs[signature.subgraphIndex]
        for port in signature.inputs:
            tensor, name = graph.tensors[port.tensorIndex], schema.text(port.name)
            if name not in schema.tensor_name(tensor):
                tensor.name = f"serving_default_{name}:0"
                renamed = True
    return schema.pack(model) if renamed else content
