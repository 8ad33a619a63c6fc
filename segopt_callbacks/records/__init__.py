"""What wings tell each other: plain dataclasses, no TensorFlow; imported when first used, since pages need no NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segopt_callbacks.faces import lazy_names

if TYPE_CHECKING:
    from segopt_callbacks.records.codebooks import Codebook, Density
    from segopt_callbacks.records.folds import Folded
    from segopt_callbacks.records.monitor import choose_monitor
    from segopt_callbacks.records.ports import Port
    from segopt_callbacks.records.report import Made, Report
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
    "Made",
    "Port",
    "Report",
    "Sensitivity",
    "Treated",
    "about",
    "change_text",
    "changes_markdown",
    "choose_monitor",
    "decimals",
]

_HOMES = {
    "Codebook": "codebooks",
    "Density": "codebooks",
    "Folded": "folds",
    "Made": "report",
    "Port": "ports",
    "Report": "report",
    "Sensitivity": "sensitivity",
    "Treated": "sensitivity",
    "about": "sensitivity",
    "change_text": "sensitivity",
    "changes_markdown": "sensitivity",
    "choose_monitor": "monitor",
    "decimals": "sensitivity",
}

__getattr__ = lazy_names(__name__, _HOMES)
