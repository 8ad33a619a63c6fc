"""Names of a model's inputs and outputs that every format takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

_RESERVED = ("self",)  # inputs travel as keyword arguments of methods


def input_names(inputs: Any, given: Sequence[str | None] = ()) -> tuple[str, ...]:
    """Names of inputs, in TensorFlow's order of their structure.

    A name is, by the first of these that there is: that of the `tf.TensorSpec` itself, the keys that lead to the input,
    what the user has called it, `input` (`input_0`, `input_1` ... where there are several). Letters, digits and
    underscores stay, other characters become underscores; two that would be the same are numbered.

    Args:
        inputs: structure of `tf.TensorSpec`.
        given: what the user has called them, `None` for those that have no name; empty if there is no telling.

    Example:
        >>> spec = tf.TensorSpec((1, 4), tf.float32)
        >>> input_names(spec, ["image"]), input_names([spec, spec]), input_names({"right eye": spec, "left": spec})
        (('image',), ('input_0', 'input_1'), ('left', 'right_eye'))
    """
    specs = [getattr(leaf, "name", None) for leaf in tf.nest.flatten(inputs)]
    return _unique(_wanted(inputs, specs, _fitting(given, len(specs))), "input", ())


def output_names(outputs: Any, given: Sequence[str | None] = (), taken: Iterable[str] = ()) -> tuple[str, ...]:
    """Names of outputs by the same rules, none of which is that of an input: some formats know one set of names.

    Args:
        outputs: structure of tensors.
        given: what the user has called them.
        taken: names of the inputs.

    Example:
        >>> output_names({"image": 1, "mask": 2}, taken=["image"])
        ('image_output', 'mask')
    """
    count = len(tf.nest.flatten(outputs))
    return _unique(_wanted(outputs, [None] * count, _fitting(given, count)), "output", taken)


def _wanted(structure: Any, first: Sequence[Any], last: Sequence[Any]) -> list[str | None]:
    paths = list(_paths(structure))
    if len(paths) != len(first):  # a structure of the user's own class
        paths = [None] * len(first)
    return [next((name for name in names if name), None) for names in zip(first, paths, last, strict=True)]


def _fitting(given: Sequence[str | None], count: int) -> Sequence[str | None]:
    return given if len(given) == count else [None] * count


def _paths(structure: Any) -> Iterable[str | None]:
    """The keys that lead to each leaf, joined; `None` for one that only its place tells."""
    if isinstance(structure, Mapping):
        keyed = [(str(key), structure[key]) for key in sorted(structure)]
    elif isinstance(structure, tuple) and hasattr(structure, "_fields"):
        keyed = list(zip(structure._fields, structure, strict=True))
    elif isinstance(structure, list | tuple):
        places = [list(_paths(one)) for one in structure]
        for index, inner in enumerate(places):
            yield from (None if path is None else f"{index}_{path}" for path in inner)
        return
    else:
        yield None
        return
    for key, inside in keyed:
        inner = list(_paths(inside))
        for index, path in enumerate(inner):
            suffix = path if path is not None else str(index) if len(inner) > 1 else ""
            yield f"{key}_{suffix}" if suffix else key


def _unique(wanted: Sequence[str | None], kind: str, taken: Iterable[str]) -> tuple[str, ...]:
    """`wanted` with valid characters, and each name once; TensorFlow does not tell apart upper and lower case."""
    others, ours = {name.lower() for name in taken}, {*_RESERVED}
    names = []
    for index, name in enumerate(wanted):
        clean = _clean(name, kind) or (kind if len(wanted) == 1 else f"{kind}_{index}")
        if clean.lower() in others:
            clean = f"{clean}_{kind}"
        numbered, number = clean, 0
        while numbered.lower() in ours | others:
            number += 1
            numbered = f"{clean}_{number}"
        ours.add(numbered.lower())
        names.append(numbered)
    return tuple(names)


def _clean(name: str | None, kind: str) -> str:
    r"""The name in the characters of a C identifier; empty if nothing is left of it.

    Example:
        >>> _clean("a/b", "input"), _clean("_x", "input"), _clean("2nd", "output"), _clean("\u56fe", "input")
        ('a_b', 'x', 'output_2nd', '')
    """
    clean = re.sub(r"[^A-Za-z0-9_]", "_", name or "").lstrip("_")
    return f"{kind}_{clean}" if clean[:1].isdigit() else clean
