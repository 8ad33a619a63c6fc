"""Which outputs of a model give classes along their last axis: where anything tells, the largest one is an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_OF_CLASSES = re.compile(r"categorical|kl_?div|kullback|one_?hot", re.IGNORECASE)


def outputs_of_classes(
    answers: Sequence[np.ndarray],
    targets: Sequence[np.ndarray | None],
    criteria: Sequence[Sequence[Any]],
    number_of_names: int = 0,
) -> list[bool]:
    """Whether each output has classes.

    Args:
        answers: the model's, of one batch.
        targets: of each output, `None` where there are none.
        criteria: losses and metrics of each output: their names, functions or objects.
        number_of_names: how many classes the metadata name; 0 for none.

    Returns:
        for each output whether something tells that its last axis is one of classes: a loss or a metric, integer
        targets without that axis, one-hot targets, names of as many classes, or answers that add up to 1 (softmax).

    Example:
        >>> scores, boxes = np.zeros((2, 3)), np.zeros((2, 4))
        >>> outputs_of_classes([scores, boxes], [np.array([0, 2]), boxes], [[], ["mse"]])
        [True, False]
    """
    return [
        _is_axis(answer)
        and (
            any(map(is_of_classes, told))
            or answer.shape[-1] == number_of_names
            or _are_classes(target, answer)
            or _adds_up(answer)
        )
        for answer, target, told in zip(answers, targets, criteria, strict=True)
    ]


def is_of_classes(criterion: Any) -> bool:
    """Whether a loss or a metric takes the largest of the last axis, or a distribution over it.

    Example:
        >>> is_of_classes("sparse_categorical_crossentropy"), is_of_classes("mse")
        (True, False)
    """
    if getattr(criterion, "sparse_y_pred", None) is False:  # of Keras' IoU metrics
        return True
    inner = getattr(criterion, "fn", None) or getattr(criterion, "_fn", None)
    names = [criterion if isinstance(criterion, str) else getattr(criterion, "__name__", type(criterion).__name__)]
    names += [getattr(inner, "__name__", "")] if inner is not None else []
    return any(_OF_CLASSES.search(str(name)) for name in names) or "kld" in names


def criteria_of(given: Any, keys: Sequence[str | None], count: int) -> list[list[Any]]:
    """Losses or metrics as `compile` takes them -> those of each output.

    Args:
        given: one, a list, a dict by the outputs' names, or `None`.
        keys: what the outputs are called, in the model's order.
        count: how many there are.

    Example:
        >>> criteria_of({"mask": "mse"}, ["label", "mask"], 2), criteria_of("mse", [None], 1)
        ([[], ['mse']], [['mse']])
    """
    if given is None:
        return [[] for _ in range(count)]
    if isinstance(given, Mapping):
        return [_flat(given.get(key)) if key is not None else [] for key in keys]
    if isinstance(given, list | tuple) and count > 1 and len(given) == count:
        return [_flat(one) for one in given]
    return [_flat(given) for _ in range(count)] if count == 1 or not isinstance(given, list | tuple) else [[]] * count


def _flat(given: Any) -> list[Any]:
    if isinstance(given, Mapping):
        given = list(given.values())
    if isinstance(given, list | tuple):
        return [one for part in given for one in _flat(part)]
    return [] if given is None else [given]


def _is_axis(answer: np.ndarray) -> bool:
    return answer.ndim >= 2 and answer.shape[-1] > 1 and bool(np.issubdtype(answer.dtype, np.floating))


def _are_classes(target: np.ndarray | None, answer: np.ndarray) -> bool:
    if target is None or not target.size:
        return False
    if target.shape in (answer.shape[:-1], (*answer.shape[:-1], 1)):
        return bool(np.issubdtype(target.dtype, np.integer) and target.max() < answer.shape[-1])
    return target.shape == answer.shape and bool(((target == 0) | (target == 1)).all() and _adds_up(target))


def _adds_up(values: np.ndarray) -> bool:
    """Whether values are a distribution along the last axis."""
    return bool(values.size and values.min() >= 0 and np.abs(values.sum(-1, dtype=np.float64) - 1).max() < 1e-3)
