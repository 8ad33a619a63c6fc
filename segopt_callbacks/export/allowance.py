"""What may compute in float inside an integer file."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from segopt_callbacks.errors import FormatError, listed
from segopt_callbacks.rules import require_flag

_SEPARATORS = re.compile(r"[/;:]")
_NUMBERED = re.compile(r"_\d+$")


@dataclass(frozen=True)
class Allowance:
    """Which operations of an integer file may compute in float.

    Attributes:
        everything: whether all may that have no integer form.
        names: else those of these operators, and those of these layers or of layers inside of them.

    Example:
        >>> bool(Allowance()), bool(Allowance(names=("ELU",)))
        (False, True)
    """

    everything: bool = False
    names: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.everything or bool(self.names)

    def covers(self, operation: str, layers: Collection[str] = ()) -> bool:
        """Whether an operation may compute in float.

        Args:
            operation: `OPERATOR (name of its output)`; the name is a path of layers, or several with `;` between them.
            layers: names of the model's layers. TensorFlow numbers the scope of a layer that is called again, so that
                `norm_1` stands for `norm` unless a layer is called so.

        Example:
            >>> allowed = Allowance(names=("elu", "encoder/norm"))
            >>> allowed.covers("ELU (model/bent/Elu)"), allowed.covers("RSQRT (model/encoder/norm/Rsqrt)")
            (True, True)
            >>> numbered = "RSQRT (model/encoder_2/norm/Rsqrt)"
            >>> allowed.covers(numbered), allowed.covers(numbered, layers=["encoder", "encoder_2", "norm"])
            (True, False)
        """
        operator, _, path = operation.partition(" ")
        parts = [part.strip("( )") for part in _SEPARATORS.split(path)]
        return self.everything or any(
            name.lower() == operator.lower() or _is_run_of(name.split("/"), parts, layers) for name in self.names
        )

    def require(self, operations: Sequence[str], layers: Collection[str], others: Sequence[str]) -> None:
        """Raises for operations that may not compute in float.

        Args:
            operations: what computes in float in the file, as for `covers`.
            layers: as for `covers`.
            others: formats that compute in float by themselves, for the message.

        Raises:
            FormatError: naming the operations, the options and the other formats.
        """
        refused = [one for one in operations if not self.covers(one, layers)]
        if refused:
            raise FormatError(
                f"operations compute in float32 in an integer file: {listed(refused)}; let them with "
                "`float_fallback=True`, or by name with `allow_float`; or replace them; or export a format that "
                f"computes in float: {', '.join(others)}"
            )


def validate_allow_float(allow_float: Any, float_fallback: Any) -> Allowance:
    """The allowance that the arguments of an export mean.

    Raises:
        ValueError: for anything but names, and for names beside `float_fallback=True`, which allows everything.

    Example:
        >>> validate_allow_float(["ELU"], False).names
        ('ELU',)
    """
    require_flag("float_fallback", float_fallback)
    names = (allow_float,) if isinstance(allow_float, str) else allow_float
    if not isinstance(names, Sequence) or not all(isinstance(name, str) and name.strip("/ ") for name in names):
        raise ValueError(
            "`allow_float` must be names of operations or layers, such as ['ELU', 'head/norm']. "
            f"Received: allow_float={allow_float!r}."
        )
    if names and float_fallback:
        raise ValueError(
            "`float_fallback=True` lets every operation compute in float that has no integer form; pass it, or "
            f"`allow_float`. Received: both, allow_float={allow_float!r}."
        )
    return Allowance(float_fallback, tuple(name.strip("/ ") for name in names))


def _is_run_of(wanted: list[str], parts: list[str], layers: Collection[str]) -> bool:
    """Whether `wanted` stands in `parts`, one after the other."""
    runs = zip(*(parts[start:] for start in range(len(wanted))), strict=False)
    return any(all(map(lambda name, part: _is_scope_of(name, part, layers), wanted, run)) for run in runs)


def _is_scope_of(name: str, part: str, layers: Collection[str]) -> bool:
    return part == name or (part not in layers and _NUMBERED.sub("", part) == name)
