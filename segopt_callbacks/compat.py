"""Every difference between Keras 2 and Keras 3, and every private name, in one place.

`keras` is `tf.keras` as the user's process resolves it: Keras 3, or `tf_keras` with `TF_USE_LEGACY_KERAS=1`.
The library reads `keras` for its base classes only; whether a *model* is of Keras 2 or 3 is asked of the model.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import os
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.framework import op_def_library

keras = tf.keras
# tf.keras is resolved at the first attribute; do that before anything imports tfmot, which sets TF_USE_LEGACY_KERAS.
KerasCallback: Any = keras.callbacks.Callback

Variable = Any  # keras.Variable (Keras 3) or tf.Variable (Keras 2)
Constraint = Callable[[Any], Any]


def take_after(wrapper: Any, callback: Any) -> None:
    """Makes `fit` treat `wrapper` as it would treat the `callback` in it."""
    wrapper._supports_tf_logs = getattr(callback, "_supports_tf_logs", False)
    for name in ("_chief_worker_only", *(f"_implements_{mode}_batch_hooks" for mode in ("train", "test", "predict"))):
        if hasattr(callback, name):  # callbacks of Keras 2
            setattr(wrapper, name, getattr(callback, name))


class Callback(KerasCallback):
    """A callback that the `fit` of either Keras accepts, whichever of them `tf.keras` is."""

    _supports_tf_logs = True  # Keras 2: hand over tensors, so that no step waits for its logs
    _chief_worker_only = None
    params: Any = None  # Keras 2 has none before set_params

    def set_model(self, model: Any) -> None:
        """Remembers the model that `fit` trains."""
        self._model = model

    @property
    def model(self) -> Any:
        """The model that `fit` trains, `None` before."""
        return self._model

    @model.setter
    def model(self, model: Any) -> None:
        """Keras 2 assigns the attribute in its constructor."""
        self._model = model

    # What the callback list of Keras 2 asks of each callback.
    def _implements_train_batch_hooks(self) -> bool:
        return not getattr(self.on_train_batch_end, "_is_default", False)

    def _implements_test_batch_hooks(self) -> bool:
        return False

    def _implements_predict_batch_hooks(self) -> bool:
        return False


def is_keras_2(model: Any) -> bool:
    """Whether `model` (or any Keras object) belongs to `tf_keras`."""
    return any(base.__module__.partition(".")[0] == "tf_keras" for base in type(model).__mro__)


def require_tensorflow_backend(model: Any) -> None:
    """Raises unless the model computes with TensorFlow.

    Raises:
        RuntimeError: if Keras 3 runs on another backend, where no constraint reaches the compiled step.
    """
    if is_keras_2(model):
        return
    import keras as keras_3

    if keras_3.backend.backend() != "tensorflow":
        raise RuntimeError(
            "Compression callbacks need Keras to run on TensorFlow; set KERAS_BACKEND=tensorflow before Keras is "
            f"imported. Received: backend={keras_3.backend.backend()!r}."
        )


def require_one_process(model_or_callback: Any) -> None:
    """Raises where Keras 3 is to train across processes, which it cannot; Keras 2 can.

    Keras 3 fails before it tells any callback about its model, so callbacks ask about themselves when they are made.

    Raises:
        RuntimeError: under a strategy of several workers.
    """
    if number_of_workers() > 1 and not is_keras_2(model_or_callback):
        raise RuntimeError(
            "MultiWorkerMirroredStrategy must train with Keras 2, since the fit of Keras 3 fails under it; set "
            "TF_USE_LEGACY_KERAS=1 before TensorFlow is imported, or use MirroredStrategy on one machine. "
            f"Received: Keras 3 and {number_of_workers()} workers."
        )


def number_of_workers() -> int:
    """Processes that the strategies of this one train with, itself among them."""
    server = context.context()._collective_ops_server_def
    return 1 if server is None else sum(len(job.tasks) for job in server.cluster.job)


def is_chief(model: Any) -> bool:
    """Whether this process is the one, of all that train the model, that writes files."""
    return bool(model.distribute_strategy.extended.should_save_summary)


# --- variables -------------------------------------------------------------------------------------------------------


def variable_path(variable: Variable) -> str:
    """The variable's name with its layers', such as `unet/encoder/conv/kernel`."""
    return getattr(variable, "path", None) or variable.name.partition(":")[0]


def raw_variable(variable: Variable) -> tf.Variable:
    """The `tf.Variable` behind a Keras variable: no autocast, and the first replica's under a strategy."""
    if hasattr(variable, "path") and hasattr(variable, "value") and not isinstance(variable, tf.Variable):
        variable = variable.value  # Keras 3
    variable = getattr(variable, "_variable", variable)  # Keras 2: AutoCastVariable
    return getattr(variable, "_primary", variable)  # MirroredVariable


