"""A built model and filters -> the variables to optimize, and their values."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from segopt_callbacks import compat
from segopt_callbacks.model.lookups import looked_up
from segopt_callbacks.model.paths import unique_paths

Filter = str | Callable[[Any], bool]
Filters = Filter | Sequence[Filter] | None

# How Keras' own layers call what is no kernel and may still have two axes or more: the biases of MultiHeadAttention and
# GRU, the scales of LayerNormalization and PReLU, tables of tokens or positions, whose rows are looked up.
_NO_KERNEL = re.compile(r"(bias|gamma|beta|alpha|(.*_)?embeddings?)$")
_LORA = (
    "LoRA factors are left out unless a predicate takes them: their layer computes with kernel + A @ B, which is dense "
    "whatever is zero in A and B, and its kernel does not train. To compress that layer, `save_weights`, which merges "
    "them into the kernel, and `load_weights` into the model without LoRA"
)


def validate_filters(filters: Filters, name: str = "filters") -> None:
    """Checks filters before any model is there.

    Args:
        filters: a regex, a predicate, a sequence of them, or `None`.
        name: of the argument that they are, or whose keys.

    Raises:
        ValueError: for a broken regex, an empty sequence or another type.

    >>> validate_filters("kernel$")
    """
    for one in _as_list(filters):
        if isinstance(one, str):
            try:
                re.compile(one)
            except re.error as error:
                raise ValueError(
                    f"`{name}` must be valid regular expressions; correct it. Received: {one!r} ({error})."
                ) from error
        elif not callable(one) or isinstance(one, type) or hasattr(one, "trainable_weights"):
            is_layer = hasattr(one, "trainable_weights") and not isinstance(one, type)
            remedy = f" Did you mean {one.name!r}, its name?" if is_layer else ""
            raise ValueError(
                f"`{name}` must be a regex on the variable's path, a predicate on the variable, or a list of them."
                f"{remedy} Received: {type(one).__name__ if is_layer else repr(one)}."
            )
    if filters is not None and not _as_list(filters):
        raise ValueError(f"`{name}` must name at least one regex or predicate; leave it out for all. Received: none.")


def select_weights(model: Any, filters: Filters = None) -> dict[str, Any]:
    """The weights of a built model that an optimization applies to.

    By default: every kernel, that is every trainable floating-point weight of rank 2 or more, those of custom layers
    included, whose name is not `bias`, `gamma`, `beta`, `alpha`, `embeddings` or `..._embedding`, and which is not read
    by a gather alone, as a table is. LoRA factors are left out with a warning. A regex narrows that set by the weight's
    path (`re.search`), with the names of the models around it; a predicate is asked about *every*
    trainable weight. With a list, a weight is taken if any entry takes it.

    Args:
        model: a built Keras model.
        filters: `None`, a regex, a predicate `variable -> bool`, or a list of regexes and predicates.

    Returns:
        path -> variable, in the model's order. Where two weights have one path, the later ones gain `#2`, `#3`, ...

    Raises:
        ValueError: if nothing is selected, or an entry of `filters` takes nothing (the available paths are listed), or
            a predicate takes a weight that is not floating-point.
    """
    validate_filters(filters)
    named = unique_paths(model.trainable_weights)
    default = {path: weight for path, weight in named.items() if _is_kernel(path, weight)}
    # Keras' own kernels say so; only a weight that does not is worth a trace of the model.
    tables = looked_up(model, [weight for path, weight in default.items() if not _name(path).endswith("kernel")])
    default = {path: weight for path, weight in default.items() if compat.identity(weight) not in tables}
    factors = [path for path in named if _is_lora(path)]
    chosen: set[str] = set()
    nested = compat.nested_paths(model)
    for one in [".*"] if filters is None else _as_list(filters):
        taken = _taken(one, named, default, nested)
        if not taken and filters is not None:
            raise ValueError(
                f"Each entry of `filters` must match a weight; correct it or leave it out. Received: {one!r}. "
                f"Available: {', '.join(default) or 'no trainable weight of rank 2 or more'}." + _about_lora(factors)
            )
        chosen |= taken
    if not chosen:
        raise ValueError(
            "The model must have a trainable weight of rank 2 or more that is a kernel; unfreeze layers, or pass a "
            f"predicate as `filters`. Received: {model.name!r} with the trainable weights [{', '.join(named)}]; not "
            f"trainable: [{', '.join(_not_trainable(model))}]." + _about_lora(factors)
        )
    _require_floating(chosen, named)
    _warn_about_lora([path for path in factors if path not in chosen and _matches(path, filters)])
    return {path: weight for path, weight in named.items() if path in chosen}


def named_alone(model: Any, filters: Filters, weights: dict[str, Any], left: set[str]) -> set[str]:
    """The weights that the user has asked for by name: those of an entry of `filters` that takes no others.

    Args:
        model: a built Keras model.
        filters: as in `select_weights`.
        weights: path -> variable, all that were selected.
        left: paths of those that would not be compressed unless they are named.

    Returns:
        paths, some of `left`.

    >>> from segopt_callbacks.compat import keras
    >>> layers = [keras.layers.Dense(2, name="student"), keras.layers.Dense(2, name="teacher")]
    >>> model = keras.Sequential([keras.Input((2,)), *layers])
    >>> weights = select_weights(model)
    >>> left = {path for path in weights if "teacher" in path}
    >>> len(named_alone(model, "teacher", weights, left)), len(named_alone(model, "kernel", weights, left))
    (1, 0)
    """
    nested = compat.nested_paths(model)
    taken = [_taken(one, weights, weights, nested) for one in _as_list(filters)]
    return set().union(*(paths for paths in taken if paths <= left))


def by_first_match(rules: Sequence[str], weights: dict[str, Any]) -> dict[str, list[str]]:
    """Shares weights out among rules; a weight that none matches is left out.

    Args:
        rules: regexes on the path, in order of precedence.
        weights: path -> variable.

    Returns:
        regex -> paths.

    Raises:
        ValueError: if a regex matches nothing that an earlier one has left.

    >>> by_first_match(["head", "kernel"], {"head/kernel": 0, "conv/kernel": 1, "conv/scale": 2})
    {'head': ['head/kernel'], 'kernel': ['conv/kernel']}
    """
    left = list(weights)
    shared = {}
    for rule in rules:
        shared[rule] = [path for path in left if re.search(rule, path)]
        left = [path for path in left if path not in shared[rule]]
        if not shared[rule]:
            raise ValueError(
                "Each regex of a mapping must match a weight that no earlier one takes; correct it, or leave it out. "
                f"Received: {rule!r}. Left for it: {', '.join(left) or 'none'}."
            )
    return shared


def read_finite(path: str, weight: Any) -> np.ndarray:
    """The weight's value, which must be finite to be compared with others.

    Args:
        path: how to call the weight in the error.
        weight: a variable.

    Returns:
        the value, in the weight's own dtype.

    Raises:
        ValueError: if a value is NaN or infinite.

    >>> from segopt_callbacks.compat import keras
    >>> layer = keras.layers.Dense(2)
    >>> layer.build((None, 3))
    >>> read_finite("dense/kernel", layer.kernel).shape
    (3, 2)
    """
    value = compat.read(weight)
    if not np.isfinite(value).all():
        raise ValueError(
            "Weights must be finite to be clustered; lower the learning rate, or clip the gradients. "
            f"Received: {path!r}, {np.count_nonzero(~np.isfinite(value))} of {value.size} values NaN or infinite."
        )
    return value


def _as_list(filters: Filters) -> list[Any]:
    if filters is None:
        return []
    return list(filters) if isinstance(filters, list | tuple | set | frozenset) else [filters]


def _taken(one: Any, named: dict[str, Any], default: dict[str, Any], nested: dict[int, str]) -> set[str]:
    if isinstance(one, str):
        return {
            path
            for path, weight in default.items()
            if re.search(one, path) or re.search(one, nested.get(compat.identity(weight), path))
        }
    return {path for path, weight in named.items() if one(weight)}


def _is_kernel(path: str, weight: Any) -> bool:
    has_values = len(weight.shape) >= 2 and 0 not in weight.shape
    return has_values and _is_floating(weight) and not _NO_KERNEL.match(_name(path)) and not _is_lora(path)


def _is_floating(weight: Any) -> bool:
    return bool(compat.raw_variable(weight).dtype.is_floating)


def _is_lora(path: str) -> bool:
    return _name(path).startswith("lora_")


def _name(path: str) -> str:
    return path.partition("#")[0].rpartition("/")[2]


def _matches(path: str, filters: Filters) -> bool:
    return filters is None or any(isinstance(one, str) and re.search(one, path) for one in _as_list(filters))


def _not_trainable(model: Any) -> list[str]:
    weights = [weight for weight in model.non_trainable_weights if len(weight.shape) >= 2]
    return [f"{compat.variable_path(weight)} ({compat.raw_variable(weight).dtype.name})" for weight in weights]


def _require_floating(chosen: Iterable[str], named: dict[str, Any]) -> None:
    wrong = [path for path in chosen if not _is_floating(named[path])]
    if wrong:
        raise ValueError(
            "A predicate in `filters` may take floating-point weights only; let it refuse the others. Received: "
            f"{', '.join(f'{path} ({compat.raw_variable(named[path]).dtype.name})' for path in sorted(wrong))}."
        )


def _about_lora(factors: Sequence[str]) -> str:
    return f" {_LORA}. Left out: {', '.join(factors)}." if factors else ""


def _warn_about_lora(factors: Sequence[str]) -> None:
    if factors:
        warnings.warn(_about_lora(factors).strip(), stacklevel=3)
