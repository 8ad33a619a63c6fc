"""Packages whose names are imported when they are first used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package (PEP 562) that imports each name at its first use, and keeps it.

    Args:
        package: its `__name__`.
        homes: name -> the module in the package that it comes from.

    Example:
        >>> lazy_names("email", {"Message": "message"})("Message")
        <class 'email.message.Message'>
        >>> lazy_names("email", {"Message": "message"})("Massage")
        Traceback (most recent call last):
        AttributeError: module 'email' has no attribute 'Massage'. Public names: Message.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}. Public names: {', '.join(homes)}.")
        module = importlib.import_module(package)
        value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        setattr(module, name, value)
        return value

    return get