def handle_of(value: Any) -> Any | None:
    """The resource that a variable's operations read; `None` for what is no variable."""
    is_variable = isinstance(value, tf.Variable) or (hasattr(value, "path") and hasattr(value, "value"))
    return raw_variable(value).handle if is_variable else None


def identity(variable: Variable) -> int:
    """What is equal for two handles of one variable."""
    return id(raw_variable(variable))


def read(variable: Variable) -> np.ndarray:
    """The variable's value now, read-only: TensorFlow's own memory, which later assignments leave as it is."""
    return np.asarray(raw_variable(variable).read_value())


def read_statistic(variable: Variable) -> np.ndarray:
    """The value of a moving statistic, of which each replica, on every worker, may have its own: their mean."""
    held = variable.value if hasattr(variable, "path") and not isinstance(variable, tf.Variable) else variable
    return np.asarray(getattr(held, "_variable", held).read_value())


def assign(variable: Variable, value: Any) -> None:
    """Sets the variable, on every replica. `value`: same shape; cast to the variable's dtype."""
    if hasattr(variable, "path") and not isinstance(variable, tf.Variable):
        variable.assign(value)
        return
    target: Any = getattr(variable, "_variable", variable)
    target.assign(tf.cast(value, target.dtype))


def get_constraint(variable: Variable) -> Constraint | None:
    """The projection that the optimizer applies to `variable` after each update."""
    return variable.constraint


def set_constraint(variable: Variable, constraint: Constraint | None) -> None:
    """Makes the optimizer apply `constraint` to `variable` after each update."""
    if hasattr(variable, "path") and not isinstance(variable, tf.Variable):
        variable.constraint = constraint
    else:
        raw_variable(variable)._constraint = constraint


# --- models and their fit --------------------------------------------------------------------------------------------


def iterations(model: Any) -> int:
    """Batches that the optimizer has seen; 0 for a model that keeps optimizers of its own."""
    optimizer = _inner_optimizer(model)
    if optimizer is None:
        return 0
    # `iterations` of Keras 3 counts a group of accumulated batches once.
    return int(read(getattr(optimizer, "_iterations", optimizer.iterations)))


def averages_of(model: Any, variable: Variable) -> list[Variable]:
    """The averages of `variable` that the model's optimizer keeps (`use_ema`); none before its first step.

    `fit` puts them in the weights' place when it ends, `SwapEMAWeights` while it evaluates and saves.
    """
    optimizer = _inner_optimizer(model)
    found = []
    for one in getattr(optimizer, "optimizers", [optimizer]):  # Keras 3: MultiOptimizer
        averages = getattr(one, "_model_variables_moving_average", None)
        if averages:
            places = one._index_dict if is_keras_2(one) else one._trainable_variables_indices
            place = places.get(one._var_key(variable))
            if place is not None and averages[place] is not None:
                found.append(averages[place])
    return found


def _inner_optimizer(model: Any) -> Any:
    optimizer = getattr(model, "optimizer", None)
    return getattr(optimizer, "inner_optimizer", optimizer)


