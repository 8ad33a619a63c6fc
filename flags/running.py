"""Interruptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import flags as absl_flags

from flags.data import TFDS
from flags.rules import FlagError, require
from flags.search import BOUNDS

# What is said of one start only.
_OF_A_START = frozenset(("output_dir", "resume", "overwrite", "strategy"))
# What a run may change when it goes on, such as what is made of the trained model. A study checks its own.
_FREE = frozenset(
    (
        *("log_dir", "backup_minutes", "sensitivity", "export_formats", "latency", "float_fallback"),
        *("allow_float", "sparse", "accelerator", "remove_channels", "trials", "storage", *BOUNDS),
    )
)


def define(values: absl_flags.FlagValues) -> None:
    """Defines the flags of this topic in `values`; after those of data."""
    absl_flags.DEFINE_boolean(
        "resume",
        False,
        "Go on with the run in --output_dir where its backup left it, with its flags; begin anew where there is none. "
        "Yes or no.",
        flag_values=values,
    )
    absl_flags.DEFINE_boolean(
        "overwrite", False, "Delete what an earlier run has left in --output_dir. Yes or no.", flag_values=values
    )
    absl_flags.DEFINE_float(
        "backup_minutes",
        10.0,
        "The longest time between two backups of the training; each epoch ends with one, too. Unit: minutes.",
        flag_values=values,
    )
    require(values, "backup_minutes", lambda value: value > 0, "above 0")
    absl_flags.register_multi_flags_validator(["resume", "overwrite"], _check_one, flag_values=values)


def _check_one(current: dict[str, Any]) -> bool:
    if current["resume"] and current["overwrite"]:
        raise absl_flags.ValidationError(
            "--resume goes on with a run and --overwrite deletes it; leave one out. Received: --resume --overwrite."
        )
    return True


def record(values: absl_flags.FlagValues) -> dict[str, Any]:
    """The `flags` by name with which a run goes on, and those of them that were `given`; for JSON."""
    flags = [flag for topic in values.flags_by_module_dict().values() for flag in topic if flag.name not in _OF_A_START]
    is_name = values.data_dir.startswith(TFDS)
    data_dir = values.data_dir if is_name else str(Path(values.data_dir).resolve())
    by_name = {flag.name: flag.value for flag in flags} | {"data_dir": data_dir}
    return {"flags": by_name, "given": [flag.name for flag in flags if flag.present]}


def take_over(values: absl_flags.FlagValues, recorded: dict[str, Any]) -> None:
    """Gives the flags that are not on the command line the values that the run began with.

    Args:
        values: of this command line.
        recorded: what `record` was when the run began.

    Raises:
        FlagError: if one on the command line differs, and decides what is trained.
    """
    now = record(values)["flags"]
    for name, began_with in recorded["flags"].items():
        if name not in now or (values[name].present and name in _FREE):
            continue
        if values[name].present and now[name] != began_with:
            raise FlagError(
                f"A run goes on with the flags that it began with; leave --{name} out, or choose another --output_dir. "
                f"Received: --{name}={now[name]} where it was {began_with}."
            )
        values[name].value = began_with
        values[name].present = max(values[name].present, name in recorded["given"])
