"""Modules and classes of the user's own, which a saved model only names."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from segopt_callbacks.export.intake.wrong import CommandError


@dataclass(frozen=True)
class Own:
    """What the user has named, and so trusts.

    Attributes:
        modules: names of modules.
        objects: name by which a file has a class or function -> it.
    """

    modules: frozenset[str] = frozenset()
    objects: dict[str, Any] = field(default_factory=dict)


def import_own(named: Sequence[str]) -> Own:
    """Imports what `--import` names.

    Args:
        named: `MODULE`, which registers its classes with Keras, or `MODULE:CLASS` (a function, too), which need not be
            registered.

    Raises:
        CommandError: if Python does not find it.

    Example:
        >>> sorted(import_own(["collections:OrderedDict"]).objects)
        ['Custom>OrderedDict', 'OrderedDict']
    """
    objects: dict[str, Any] = {}
    for one in named:
        module, _, path = one.partition(":")
        try:
            found: Any = importlib.import_module(module)
        except ImportError as error:
            raise CommandError(
                f"`--import` must name a module that Python finds from here; correct it. Received: {one} ({error})."
            ) from error
        for name in path.split(".") if path else ():
            if not hasattr(found, name):
                raise CommandError(
                    "`--import=MODULE:CLASS` must name a class or function of the module; correct it. "
                    f"Received: {one}, and {module} has no {path!r}."
                )
            found = getattr(found, name)
        if path:
            # Files have the class by its own name, and by that with Keras' default package.
            objects |= {name: found for name in (path, found.__name__, f"Custom>{found.__name__}")}
    return Own(frozenset(one.partition(":")[0] for one in named), objects)
