"""The compiled step of a running `fit`, and the data that it reads."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from segopt_callbacks.compat.kerases import is_keras_2


def batch_inputs(iterator: Any) -> tuple[Any, Any]:
    """What the model takes, from the batches of a fit or of `train_on_batch`.

    Args:
        iterator: what is given to the compiled step; its elements are `x`, `(x, y)` or `(x, y, sample_weight)`.

    Returns:
        structure of `tf.TensorSpec`, and an iterator over the same batches.
    """
    if not hasattr(iterator, "element_spec"):  # train_on_batch of Keras 3: a generator of one batch
        batches = list(iterator)
        tensors = tf.nest.map_structure(tf.convert_to_tensor, batches[0][0])
        specs = tf.nest.map_structure(lambda leaf: tf.TensorSpec((None, *leaf.shape[1:]), leaf.dtype), tensors)
        return specs, iter(batches)
    spec = iterator.element_spec
    spec = getattr(spec, "_value_specs", (spec,))[0]  # PerReplicaSpec of MirroredStrategy in Keras 2
    inputs = spec[0] if isinstance(spec, tuple | list) else spec
    return tf.nest.map_structure(lambda leaf: getattr(leaf, "_value_specs", (leaf,))[0], inputs), iterator


def remake_train_function(model: Any, on_interrupt: Callable[[], None]) -> None:
    """Makes `fit` trace its step anew; it caches the traced one, and with it the constraints of that time.

    Args:
        model: the model in `fit`.
        on_interrupt: called when a step raises (Ctrl-C, an error in the data), since no `on_train_end` follows then.
    """
    model.make_train_function(force=True)
    step = model.train_function

    def guarded_step(iterator: Any) -> Any:
        try:
            return step(iterator)
        except (StopIteration, tf.errors.OutOfRangeError):  # the end of the data: fit goes on
            raise
        except BaseException:  # Ctrl-C too; whatever it is goes on its way
            on_interrupt()
            raise

    model.train_function = guarded_step


def drop_train_function(model: Any) -> None:
    """Makes the *next* `fit` trace its step anew."""
    model.train_function = None


def drop_inference_functions(model: Any) -> None:
    """Makes the next `evaluate` and `predict` trace their steps anew."""
    model.test_function = model.predict_function = None


def before_first_step(model: Any, hook: Callable[[Any], Any], on_interrupt: Callable[[], None]) -> None:
    """Calls `hook(iterator)` before the first step of the fit that is starting, then runs a freshly made step.

    `hook` returns the iterator for that step.
    """

    def first_step(iterator: Any) -> Any:
        drop_train_function(model)  # if the hook raises, no later fit may run into it again
        iterator = hook(iterator)
        remake_train_function(model, on_interrupt)
        return model.train_function(iterator)

    model.train_function = first_step


def watch_training_data(model: Any, watched: Callable[[tf.data.Dataset, bool], tf.data.Dataset]) -> Any:
    """Replaces the dataset from which the `fit` that calls us now will read.

    To be called in `on_train_begin`, before `fit` makes its iterator.

    Args:
        model: in `fit`.
        watched: dataset, is it the only one -> one of the same elements. Of several, each has the parts of batches
            that one replica trains on; some may be read that are never trained on, since devices read ahead.

    Returns:
        structure of `tf.TensorSpec`, the inputs of a batch.

    Raises:
        LookupError: if there is no `fit`, or its inputs are no numbers; the model trains as ever.
    """
    owner, name = training_data(model)
    dataset = getattr(owner, name)
    if isinstance(dataset, tf.data.Dataset):
        inputs = _require_dense(dataset)
        setattr(owner, name, watched(dataset, True))
        return inputs
    parts = getattr(dataset, "_cloned_datasets", None)  # DistributedDataset
    if not parts:
        raise LookupError(f"fit reads from a {type(dataset).__name__}, which cannot be looked into")
    inputs = _require_dense(parts[0])
    dataset = copy.copy(dataset)  # it may be the user's
    dataset._cloned_datasets = [watched(part, False) for part in parts]
    setattr(owner, name, dataset)
    return inputs


def training_data(model: Any) -> tuple[Any, str]:
    """What holds the dataset of the running `fit`, and under which name: a local variable of its frame."""
    held = ("data_handler", "_dataset") if is_keras_2(model) else ("epoch_iterator", "_distributed_dataset")
    for frame in _frames_of_fit(model):
        owner = frame.f_locals.get(held[0])
        if hasattr(owner, held[1]):
            return owner, held[1]
    raise LookupError("the model does not train by fit")


def is_fitting(model: Any) -> bool:
    """Whether a `fit` of the model calls us now; a loop of the user's own does not."""
    return next(_frames_of_fit(model), None) is not None


def _frames_of_fit(model: Any) -> Iterator[Any]:
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == "fit" and frame.f_locals.get("self") is model:
            yield frame
        frame = frame.f_back


def _require_dense(dataset: tf.data.Dataset) -> Any:
    spec = dataset.element_spec
    inputs = spec[0] if isinstance(spec, tuple) else spec
    for leaf in tf.nest.flatten(inputs):
        is_dense = isinstance(leaf, tf.TensorSpec) and leaf.shape.rank != 0
        if not is_dense or not (leaf.dtype.is_floating or leaf.dtype.is_integer or leaf.dtype.is_bool):
            raise LookupError(f"inputs are not numbers in dense batches: {leaf}")
    return inputs
