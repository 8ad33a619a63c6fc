"""What a callback was made with: shown, handed on, copied and pickled without what a fit has left in it."""

from __future__ import annotations

import copy
import inspect
import reprlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from segopt_callbacks.rules import did_you_mean

if TYPE_CHECKING:
    from typing_extensions import Self  # in `typing` from Python 3.11 on

_OF_KERAS = ("History", "ProgbarLogger")
_LONGEST = 200  # characters of a setting in a report
_OF_A_FIT = ("_model", "params", "lifecycle", "updates_before_fit")


class WithSettings:
    """Base that remembers the arguments of the constructor, and tells settings from what belongs to a fit.

    What stands in the callback before its first fit is a setting; public ones, such as reports, keep their value.
    A copy belongs to no fit and to no model. Data sets are shared among copies, since TensorFlow copies none.
    """

    _arguments: dict[str, Any]
    _model: Any
    results: ClassVar[tuple[str, ...]] = ()  # arguments whose attributes a fit replaces

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """Remembers the arguments."""
        made = super().__new__(cls)
        _require_known(cls, options)
        bound = inspect.signature(cls.__init__).bind_partial(made, *arguments, **options)  # pickle passes none
        bound.apply_defaults()
        made._arguments = dict(list(bound.arguments.items())[1:])
        return made

    def remember_settings(self) -> None:
        """To be called when a fit begins: what there is now, the first time, are settings."""
        if "_fresh" not in vars(self):
            self._fresh = {name: value for name, value in vars(self).items() if name not in _OF_A_FIT}

    def get_config(self) -> dict[str, Any]:
        """The settings, by the names of the constructor's arguments."""
        kept = {name for name in self._arguments if self._has(name)} - set(self.results)
        return {name: getattr(self, name) if name in kept else value for name, value in self._arguments.items()}

    def told_settings(self) -> dict[str, str]:
        """The settings that matter, in few words: the first ones, and others that are not the default.

        Folders are left out, as their names are somebody's own.
        """
        parameters = inspect.signature(type(self).__init__).parameters
        defaults = {name: one.default for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY}
        return {
            name: _shown(value, _LONGEST)
            for name, value in self.get_config().items()
            if value is not None and not name.endswith("_dir") and _shown(defaults.get(name)) != _shown(value)
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A callback of these settings."""
        return cls(**config)

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={_shown(value)}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({told})"

    def __getstate__(self) -> dict[str, Any]:
        if "_fresh" not in vars(self):
            return {name: value for name, value in vars(self).items() if name not in _OF_A_FIT}
        return {
            name: value if name.startswith("_") else getattr(self, name, value) for name, value in self._fresh.items()
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({"_model": None, "params": None, **state})

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        if vars(self).get("_model") is not None:
            memo[id(self._model)] = self._model  # a callback inside ours may hold it, too
        state = self.__getstate__()
        for dataset in _datasets(list(state.values())):
            memo[id(dataset)] = dataset
        made.__setstate__(copy.deepcopy(state, memo))
        return made

    def _has(self, name: str) -> bool:
        return name in vars(self) or hasattr(type(self), name)


def _require_known(cls: type, options: dict[str, Any]) -> None:
    """Raises for an argument that a callback does not have, with the one that was probably meant."""
    parameters = inspect.signature(cls.__init__).parameters  # type: ignore[misc]
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return
    known = [name for name in parameters if name != "self"]
    for name in options:
        if name not in known:
            raise TypeError(
                f"{cls.__name__} takes {', '.join(f'`{one}`' for one in known)}.{did_you_mean(name, known)} "
                f"Received: {name}=..."
            )


def told_callbacks(callbacks: Iterable[Any]) -> list[dict[str, Any]]:
    """The name of each callback, and settings of ours, for a report; without those that `fit` adds by itself."""
    return [
        {"name": type(one).__name__} | ({"settings": one.told_settings()} if isinstance(one, WithSettings) else {})
        for one in callbacks
        if type(one).__name__ not in _OF_KERAS
    ]


def _datasets(values: list[Any]) -> list[tf.data.Dataset]:
    found = []
    for value in values:
        if isinstance(value, tf.data.Dataset):
            found.append(value)
        elif isinstance(value, dict):
            found += _datasets(list(value.values()))
        elif isinstance(value, list | tuple):
            found += _datasets(list(value))
        elif hasattr(value, "__dataclass_fields__"):
            found += _datasets(list(vars(value).values()))
    return found


def _shown(value: Any, longest: int = 80) -> str:
    """A setting in few words: arrays by their shape."""
    if isinstance(value, tuple | list):
        shown = ", ".join(_shown(one, longest) for one in value)
        return f"[{shown}]" if isinstance(value, list) else f"({shown}{',' * (len(value) == 1)})"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"<{tuple(value.shape)} {getattr(value.dtype, 'name', value.dtype)}>"
    short = reprlib.Repr()
    short.maxstring = short.maxother = longest
    return short.repr(value)
