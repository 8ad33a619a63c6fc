"""A saved model, loaded by the Keras of this process, if it brings no code of its own."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from segopt_callbacks.export.intake.configs import read_configs
from segopt_callbacks.export.intake.own import Own
from segopt_callbacks.export.intake.trust import Foreign, code_in, foreign_in
from segopt_callbacks.export.intake.wrong import CommandError, told
from segopt_callbacks.sizes import CorruptFileError

# By Keras 3, and by Keras 2 in general and where the class is a layer of a Sequential model.
_MISSING = (
    re.compile(r"(?s)'class_name': 'function', 'config': '([^']+)'.*Unknown \w+ function"),
    re.compile(r"Could not locate (?:class|function) '([^']+)'"),
    re.compile(r"Unknown [\w ]+: '([^']+)'"),
    re.compile(r"instance of class Layer. Received: layer=(\w+) of type <class 'str'>"),
    re.compile(r"Could not interpret \w+ (?:function )?identifier: (\w+)"),
)


def check_model(path: Path, *, unsafe: bool = False) -> list[Any]:
    """Looks at a saved model without loading it, and without Keras.

    Args:
        path: a file, or the folder of a SavedModel.
        unsafe: whether the file may bring code.

    Returns:
        its configurations; empty where it is none that we know.

    Raises:
        CommandError: if it is damaged, would run code or reach files when it is loaded.
    """
    try:
        configs, operations = read_configs(path)
    except CorruptFileError as error:
        raise CommandError(f"{path} cannot be loaded; {error}.") from error
    configs = [_loaded_part(config) for config in configs]
    brought = [f"the operation {name}, which reaches out of the graph" for name in operations]
    brought += [what for config in configs if (what := code_in(config))]
    if brought and not unsafe:
        raise CommandError(
            f"A file must bring no code or calls of its own, since loading it would run them; write what it does as a "
            f"layer class, register that and name its module by `--import`. Received: {path}, with {brought[0]}."
        )
    return configs


def _loaded_part(config: Any) -> Any:
    # Losses and metrics are left where they are, by `compile=False`.
    return (
        {key: value for key, value in config.items() if key != "compile_config"} if isinstance(config, dict) else config
    )


def load_model(path: Path, own: Own | None = None, *, unsafe: bool = False) -> Any:
    """Loads a saved model, not compiled.

    Args:
        path: a `.keras` or `.h5` file; with Keras 2 also the folder of a SavedModel.
        own: classes and modules that the user trusts.
        unsafe: whether the file may run code of its own, and import modules that nobody has named.

    Raises:
        CommandError: if it cannot, or must not, be loaded.
    """
    from segopt_callbacks.compat import keras

    own = own or Own()
    configs = check_model(path, unsafe=unsafe)
    # Keras 2 imports any module that a file names.
    strangers = [one for config in configs for one in foreign_in(config) if not _is_known(one, own)]
    if strangers and not unsafe:
        one = strangers[0]
        raise CommandError(f"{path} cannot be loaded; {_name_it(one.name, one.module)}.")
    try:
        return keras.models.load_model(path, custom_objects=own.objects, compile=False, safe_mode=not unsafe)
    except Exception as error:  # Keras raises anything here, from KeyError to zipfile's own
        text = f"{error} {error.__cause__ or error.__context__ or ''}"
        raise CommandError(f"{path} cannot be loaded; {_remedy(text, own)}. Keras says: {told(error)}") from error


def _is_known(one: Foreign, own: Own) -> bool:
    from segopt_callbacks.compat import keras

    names = (one.registered, one.name)
    if any(name in own.objects for name in names):
        return True
    return any(keras.utils.get_registered_object(name) is not None for name in names)


def _remedy(text: str, own: Own) -> str:
    """What to do about an error of Keras' loading."""
    for pattern in _MISSING:
        if (found := pattern.search(text)) and found[1] not in (*own.objects, "function"):
            return _name_it(found[1])
    if os.environ.get("TF_USE_LEGACY_KERAS") == "1":
        return "if Keras 3 has saved it, run without TF_USE_LEGACY_KERAS=1"
    return "if Keras 2 has saved it, run with TF_USE_LEGACY_KERAS=1 in the environment"


def _name_it(name: str, module: str | None = None) -> str:
    plain = name.rpartition(">")[2]
    place = module or "MODULE"
    return (
        f"Keras does not know its {plain!r}: pass `--import={place}:{plain}`, or decorate it with "
        f"`@keras.utils.register_keras_serializable()` and pass `--import={place}`"
    )
