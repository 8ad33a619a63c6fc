"""A built model and filters -> the variables to optimize."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Container, Sequence
from typing import Any

from segopt_callbacks import compat

Filter = str | Callable[[Any], bool]
Filters = Filter | Sequence[Filter] | None


def validate_filters(filters: Filters) -> None:
    """Checks filters before any model is there.

    Args:
        filters: a regex, a predicate, a sequence of them, or `None`.

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
                    f"`filters` must be valid regular expressions; correct it. Received: {one!r} ({error})."
                ) from error
        elif not callable(one):
            raise ValueError(
                "`filters` must be a regex on the variable's path, a predicate on the variable, or a list of them. "
                f"Received: {one!r}."
            )
    if filters is not None and not _as_list(filters):
        raise ValueError("`filters` must name at least one regex or predicate; use None for the default. Received: [].")


def select_weights(model: Any, filters: Filters = None) -> dict[str, Any]:
    """The weights of a built model that an optimization applies to.

    By default: every trainable weight of rank 2 or more, those of custom layers included, embeddings aside (biases
    and normalisation weights have rank 1). A regex narrows that set by the weight's path (`re.search`); a predicate
    is asked about *every* trainable weight. With a list, a weight is taken if any entry takes it.

    Args:
        model: a built Keras model.
        filters: `None`, a regex, a predicate `variable -> bool`, or a list of regexes and predicates.

    Returns:
        path -> variable, in the model's order. Where two weights have one path, the later ones gain `#2`, `#3`, ...

    Raises:
        ValueError: if nothing is selected, or an entry of `filters` takes nothing; the available paths are listed.
    """
    validate_filters(filters)
    named = _unique_paths(model.trainable_weights)
    default = {path: weight for path, weight in named.items() if _is_default(path, weight)}
    if filters is None:
        chosen = set(default)
    else:
        chosen = set()
        for one in _as_list(filters):
            taken = _taken(one, named, default)
            if not taken:
                raise ValueError(
                    f"Each entry of `filters` must match a weight; correct it or leave it out. Received: {one!r}. "
                    f"Available: {', '.join(default) or 'no trainable weight of rank 2 or more'}."
                )
            chosen |= taken
    if not chosen:
        raise ValueError(
            f"The model must have a trainable weight of rank 2 or more. Received: {model.name!r} with the trainable "
            f"weights [{', '.join(named)}]; unfreeze layers, or pass a predicate as `filters`."
        )
    return {path: weight for path, weight in named.items() if path in chosen}


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


def _as_list(filters: Filters) -> list[Any]:
    if filters is None:
        return []
    return list(filters) if isinstance(filters, list | tuple | set | frozenset) else [filters]


def _taken(one: Any, named: dict[str, Any], default: dict[str, Any]) -> set[str]:
    if isinstance(one, str):
        return {path for path in default if re.search(one, path)}
    return {path for path, weight in named.items() if one(weight)}


def _is_default(path: str, weight: Any) -> bool:
    # The weight of every Keras Embedding is called "embeddings"; a token's row is looked up, not multiplied.
    last = path.partition("#")[0].rpartition("/")[2]
    return len(weight.shape) >= 2 and compat.raw_variable(weight).dtype.is_floating and last != "embeddings"


def _unique_paths(weights: Sequence[Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for weight in weights:
        named[unique_path(compat.variable_path(weight), named)] = weight
    return named


def unique_path(path: str, taken: Container[str]) -> str:
    """`path`, or `path#2`, `path#3`, ... where it is taken.

    Keras 2 lets layers of one name stand in different blocks of a subclassed model.

    >>> unique_path("conv/kernel", {"conv/kernel"})
    'conv/kernel#2'
    """
    numbered = (path if number == 1 else f"{path}#{number}" for number in itertools.count(1))
    return next(one for one in numbered if one not in taken)
