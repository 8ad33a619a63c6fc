"""What a configuration asks Keras to run or to import that is not Keras' own."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Parts of Keras that models are made of. Others read files, load models or fetch from the net.
_KERASES = re.compile("(tf_)?keras")
_FUNCTIONS = {"activations", "constraints", "initializers", "losses", "metrics", "ops", "regularizers"}
_MODELLING = _FUNCTIONS | {"applications", "backend", "dtype_policies", "engine", "layers", "legacy", "mixed_precision"}
_MODELLING |= {"models", "optimizers", "quantizers", "random"}
_LOADING = frozenset({"TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})  # programs of other libraries
# Names of TensorFlow that a model's graph does not need; `TFOpLambda` of Keras 2 calls any.
_REACHING_OUT = {"audio", "autograph", "config", "data", "debugging", "distribute", "experimental", "function", "gfile"}
_REACHING_OUT |= {"io", "keras", "lite", "load_library", "load_op_library", "numpy_function", "print", "profiler"}
_REACHING_OUT |= {"py_func", "py_function", "queue", "raw_ops", "saved_model", "summary", "sysconfig", "test", "train"}


@dataclass(frozen=True)
class Foreign:
    """A class or function that is not Keras' own.

    Attributes:
        name: as in its module.
        registered: by which Keras may know it.
        module: that the file names.
    """

    name: str
    registered: str
    module: str


def _dicts(config: Any) -> Iterator[dict[str, Any]]:
    waiting = [config]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting += reversed(list(one.values()))
        elif isinstance(one, list):
            waiting += reversed(one)


def code_in(config: Any) -> str | None:
    """What in a configuration would be run while it is loaded, or reach files; `None` if nothing.

    Example:
        >>> code_in({"class_name": "Lambda", "config": {"name": "f", "function_type": "lambda", "function": ["4wAA"]}})
        "code of the Lambda layer 'f'"
        >>> code_in({"module": "keras.layers", "class_name": "Dense", "config": {"units": 2}})
    """
    for one in _dicts(config):
        if what := _code(one) or _gadget(one):
            return what
    return None


def _code(one: dict[str, Any]) -> str | None:
    inner = one.get("config")
    if one.get("class_name") == "__lambda__":
        return "code of a Python lambda"
    if one.get("class_name") == "Lambda" and isinstance(inner, dict) and any(map(_is_code, inner.items())):
        return f"code of the Lambda layer {str(inner.get('name', ''))!r}"
    if any(_is_code(item) for item in one.items()):
        return "code of a Python lambda"
    return None


def _is_code(item: tuple[str, Any]) -> bool:
    key, value = item
    is_marked = isinstance(value, dict) and value.get("class_name") == "__lambda__"
    return is_marked or (key in ("function_type", "output_shape_type", "mask_type") and value == "lambda")


def _gadget(one: dict[str, Any]) -> str | None:
    name, inner = one.get("class_name"), one.get("config")
    if not isinstance(name, str):
        return None
    if name in _LOADING:
        return f"a program of another library ({name})"
    if isinstance(inner, dict):
        symbol = inner.get("cls_symbol") or (inner.get("function") if "OpLambda" in name else None)
        if isinstance(symbol, str) and _reaches_out(symbol):
            return f"a call of tf.{symbol}"
        if isinstance(inner.get("vocabulary"), str):
            return f"the name of a file of this machine, {inner['vocabulary']!r}"
    target = inner if name == "function" and isinstance(inner, str) else name
    module = one.get("module")
    if module == "builtins" and hasattr(builtins, target):  # where Keras has no function of the name, it is Python's
        return f"a use of Python's own {target}"
    if isinstance(module, str) and is_keras(module) and not _is_modelling(module, target, name == "function"):
        return f"a use of {module}.{target}, which no model is made of"
    return None


def _reaches_out(symbol: str) -> bool:
    plain = symbol.removeprefix("compat.v2.").removeprefix("compat.v1.")
    return plain.partition(".")[0] in _REACHING_OUT


def is_keras(module: str) -> bool:
    """Whether a module is of one of the two Kerases.

    >>> is_keras("keras.layers"), is_keras("tf_keras.engine"), is_keras("keras_hub")
    (True, True, False)
    """
    return bool(_KERASES.fullmatch(module.partition(".")[0]))


def _is_modelling(module: str, name: str, is_function: bool) -> bool:
    parts = [part for part in module.split(".")[1:] if part not in ("src", "_tf_keras", "api", "__internal__")]
    if "." in name:  # `os.system` of a module that imports os
        return False
    # Without parts: `keras.Sequential`, `keras.DTypePolicy`.
    allowed = _FUNCTIONS if is_function else _MODELLING
    return parts[0] in allowed if parts else not is_function


def foreign_in(config: Any) -> list[Foreign]:
    """Classes and functions of a configuration that are of other modules than Keras'.

    Example:
        >>> foreign_in({"module": "mine", "class_name": "Net", "registered_name": "Custom>Net", "config": {}})
        [Foreign(name='Net', registered='Custom>Net', module='mine')]
    """
    found: dict[Foreign, None] = {}
    for one in _dicts(config):
        module, name = one.get("module"), one.get("class_name")
        if isinstance(module, str) and isinstance(name, str) and module != "builtins" and not is_keras(module):
            name = str(one.get("config")) if name == "function" else name
            registered = one.get("registered_name")
            registered = registered if isinstance(registered, str) and registered != "function" else name
            found[Foreign(name, registered, module)] = None
    return list(found)
