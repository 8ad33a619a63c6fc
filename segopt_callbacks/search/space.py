"""Which settings a search tries."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from segopt_callbacks.rules import did_you_mean
from segopt_callbacks.search.settings import Settings

_STEP = 0.1  # of moments; finer ones are within the scatter between two trainings
_WIDTHS = (0.5, 1.0)
_WIDTH_STEP = 0.125
_DIGITS = 4  # of a sparsity
Choices = Sequence[Any]


@dataclass(frozen=True)
class Space:
    """For each setting its choices: a tuple of two numbers is a range, a list holds all that is tried.

    Attributes:
        sparsity: see `Settings`; searched by the logarithm of what is kept, to which bytes are in proportion. A bound
            that a dense file meets needs no zeros.
        pattern: out of `"none"` and `"pairs"`.
        distribution: out of `"erk"` and `"uniform"`.
        prune_end: in (0.1, 1].
        bits: out of 8 and 4; 4 only where `ai-edge-quantizer` is installed.
        quantize_begin: in [0, 1); kernels of 4 bits are always trained against their rounding.
        against_rounding: whether kernels of 8 bits are, too.
        clusters: of 8 bits; numbers of at least 2, and `None`.
        cluster_begin: in [0, 1].
        width: factors of the network's width; empty where the builder takes none.

    Example:
        >>> Space.of({"bits": [8], "sparsity": (0.5, 0.9)}, takes_width=False).sparsity
        (0.5, 0.9)
    """

    sparsity: Choices = (0.0, 0.985)
    pattern: Choices = ("none", "pairs")
    distribution: Choices = ("erk", "uniform")
    prune_end: Choices = (0.4, 0.7)
    bits: Choices = (8, 4)
    quantize_begin: Choices = (0.5, 0.9)
    against_rounding: Choices = (False, True)
    clusters: Choices = (None, 8, 16)
    cluster_begin: Choices = (0.7, 1.0)
    width: Choices = ()

    @classmethod
    def of(cls, given: Mapping[str, Any] | None, *, takes_width: bool) -> Space:
        """The default space, with what the user gives in its place.

        Raises:
            ValueError: for a setting that is not known, or choices outside its range.
        """
        if given is not None and not isinstance(given, Mapping):
            raise ValueError(f"`space` must map settings to lists of choices, or be None. Received: {given!r}.")
        given = dict(given or {})
        known = [one.name for one in fields(cls)]
        for name, choices in given.items():
            if name not in known:
                hint = did_you_mean(name, known)
                raise ValueError(f"`space` must have names out of {', '.join(known)}.{hint} Received: {name!r}.")
            if isinstance(choices, str) or not isinstance(choices, Sequence) or not choices:
                raise ValueError(
                    "`space` must map a setting to a list of choices, or to a tuple (low, high). "
                    f"Received: {name}={choices!r}."
                )
            _require_allowed(name, choices)
        if "width" in given and not takes_width:
            raise ValueError(
                "`space` may have `width` only where `build_model` takes it; give it an argument `width`, a factor. "
                f"Received: width={given['width']!r}."
            )
        given.setdefault("width", _WIDTHS if takes_width else ())
        given.setdefault("bits", [8, 4] if _has_int4() else [8])
        if 4 in given["bits"] and not _has_int4():
            raise ValueError(
                "`space` may have 4 bits only where their quantizer is installed; run "
                f"`pip install 'segopt-callbacks[int4]'`. Received: bits={given['bits']!r}."
            )
        return cls(**given)

    def suggest(self, trial: Any) -> Settings:
        """The settings of an Optuna trial."""
        bits = self._one(trial, "bits")
        clusters = self._one(trial, "clusters") if bits == 8 else None
        trains = bits == 4 or self._one(trial, "against_rounding")
        return Settings(
            sparsity=self._sparsity(trial),
            pattern=self._one(trial, "pattern"),
            distribution=self._one(trial, "distribution"),
            prune_end=self._number(trial, "prune_end", _STEP),
            bits=bits,
            quantize_begin=self._number(trial, "quantize_begin", _STEP) if trains else None,
            clusters=clusters,
            cluster_begin=self._number(trial, "cluster_begin", _STEP) if clusters else 1.0,
            width=self._number(trial, "width", _WIDTH_STEP) if self.width else None,
        )

    def parameters(self, settings: Settings) -> dict[str, Any]:
        """Settings -> the parameters by which a trial of Optuna gets them; those outside the space are left to it."""
        wanted = {**vars(settings), "against_rounding": settings.quantize_begin is not None}
        wanted = {name: one for name, one in wanted.items() if one is not None or name == "clusters"}
        found = {name: one for name, one in wanted.items() if self._has(name, one)}
        if isinstance(self.sparsity, tuple) and "sparsity" in found:
            found["kept"] = round(1 - found.pop("sparsity"), _DIGITS)
        return found

    def has(self, settings: Settings) -> bool:
        """Whether settings, apart from their moments and width, can be chosen here."""
        wanted = ("bits", "pattern", "distribution", *(["clusters"] if settings.bits == 8 else []))
        return all(self._has(name, getattr(settings, name)) for name in wanted)

    def _has(self, name: str, value: Any) -> bool:
        choices: Choices = getattr(self, name, [])
        if _is_range(name, choices):
            low, high = choices
            return bool(low <= value <= high)
        return value in choices

    def _one(self, trial: Any, name: str) -> Any:
        return trial.suggest_categorical(name, list(getattr(self, name)))

    def _number(self, trial: Any, name: str, step: float) -> float:
        choices = getattr(self, name)
        if not _is_range(name, choices):
            return float(self._one(trial, name))
        low, high = choices
        steps = math.floor((high - low) / step + 1e-9)
        return round(float(trial.suggest_float(name, low, round(low + steps * step, _DIGITS), step=step)), _DIGITS)

    def _sparsity(self, trial: Any) -> float:
        if not isinstance(self.sparsity, tuple):
            return float(self._one(trial, "sparsity"))
        low, high = self.sparsity
        kept = trial.suggest_float("kept", round(1 - high, _DIGITS), round(1 - low, _DIGITS), log=True)
        return round(1 - kept, _DIGITS)


_RANGES = {  # name -> what every choice must be, in words and as a rule
    "sparsity": ("fractions of zeros, in [0, 1)", lambda one: 0 <= one < 1),
    "prune_end": ("fractions of the training, above 0.1 and at most 1", lambda one: 0.1 < one <= 1),
    "quantize_begin": ("fractions of the training, in [0, 1)", lambda one: 0 <= one < 1),
    "cluster_begin": ("fractions of the training, in [0, 1]", lambda one: 0 <= one <= 1),
    "width": ("factors above 0", lambda one: one > 0),
}
_CHOICES = {
    "pattern": ("'none' and 'pairs'", lambda one: one in ("none", "pairs")),
    "distribution": ("'erk' and 'uniform'", lambda one: one in ("erk", "uniform")),
    "bits": ("8 and 4", lambda one: one in (8, 4) and not isinstance(one, bool)),
    "against_rounding": ("True and False", lambda one: isinstance(one, bool)),
    "clusters": ("numbers of at least 2, and None", lambda one: one is None or (isinstance(one, int) and one >= 2)),
}


def _is_range(name: str, choices: Choices) -> bool:
    return name in _RANGES and isinstance(choices, tuple) and len(choices) == 2


def _require_allowed(name: str, choices: Choices) -> None:
    rule, holds = {**_RANGES, **_CHOICES}[name]
    are_numbers = name in _CHOICES or all(isinstance(one, int | float) for one in choices)
    if not are_numbers or not all(holds(one) for one in choices):
        raise ValueError(f"`{name}` of `space` must hold {rule}. Received: {name}={choices!r}.")
    if _is_range(name, choices) and not choices[0] < choices[1]:
        raise ValueError(
            f"`{name}` of `space` must be (low, high) with low < high; a list [{choices[0]}] is one choice. "
            f"Received: {name}={choices!r}."
        )


def _has_int4() -> bool:
    return importlib.util.find_spec("ai_edge_quantizer") is not None