def watch_gradients(model: Any, hook: Callable[[list[tuple[Any, Variable]]], None]) -> Callable[[], None]:
    """Calls `hook([(gradient, variable), ...])` in each step, before the optimizer applies them.

    The gradients are those of the loss, without a loss scale. A step that was traced before does not call it.

    Args:
        model: compiled with an optimizer.
        hook: called while the step is traced (or run eagerly), inside a replica's context under a strategy.

    Returns:
        what takes the hook away again.
    """
    optimizers = [one for one in _inner_optimizers(model) if one is not None]
    name = "apply_gradients" if is_keras_2(model) else "apply"
    for optimizer in optimizers:
        setattr(optimizer, name, _watching(optimizer, name, hook))

    def undo() -> None:
        for optimizer in optimizers:
            delattr(optimizer, name)

    return undo


def _watching(optimizer: Any, name: str, hook: Callable[[list[tuple[Any, Variable]]], None]) -> Callable[..., Any]:
    apply = getattr(optimizer, name)

    def apply_gradients(grads_and_vars: Any, *args: Any, **kwargs: Any) -> Any:  # Keras 2
        pairs = list(grads_and_vars)
        hook(pairs)
        return apply(pairs, *args, **kwargs)

    def apply_keras_3(grads: Any, trainable_variables: Any = None) -> Any:
        variables = optimizer._trainable_variables if trainable_variables is None else list(trainable_variables)
        hook(list(zip(grads, variables, strict=True)))
        return apply(grads, variables)

    return apply_gradients if name == "apply_gradients" else apply_keras_3


def _inner_optimizers(model: Any) -> list[Any]:
    optimizer = _inner_optimizer(model)
    return list(getattr(optimizer, "optimizers", [optimizer]))  # MultiOptimizer of Keras 3


def number_of_replicas(model: Any) -> int:
    """Copies of the model that train side by side."""
    return int(model.distribute_strategy.num_replicas_in_sync)


def strategy_scope(model: Any) -> contextlib.AbstractContextManager[Any]:
    """Where the model's variables live: variables made inside exist on every replica."""
    return model.distribute_strategy.scope()


def runs_eagerly(model: Any) -> bool:
    """Whether the model's steps run without being traced."""
    return bool(getattr(model, "run_eagerly", False)) or tf.config.functions_run_eagerly()


def is_compiled(model: Any) -> bool:
    """Whether the model knows its loss and metrics."""
    return bool(getattr(model, "compiled", None) or getattr(model, "_is_compiled", False))


def is_built(model: Any) -> bool:
    """Whether all of the model's variables exist, as far as its layers tell.

    A subclassed model may call itself built while layers inside it wait for their first input; a layer that is never
    called waits for ever. `has_weights` is the question to ask once the model has run.
    """
    return bool(model.built) and all(layer.built for layer in model._flatten_layers(include_self=False, recursive=True))


def has_weights(model: Any) -> bool:
    """Whether the model has been built as far as it will be."""
    return bool(model.built) and bool(model.weights)


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


def batch_norms(model: Any) -> list[Any]:
    """Every built BatchNormalization of either Keras in the model, frozen ones too."""
    return [
        layer
        for layer in model._flatten_layers(include_self=False, recursive=True)
        if any(base.__name__ in ("BatchNormalization", "BatchNormalizationBase") for base in type(layer).__mro__)
        and getattr(layer, "moving_variance", None) is not None
    ]


def build_from_inputs(model: Any, inputs: Any) -> None:
    """Builds the model by a symbolic call with `inputs`, a structure of `tf.TensorSpec`."""
    if is_keras_2(model):
        import tf_keras

        model(tf.nest.map_structure(lambda leaf: tf_keras.Input(type_spec=leaf), inputs))
    else:
        import keras as keras_3

        model(tf.nest.map_structure(lambda leaf: keras_3.KerasTensor(leaf.shape, leaf.dtype.name), inputs))


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
        except BaseException:
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
    owner, name = _training_data(model)
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


def _training_data(model: Any) -> tuple[Any, str]:
    """What holds the dataset of the running `fit`, and under which name: a local variable of its frame."""
    held = ("data_handler", "_dataset") if is_keras_2(model) else ("epoch_iterator", "_distributed_dataset")
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == "fit" and frame.f_locals.get("self") is model:
            owner = frame.f_locals.get(held[0])
            if hasattr(owner, held[1]):
                return owner, held[1]
        frame = frame.f_back
    raise LookupError("the model does not train by fit")


