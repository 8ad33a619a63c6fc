"""What a model says of itself: built or not, its layers, inputs and names."""

from __future__ import annotations

import re
from typing import Any

import tensorflow as tf

from segopt_callbacks.compat.kerases import is_keras_2
from segopt_callbacks.compat.variables import identity, variable_path

_BUILT_ON = ("_build_shapes_dict", "built")


def is_model(candidate: Any) -> bool:
    """Whether this is a model of either Keras."""
    owners = {base.__module__.partition(".")[0] for base in type(candidate).__mro__ if base.__name__ == "Model"}
    return bool(owners & {"keras", "tf_keras"})


def runs_eagerly(model: Any) -> bool:
    """Whether the model's steps run without being traced."""
    return bool(getattr(model, "run_eagerly", False)) or tf.config.functions_run_eagerly()


def is_compiled(model: Any) -> bool:
    """Whether the model knows its loss and metrics."""
    return bool(getattr(model, "compiled", None) or getattr(model, "_is_compiled", False))


def compiled_loss(model: Any) -> Any:
    """The loss as `compile` took it: a name, a function, an object, a structure of them; `None` without."""
    return getattr(model, "loss", None)


def compiled_metrics(model: Any) -> Any:
    """The metrics as `compile` took them, weighted ones not; `None` without."""
    container = getattr(model, "compiled_metrics" if is_keras_2(model) else "_compile_metrics", None)
    return getattr(container, "_user_metrics", None)


def is_built(model: Any) -> bool:
    """Whether all of the model's variables exist, as far as its layers tell.

    A subclassed model may call itself built while layers inside it wait for their first input; a layer that is never
    called waits for ever. `has_weights` is the question to ask once the model has run.
    """
    return bool(model.built) and all(layer.built for layer in model._flatten_layers(include_self=False, recursive=True))


def has_weights(model: Any) -> bool:
    """Whether the model has been built as far as it will be."""
    return (bool(model.built) and bool(model.weights)) or is_built_inside(model)


def is_built_inside(model: Any) -> bool:
    """Whether all layers of a model are built, though it may never have been called itself.

    So is a model that trains others, such as a GAN, and may have no `call` at all.
    """
    inside = list(model._flatten_layers(include_self=False, recursive=True))
    return all(layer.built for layer in inside) and any(layer.weights for layer in inside)


def is_made_of_layers(model: Any) -> bool:
    """Whether the model, and every layer in it, is of Keras' own classes, so that each of them is on the way through.

    Sequential and functional models; one with a class of the user's in it may hold layers that inference never calls,
    and of a model inside with several outputs some may lead nowhere.
    """
    inner = [layer for layer in all_layers(model) if layer is not model]
    return _is_keras_own(type(model)) and all(
        _is_keras_own(type(layer)) and len(getattr(layer, "outputs", None) or ()) <= 1 for layer in inner
    )


def has_own_train_step(model: Any) -> bool:
    """Whether the user wrote the model's `train_step`, which may hand any weights to any optimizer."""
    return not _is_keras_own(type(model).train_step) or "train_step" in vars(model)


def nested_paths(model: Any) -> dict[int, str]:
    """Identity of a variable -> its path with the names of all models and layers around it, as Keras 3 names it.

    Keras 2 leaves out those around a model that was built by itself, such as `generator` in `generator/conv/kernel`.
    """
    if not is_keras_2(model):
        return {}
    found: dict[int, str] = {}
    seen: set[int] = set()

    def walk(layer: Any, around: str) -> None:
        if id(layer) in seen:
            return
        seen.add(id(layer))
        for inner in layer._flatten_layers(include_self=False, recursive=False):
            walk(inner, f"{around}/{inner.name}")
        for variable in layer.weights if getattr(layer, "built", False) else ():
            found.setdefault(identity(variable), f"{around}/{variable_path(variable)}")

    walk(model, model.name)
    return found


def _is_keras_own(defined: Any) -> bool:
    return defined.__module__.partition(".")[0] in ("keras", "tf_keras")


def all_layers(model: Any) -> list[Any]:
    """The model and every layer in it, however deep."""
    return list(model._flatten_layers(include_self=True, recursive=True))


def batch_norms(model: Any) -> list[Any]:
    """Every built BatchNormalization of either Keras in the model, frozen ones too."""
    return [
        layer
        for layer in model._flatten_layers(include_self=False, recursive=True)
        if any(base.__name__ in ("BatchNormalization", "BatchNormalizationBase") for base in type(layer).__mro__)
        and getattr(layer, "moving_variance", None) is not None
    ]


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


def build_from_inputs(model: Any, inputs: Any) -> None:
    """Builds the model by a symbolic call with `inputs`, a structure of `tf.TensorSpec`.

    Where that raises, the model remembers nothing of these inputs: Keras 3 takes them for what the model was built on.
    """
    before = {name: vars(model)[name] for name in _BUILT_ON if name in vars(model)}
    try:
        _call_symbolically(model, inputs)
    except BaseException:  # whatever it is goes on its way
        for name in _BUILT_ON:
            vars(model).pop(name, None)
        vars(model).update(before)
        raise


def _call_symbolically(model: Any, inputs: Any) -> None:
    if is_keras_2(model):
        import tf_keras

        model(tf.nest.map_structure(lambda leaf: tf_keras.Input(type_spec=leaf), inputs))
    else:
        import keras as keras_3

        model(tf.nest.map_structure(lambda leaf: keras_3.KerasTensor(leaf.shape, leaf.dtype.name), inputs))
