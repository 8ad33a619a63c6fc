"""Optimizers of either Keras: their steps, averages and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from segopt_callbacks.compat.kerases import is_keras_2
from segopt_callbacks.compat.models import has_own_train_step
from segopt_callbacks.compat.variables import Variable, read


def iterations(model: Any) -> int:
    """Batches that the optimizer has seen; 0 for a model that keeps optimizers of its own."""
    optimizer = _inner_optimizer(model)
    if optimizer is None:
        return 0
    # `iterations` of Keras 3 counts a group of accumulated batches once.
    return int(read(getattr(optimizer, "_iterations", optimizer.iterations)))


def optimizer_name(model: Any) -> str:
    """The class of the optimizer, empty for a model that keeps optimizers of its own."""
    optimizer = _inner_optimizer(model)
    return "" if optimizer is None else type(optimizer).__name__


def build_optimizer(model: Any) -> None:
    """Makes the variables of the optimizer, which Keras 3 would make while it traces the step.

    There each is made in a branch of its own, to be lifted out, which takes much of the time of tracing. A `train_step`
    of the user's may hand the optimizer other weights than all, so Keras is left to see.

    Args:
        model: with all of its weights, before its first step.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None or is_keras_2(model) or has_own_train_step(model):
        return
    if not optimizer.built and model.trainable_weights:
        optimizer.build(model.trainable_weights)


def state_variables(model: Any) -> list[Variable]:
    """All that training changes: the model's weights, and the variables of its optimizer, which are made if missing.

    Args:
        model: with all of its weights, and an optimizer that updates all that train.
    """
    optimizer = model.optimizer
    if is_keras_2(model):
        with model.distribute_strategy.scope():
            optimizer.build(model.trainable_variables)
    elif not optimizer.built:
        optimizer.build(model.trainable_variables)
    return [*model.weights, *optimizer.variables]


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
    before = [vars(optimizer).get(name) for optimizer in optimizers]  # somebody may watch already
    for optimizer in optimizers:
        setattr(optimizer, name, _watching(optimizer, name, hook))

    def undo() -> None:
        for optimizer, watching in zip(optimizers, before, strict=True):
            vars(optimizer).pop(name, None)
            if watching is not None:
                setattr(optimizer, name, watching)

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
