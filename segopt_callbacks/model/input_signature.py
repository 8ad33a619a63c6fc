"""The sizes and dtypes of inputs where the user says them, open sizes among them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def validate_input_signature(signature: Any) -> None:
    """Checks what the user says of the inputs.

    Args:
        signature: structure of `tf.TensorSpec`, or `None`.

    Raises:
        ValueError: unless each says its rank, a batch of 1 or `None` (all the same), and float32 or integers.

    Example:
        >>> validate_input_signature(tf.TensorSpec((None, None, None, 3), tf.uint8))
    """
    if signature is None:
        return
    specs = tf.nest.flatten(signature)
    if not specs or not all(isinstance(spec, tf.TensorSpec) for spec in specs):
        raise ValueError(f"`input_signature` must be made of tf.TensorSpec. Received: {signature!r}.")
    batches = {spec.shape[0] if spec.shape.rank else 0 for spec in specs}
    if batches not in ({1}, {None}):
        raise ValueError(
            "`input_signature` must have the batch as the first size of each input: all 1, or all None for any batch. "
            f"Received: {signature!r}."
        )
    others = [spec for spec in specs if spec.dtype != tf.float32 and not spec.dtype.is_integer]
    if others:
        raise ValueError(f"`input_signature` must be of float32 and integers; change it. Received: {others}.")


def fitted(signature: Any, example: Any) -> Any:
    """The specs that a model is fed by: those of the signature, with an open batch.

    Args:
        signature: a valid one.
        example: an example of the data as arrays, batch first; `None` if there are no data.

    Raises:
        ValueError: if the example has another structure or size, or sizes are open and there is no example.
    """
    if example is None:
        if any(None in spec.shape[1:].as_list() for spec in tf.nest.flatten(signature)):
            raise ValueError(
                "Files of open sizes must be run on data; pass `evaluation_data` or `representative_dataset`. "
                f"Received: input_signature={signature!r} and no data."
            )
    else:
        _require_fit(signature, example)
    return tf.nest.map_structure(lambda spec: tf.TensorSpec((None, *spec.shape[1:]), spec.dtype, spec.name), signature)


def has_open_sizes(signature: Any) -> bool:
    """Whether it leaves any size open, the batch included."""
    return signature is not None and any(None in spec.shape.as_list() for spec in tf.nest.flatten(signature))


def batch_size(signature: Any) -> int | None:
    """The batch in files: 1, unless the signature leaves it open."""
    return 1 if signature is None else tf.nest.flatten(signature)[0].shape[0]


def _require_fit(signature: Any, example: Any) -> None:
    try:
        tf.nest.assert_same_structure(signature, example)
        shapes: list[Any] = [tuple(leaf.shape[1:]) for leaf in tf.nest.flatten(example)]
        fits = all(
            spec.shape[1:].is_compatible_with(shape)
            for spec, shape in zip(tf.nest.flatten(signature), shapes, strict=True)
        )
    except (TypeError, ValueError):
        shapes, fits = [type(example).__name__], False
    if not fits:
        raise ValueError(
            "`input_signature` must have the structure and the sizes of the data; correct one of them. "
            f"Received: {signature!r}, and an example of {shapes}."
        )
