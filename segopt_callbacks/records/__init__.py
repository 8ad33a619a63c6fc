"""What wings tell each other: plain dataclasses, no TensorFlow."""

from segopt_callbacks.records.codebooks import Codebook, Density
from segopt_callbacks.records.folds import Folded
from segopt_callbacks.records.monitor import choose_monitor
from segopt_callbacks.records.ports import Port
from segopt_callbacks.records.sensitivity import (
    Sensitivity,
    Treated,
    about,
    change_text,
    changes_markdown,
    decimals,
)

__all__ = [
    "Codebook",
    "Density",
    "Folded",
    "Port",
    "Sensitivity",
    "Treated",
    "about",
    "change_text",
    "changes_markdown",
    "choose_monitor",
    "decimals",
]