def _require_dense(dataset: tf.data.Dataset) -> Any:
    spec = dataset.element_spec
    inputs = spec[0] if isinstance(spec, tuple) else spec
    for leaf in tf.nest.flatten(inputs):
        is_dense = isinstance(leaf, tf.TensorSpec) and leaf.shape.rank != 0
        if not is_dense or not (leaf.dtype.is_floating or leaf.dtype.is_integer or leaf.dtype.is_bool):
            raise LookupError(f"inputs are not numbers in dense batches: {leaf}")
    return inputs


HOOKS_OF_CALLBACKS = (
    *("on_epoch_begin", "on_epoch_end", "on_train_batch_begin", "on_train_batch_end"),
    *("on_test_begin", "on_test_end", "on_test_batch_begin", "on_test_batch_end"),
)


def running_callbacks(model: Any) -> Any:
    """The `CallbackList` that calls us now: the one of the running `fit`, or of the user's own loop over `model`.

    Its `callbacks` are everybody's, in order. `fit` hands it to nobody, so it is looked for among the calling frames.

    Returns:
        the list; `None` where hooks are called one by one.
    """
    frame = inspect.currentframe()
    while frame is not None:
        caller: Any = frame.f_locals.get("self")
        if _is_callback_list(caller) and getattr(caller, "model", None) is model:
            return caller
        frame = frame.f_back
    return None


def _is_callback_list(candidate: Any) -> bool:
    return any(base.__name__ == "CallbackList" and "keras" in base.__module__ for base in type(candidate).__mro__)


def after_callbacks(callbacks: Any, hook: Callable[[], None]) -> Callable[[], None]:
    """Calls `hook` once, when the `on_train_end` of everybody in the `CallbackList` has run.

    Returns:
        what takes the hook away, called or not.
    """

    def forget() -> None:
        vars(callbacks).pop("on_train_end", None)

    def on_train_end(logs: Any = None) -> None:
        forget()
        callbacks.on_train_end(logs)
        hook()

    callbacks.on_train_end = on_train_end
    return forget


# --- inference -------------------------------------------------------------------------------------------------------


def infer(model: Any, inputs: Any) -> Any:
    """Runs the model for inference, whether or not its `call` knows the argument `training`."""
    parameters = inspect.signature(model.call).parameters.values()
    knows = any(one.name == "training" or one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)
    return model(inputs, training=False) if knows else model(inputs)


def inference_graph(model: Any, inputs: Any) -> tuple[tf.Graph, list[tf.Tensor], list[tuple[tf.Tensor, tf.Tensor]]]:
    """Traces the model for inference.

    Args:
        model: a built Keras model.
        inputs: structure of `tf.TensorSpec`.

    Returns:
        the graph, the tensors in it that are the inputs, and pairs of each handle of a variable and its tensor in it.

    Raises:
        ValueError: if the model does not run as a graph.
    """

    def run(*flat: tf.Tensor) -> Any:
        return infer(model, tf.nest.pack_sequence_as(inputs, list(flat)))

    flat = tf.nest.flatten(inputs)
    try:
        concrete = tf.function(run, autograph=is_keras_2(model)).get_concrete_function(*flat)
    except converter_errors() as error:
        raise ValueError(
            "The model's graph tells the channels of its layers, and where BatchNormalization follows; the model must "
            f"run as one (without run_eagerly). Received: {model.name!r}, which raises: {error}"
        ) from error
    return concrete.graph, list(concrete.inputs[: len(flat)]), concrete.graph.captures


def function_inputs(call: tf.Operation) -> list[tf.Tensor]:
    """The inputs of the function that the operation `call` calls, as tensors inside it."""
    return list(call.graph._get_function(call.get_attr("f").name).graph.inputs)


def function_kinds(call: tf.Operation) -> set[str]:
    """Types of the operations inside the function that the operation `call` calls."""
    return {one.type for one in call.graph._get_function(call.get_attr("f").name).graph.get_operations()}


# --- operations ------------------------------------------------------------------------------------------------------

_watched = threading.local()
_add_operation = op_def_library._apply_op_helper


