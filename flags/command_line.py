"""Command line -> flag values, or one line that says rule, value and remedy."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Sequence

from absl import flags as absl_flags

from flags import (
    clustering,
    data,
    export,
    machines,
    pruning,
    quantization,
    recipes,
    running,
    search,
    sensitivity,
    training,
)
from segopt_callbacks.rules import did_you_mean

TOPICS = (data, training, pruning, clustering, quantization, recipes, sensitivity, export, search, running, machines)
USAGE_ERROR = 2  # exit code


def define_all() -> absl_flags.FlagValues:
    """All flags with their defaults, apart from the global ones that TensorFlow defines."""
    values = absl_flags.FlagValues()
    for topic in TOPICS:
        topic.define(values)
    return values


def parse(argv: Sequence[str]) -> absl_flags.FlagValues:
    """Reads a command line; prints the help, or the first error in one line, and exits if there is cause.

    Args:
        argv: the program's name and its arguments, such as `sys.argv`. `--flagfile=FILE` reads arguments from a file,
            one on each line.

    Returns:
        the values, as attributes.

    Raises:
        SystemExit: 0 after `--help`; 2 for an unknown, impossible or contradictory flag.

    >>> parse(["train.py", "--epochs=3"]).epochs
    3
    """
    values = define_all()
    if {"--help", "-help", "-h", "--helpfull"} & set(argv[1:]):
        _show(help_text(values))
        raise SystemExit(0)
    try:
        positional = values(list(argv))[1:]
    except absl_flags.Error as error:
        _stop(explain(error, values))
    if positional:
        _stop(f"Every argument must be a flag --name=value; see --help. Received: {positional[0]}.")
    return values


def _show(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # `--help | head`; nothing more may be written when the process ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stop(line: str) -> None:
    print(line, file=sys.stderr)
    raise SystemExit(USAGE_ERROR)


def explain(error: absl_flags.Error, values: absl_flags.FlagValues) -> str:
    """One line for an error of absl: rule, value, remedy."""
    text = " ".join(str(error).split())
    if isinstance(error, absl_flags.UnrecognizedFlagError):
        known = [flag.name for topic in values.flags_by_module_dict().values() for flag in topic]
        hint = did_you_mean(f"--{error.flagname}", [f"--{name}" for name in known], is_quoted=False)
        return f"Flags must be among those of --help.{hint} Received: {error.flagvalue or error.flagname}."
    if rule := re.match(r"flags? .*?: (--.*)", text):
        return rule[1]  # a validator's sentence
    if wrong := re.match(r"flag --(\w+)=(.*?): ", text):
        flag = values[wrong[1]]
        hint = did_you_mean(wrong[2], getattr(flag.parser, "enum_values", None) or ())
        return f"--{flag.name} must be {_kind(flag)}; such as --{flag.name}={_shown(flag)}.{hint} Received: {wrong[2]}."
    return f"{text.removeprefix('ERROR:: ').rstrip('.')}; see --help."


def _kind(flag: absl_flags.Flag) -> str:
    if flag.boolean:
        return "true or false"
    choices = getattr(flag.parser, "enum_values", None)
    return f"one of {', '.join(choices)}" if choices else flag.parser.syntactic_help or "text"


def _shown(flag: absl_flags.Flag) -> str:
    if isinstance(flag.default, list):
        return ",".join(map(str, flag.default)) or "(none)"
    if isinstance(flag.default, bool):
        return str(flag.default).lower()
    return "(none)" if flag.default in (None, "") else str(flag.default)


def help_text(values: absl_flags.FlagValues) -> str:
    """The text of `--help`: each flag with its meaning, unit and default, by topic."""
    lines = ["Trains a subclassed U-Net; prunes, clusters, exports and verifies it.", ""]
    lines += [
        "  python train.py --goal=balanced",
        "  python train.py --prune --cluster",
        "  python train.py --flagfile=../flags/prune_cluster_int8.flags",
    ]
    by_module = values.flags_by_module_dict()
    for topic in TOPICS:
        lines += ["", (topic.__doc__ or "").strip()]
        for flag in by_module[topic.__name__]:
            name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
            # absl appends what its kinds of flags have in common after a semicolon.
            text = f"{' '.join(flag.help.split()).partition('; repeat this option')[0]} Default: {_shown(flag)}."
            lines += [f"  {name}", textwrap.fill(text, 100, initial_indent=" " * 6, subsequent_indent=" " * 6)]
    return "\n".join([*lines, "", "  --flagfile", "      File of flags, one on each line."])
