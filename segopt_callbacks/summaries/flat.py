"""Settings of callbacks as a flat table, which is what TensorBoard's HParams takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from segopt_callbacks import compat

Setting = bool | int | float | str
_LONGEST = 80  # characters
_OF_NO_INTEREST = ("log_dir", "export_dir", "verbose")  # where files lie, and what is printed


def flat_settings(callbacks: Iterable[Any]) -> dict[str, Setting]:
    """The settings of some callbacks that are numbers, words, or made of them; data and functions are left out.

    Args:
        callbacks: each with `get_config`. Their names lose `Callback`; the second of a class has `_2` behind.

    Returns:
        `Class.setting` -> value; a schedule or pattern is told by its class, and by its own settings behind another
        dot.

    Example:
        >>> from types import SimpleNamespace
        >>> flat_settings([SimpleNamespace(get_config=lambda: {"scope": "global", "filters": None, "log_dir": "logs"})])
        {'SimpleNamespace.scope': 'global'}
    """
    found: dict[str, Setting] = {}
    seen: dict[str, int] = {}
    for callback in callbacks:
        name = type(callback).__name__.removesuffix("Callback")
        seen[name] = seen.get(name, 0) + 1
        prefix = name if seen[name] == 1 else f"{name}_{seen[name]}"
        for key, value in callback.get_config().items():
            if key not in _OF_NO_INTEREST:
                found.update(_told(f"{prefix}.{key}", value))
    return found


def _told(name: str, value: Any) -> Iterator[tuple[str, Setting]]:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | int | float | str):
        yield name, value[:_LONGEST] if isinstance(value, str) else value
    elif isinstance(value, tuple | list) and value and all(isinstance(one, bool | int | float | str) for one in value):
        yield name, ", ".join(map(str, value))[:_LONGEST]
    elif isinstance(inner := _settings_of(value), dict):
        yield name, type(value).__name__
        for key, one in inner.items():
            yield from _told(f"{name}.{key}", one)


def _settings_of(value: Any) -> dict[str, Any] | None:
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in fields(value) if not one.name.startswith("_")}
    # No other `get_config` is asked: a teacher's tells of every layer.
    return value.get_config()["config"] if compat.is_tfmot_schedule(value) else None