class OperationHook(Protocol):
    """What looks at, and changes, the operations that are added to graphs."""

    def before(self, kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments that an operation of this kind shall get, by name; called before it is made."""

    def after(self, operation: tf.Operation) -> None:
        """Called when an operation has been made."""


@contextlib.contextmanager
def watched_operations(hook: OperationHook) -> Iterator[None]:
    """Lets `hook` look at all operations that this thread adds to graphs meanwhile, but those that it adds itself.

    A replaced argument is the operation's own input: gradients are taken of it. Operations that run eagerly, and
    those of a `tf.function` that was traced before, are not seen.
    """
    op_def_library._apply_op_helper = _add_watched_operation
    before = getattr(_watched, "hook", None)
    _watched.hook = hook
    try:
        yield
    finally:
        _watched.hook = before


def _add_watched_operation(kind: str, name: str | None = None, **arguments: Any) -> Any:
    hook = getattr(_watched, "hook", None)
    if hook is None:
        return _add_operation(kind, name=name, **arguments)
    _watched.hook = None
    try:
        arguments = hook.before(kind, arguments)
        result = _add_operation(kind, name=name, **arguments)
        hook.after(result[2])
    finally:
        _watched.hook = hook
    return result


def around_call(layer: Any, wrapper: Callable[..., Any]) -> Callable[[], None]:
    """Runs `wrapper(call, *arguments, **options)` in place of a layer's or model's `call`, see `around_method`."""
    return around_method(layer, "call", wrapper)


def freeze_statistics(layer: Any, is_frozen: Callable[[], bool]) -> Callable[[], None]:
    """Lets a BatchNormalization compute with its moving statistics in training too, and keep them.

    Args:
        layer: the layer.
        is_frozen: asked whenever it is traced.

    Returns:
        what puts the layer's `call` back.
    """

    def normalize(call: Callable[..., Any], inputs: Any, *arguments: Any, **options: Any) -> Any:
        if not is_frozen():
            return call(inputs, *arguments, **options)
        return call(inputs, **options | {"training": False})

    return around_call(layer, normalize)


def around_method(owner: Any, name: str, wrapper: Callable[..., Any]) -> Callable[[], None]:
    """Runs `wrapper(method, *arguments, **options)` in place of a method of one layer or model.

    Returns:
        what puts the method back.
    """
    original = getattr(owner, name)

    @functools.wraps(original)
    def method(*arguments: Any, **options: Any) -> Any:
        inner = original
        if is_keras_2(owner) and not tf.executing_eagerly():
            # Keras 2 rewrites Python's `if` and `for` over tensors, and does not look through the wrapper.
            inner = tf.__internal__.autograph.tf_convert(original, tf.__internal__.autograph.control_status_ctx())
        return wrapper(inner, *arguments, **options)

    before = vars(owner).get(name)
    vars(owner)[name] = tf.autograph.experimental.do_not_convert(method)

    def undo() -> None:
        if before is None:
            vars(owner).pop(name, None)
        else:
            vars(owner)[name] = before

    return undo


def current_scope() -> str:
    """The name scope that operations are added to, such as `unet_1`; empty outside of any."""
    return tf.get_current_name_scope()


def current_graph() -> tf.Graph:
    """The graph that operations are added to."""
    return tf.compat.v1.get_default_graph()


def functions_of_their_own(model: Any) -> dict[Any, str]:
    """Layers that convolve in a `tf.function` of theirs, which is traced once: layer -> name of that method.

    Grouped convolutions of Keras 2.
    """
    layers = model._flatten_layers(include_self=False, recursive=True)
    return {
        layer: "_jit_compiled_convolution_op"
        for layer in layers
        if is_keras_2(layer) and getattr(layer, "groups", 1) > 1 and hasattr(layer, "_jit_compiled_convolution_op")
    }


def unfuse(model: Any) -> Callable[[], None]:
    """Makes BatchNormalization of Keras 2 multiply and add, as Keras 3 does, instead of one operation for all of it.

    Returns:
        what puts that back.
    """
    fused = [layer for layer in batch_norms(model) if is_keras_2(model) and getattr(layer, "fused", False)]
    for layer in fused:
        layer.fused = False

    def undo() -> None:
        for layer in fused:
            layer.fused = True

    return undo


# --- export ----------------------------------------------------------------------------------------------------------


def all_layers(model: Any) -> list[Any]:
    """The model and every layer in it, however deep."""
    return list(model._flatten_layers(include_self=True, recursive=True))


@contextlib.contextmanager
def float32_compute(model: Any) -> Iterator[None]:
    """Lets the whole model compute in float32 for a while; converters refuse the casts of mixed precision."""
    mixed = [layer for layer in all_layers(model) if str(layer.compute_dtype) in ("float16", "bfloat16")]
    before = [(layer, layer._dtype_policy) for layer in mixed]
    try:
        for layer in mixed:
            _set_policy(layer, "float32")
        yield
    finally:
        for layer, policy in before:
            _set_policy(layer, policy)


def _set_policy(layer: Any, policy: Any) -> None:
    if is_keras_2(layer):
        import tf_keras

        is_name = isinstance(policy, str)
        layer._set_dtype_policy(tf_keras.mixed_precision.Policy(policy) if is_name else policy)
    else:
        layer.dtype_policy = policy


def model_input_specs(model: Any) -> Any:
    """What a built model takes, by its own account: a structure of `tf.TensorSpec`, `None` where it cannot say.

    A subclassed model of Keras 3 remembers shapes and no dtypes; its specs have the dtype that it computes in.
    """
    if getattr(model, "inputs", None):  # functional, or a Sequential that was built
        owned = (getattr(model, name, None) for name in ("_inputs_struct", "_nested_inputs"))
        structure = next((one for one in owned if one is not None), model.inputs)
        specs = tf.nest.map_structure(lambda leaf: tf.TensorSpec(leaf.shape, leaf.dtype), structure)
        return specs[0] if isinstance(specs, list | tuple) and len(specs) == 1 else specs
    if is_keras_2(model):
        saved = model.save_spec()
        return tf.nest.map_structure(lambda leaf: tf.TensorSpec(leaf.shape, leaf.dtype), saved[0][0]) if saved else None
    shapes = getattr(model, "_build_shapes_dict", None)
    if not shapes or len(shapes) != 1:
        return None
    (shape,) = shapes.values()
    return _specs_of_shapes(shape)


def _specs_of_shapes(shape: Any) -> Any:
    if isinstance(shape, dict):
        return {name: _specs_of_shapes(one) for name, one in shape.items()}
    if any(isinstance(one, tuple | list) for one in shape):
        return [_specs_of_shapes(one) for one in shape]
    return tf.TensorSpec(shape, tf.float32)


def given_names(model: Any, kind: str) -> list[str | None]:
    """What the user has called the inputs or outputs of a model, in TensorFlow's order.

    An output is called as the layer that computes it. Names that Keras makes up count for nothing: they are numbers of
    the layers made before in this process, and differ between Keras 2 and 3.

    Args:
        model: a built Keras model.
        kind: `"inputs"` or `"outputs"`.

    Returns:
        `None` for a name that is Keras' own; empty if Keras knows of no inputs or outputs: a subclassed model's, but
        for the `output_names` that it may have.
    """
    try:
        tensors = getattr(model, kind, None)
    except ValueError:  # a Sequential model whose layers do not say their shapes
        tensors = None
    if not tensors or not all(hasattr(one, "_keras_history") for one in tf.nest.flatten(tensors)):
        names = getattr(model, "output_names", None) if kind == "outputs" else None
        return [None if re.fullmatch(r"output_\d+", str(name)) else str(name) for name in names or ()]
    history = [one._keras_history for one in tf.nest.flatten(tensors)]
    layers = [one.layer if hasattr(one, "layer") else one.operation for one in history]
    return [None if _is_made_up(layer, model) else layer.name for layer in layers]


def _is_made_up(layer: Any, model: Any) -> bool:
    """Whether Keras has named the layer: by its class and a number, or an input as its tensor, where it clones."""
    kinds = [type(layer).__name__, "keras_tensor"]
    if is_keras_2(model):
        kinds += {"InputLayer": ["input"], "Functional": ["model"]}.get(kinds[0], [])
        if layer.name.startswith("tf.") or layer.name in [f"{one.name}_input" for one in model.layers]:
            return True
    plain = layer.name.replace("_", "")
    return any(re.fullmatch(rf"{kind.replace('_', '')}\d*", plain, re.IGNORECASE) for kind in kinds)


def converter_errors() -> tuple[type[Exception], ...]:
    """What LiteRT's converter raises when it refuses a model, and what saving a graph and tracing one raise."""
    from tensorflow.lite.python.convert_phase import ConverterError

    python_errors = (ValueError, RuntimeError, TypeError, AttributeError, NotImplementedError, AssertionError)
    return (ConverterError, tf.errors.OpError, *python_errors)


# --- tfmot -----------------------------------------------------------------------------------------------------------

_TFMOT_WRAPPERS = ("PruneLowMagnitude", "ClusterWeights", "ClusterWeightsMHA")


@contextlib.contextmanager
def importing_tfmot() -> Iterator[None]:
    """Keeps TF_USE_LEGACY_KERAS as it is: importing tfmot sets it, which can turn `tf.keras` into Keras 2."""
    before = os.environ.get("TF_USE_LEGACY_KERAS")
    try:
        yield
    finally:
        os.environ.pop("TF_USE_LEGACY_KERAS", None)
        if before is not None:
            os.environ["TF_USE_LEGACY_KERAS"] = before


def without_wrappers(model: Any) -> Any:
    """The model without the layers that tfmot wraps around others to prune or cluster them, by tfmot's own functions.

    Layers that are not wrapped, and their weights, are shared with the model, which stays as it is.

    Returns:
        the model itself where nothing is wrapped.

    Raises:
        ValueError: if tfmot cannot unwrap it.
    """
    layers = all_layers(model)
    wrapped = [layer.name for layer in layers if type(layer).__name__ in _TFMOT_WRAPPERS]
    if not wrapped:
        return model
    with importing_tfmot():
        from tensorflow_model_optimization.python.core.clustering.keras.cluster import strip_clustering
        from tensorflow_model_optimization.python.core.sparsity.keras.prune import strip_pruning
    # Shared layers are called once more, which each of them remembers.
    calls = [(nodes, list(nodes)) for layer in layers for nodes in (layer._inbound_nodes, layer._outbound_nodes)]
    values = [(variable, read(variable).copy()) for variable in model.variables]  # tfmot assigns clusters anew
    try:
        return strip_clustering(strip_pruning(model))
    except (ValueError, NotImplementedError, TypeError) as error:
        raise ValueError(
            "A model with layers that tfmot has wrapped must be functional or sequential, for tfmot to unwrap them; "
            f"put the layers themselves in their place first. Received: {model.name!r} with {', '.join(wrapped)}."
        ) from error
    finally:
        for nodes, before in calls:
            nodes[:] = before
        for variable, value in values:
            assign(variable, value)


def tfmot_centroids(name: str) -> Callable[[np.ndarray, int, bool], np.ndarray]:
    """The initialisation of centroids that tfmot itself runs.

    Args:
        name: of a member of its `CentroidInitialization`.

    Returns:
        function from `(n,)` float32 weights, a number, and whether zero is one of the values, to as many values.
    """
    with importing_tfmot():
        from tensorflow_model_optimization.python.core.clustering.keras import clustering_centroids

    kind = getattr(clustering_centroids.CentroidInitialization, name)
    make = clustering_centroids.CentroidsInitializerFactory.get_centroid_initializer(kind)

    def choose(weights: np.ndarray, number: int, zero: bool) -> np.ndarray:
        return np.asarray(make(tf.constant(weights), number, preserve_sparsity=zero).get_cluster_centroids())

    return choose


# --- TensorBoard -----------------------------------------------------------------------------------------------------


def histogram_metadata() -> Any:
    """What tells TensorBoard that a tensor of `(buckets, 3)`, `left, right, count`, is a histogram."""
    from tensorboard.plugins.histogram import metadata

    return metadata.create_summary_metadata(display_name=None, description=None)
