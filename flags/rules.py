"""Rules that several topics state about their flags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from absl import flags as absl_flags

from segopt_callbacks.rules import did_you_mean

DECIDERS = ("search", "goal")  # flags that choose the switches by themselves


class FlagError(ValueError):
    """A flag's value that turned out wrong only with the model at hand."""


def require(
    values: absl_flags.FlagValues,
    name: str,
    holds: Callable[[Any], bool],
    rule: str,
    remedy: str = "see --help",
    known: Sequence[str] = (),
) -> None:
    """Registers a rule on one flag's value.

    Args:
        values: where the flag is defined.
        name: the flag.
        holds: value -> whether it is allowed.
        rule: what it must be, such as "at least 1".
        remedy: what to do instead.
        known: names that a list may hold.
    """

    def check(value: Any) -> bool:
        if not holds(value):
            shown = ",".join(value) if isinstance(value, list) else value
            hint = did_you_mean(next((one for one in value if one not in known), None), known) if known else ""
            raise absl_flags.ValidationError(f"--{name} must be {rule}; {remedy}.{hint} Received: --{name}={shown}.")
        return True

    absl_flags.register_validator(name, check, flag_values=values)


def require_switch(values: absl_flags.FlagValues, switches: tuple[str, ...], names: list[str]) -> None:
    """Registers the rule that flags may only be given together with one of the switches that they belong to.

    Args:
        values: where the flags are defined.
        switches: boolean flags.
        names: flags without effect while no switch is on.
    """
    wanted = " or ".join(f"--{switch}" for switch in switches)

    def check(current: dict[str, Any]) -> bool:
        given = [name for name in names if values[name].present]
        if given and not any(current[switch] for switch in switches):
            name = given[0]
            decider = next((one for one in DECIDERS if one in values and values[one].value), None)
            if decider:
                rule, found = f"--{decider} decides by itself;", f"with --{decider}"
            else:
                rule, found = f"--{name} needs {wanted}; add {wanted}, or", f"without {wanted}"
            raise absl_flags.ValidationError(f"{rule} leave --{name} out. Received: --{name}={current[name]} {found}.")
        return True

    absl_flags.register_multi_flags_validator([*switches, *names], check, flag_values=values)
