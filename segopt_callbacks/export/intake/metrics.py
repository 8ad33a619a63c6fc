"""By what the files of a saved model are judged: metrics by name, or those that it was compiled with."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segopt_callbacks.errors import printable
from segopt_callbacks.export.intake.configs import compiled_in
from segopt_callbacks.export.intake.own import Own
from segopt_callbacks.export.intake.trust import code_in, foreign_in
from segopt_callbacks.export.intake.wrong import CommandError, told
from segopt_callbacks.rules import did_you_mean


def compile_with_metrics(model: Any, path: Path, names: Sequence[str], own: Own) -> None:
    """Compiles a loaded model with metrics alone, which exports then judge by.

    Metrics of the file that are not Keras' own, nor those that the user trusts, are left out, in a line on stderr.

    Args:
        model: loaded.
        path: where from, a `.keras` or `.h5` file; others tell of no metrics.
        names: of Keras metrics; empty for those that the file tells of.
        own: classes and modules that the user trusts.

    Raises:
        CommandError: for a name that Keras does not know.
    """
    for name in names:
        _require_known(name)
    wanted: Any = list(names)
    if not names:
        try:
            wanted = _made((compiled_in(path) or {}).get("metrics"), own)
        except (ValueError, TypeError, KeyError) as error:
            line = f"segopt-export: the metrics of {path} are left out; name some by `--metrics`. {told(error)}"
            print(printable(line), file=sys.stderr)
    if wanted:
        model.compile(metrics=wanted)


def _require_known(name: str) -> None:
    from segopt_callbacks.compat import keras

    cause: Exception | None = None
    try:
        found = keras.metrics.get(name)
    except (ValueError, TypeError) as error:
        found, cause = None, error
    if not callable(found):  # Keras 2 gives back a name that it does not know
        hint = did_you_mean(name, ["accuracy", *(one for one in dir(keras.metrics) if not one.startswith("_"))])
        raise CommandError(
            f"`--metrics` must name metrics that Keras knows, such as accuracy; correct it.{hint} Received: {name}."
        ) from cause


def _made(saved: Any, own: Own) -> Any:
    """The metrics of a configuration; names stay names, which Keras resolves by the model's outputs."""
    from segopt_callbacks.compat import keras

    if isinstance(saved, list | tuple):
        return [_made(one, own) for one in saved]
    if isinstance(saved, dict) and "class_name" not in saved:
        return {name: _made(one, own) for name, one in saved.items()}
    if not isinstance(saved, dict):
        return saved
    strangers = [one.name for one in foreign_in(saved) if not {one.name, one.registered} & own.objects.keys()]
    if what := code_in(saved) or ", ".join(strangers):
        raise ValueError(f"They are not Keras' own: {what}.")
    return keras.metrics.deserialize(saved, custom_objects=own.objects)
