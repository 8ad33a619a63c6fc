"""What wings tell each other: plain dataclasses, no TensorFlow; imported when first used, since pages need no NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segopt_callbacks.faces import lazy_names

if TYPE_CHECKING:
    from segopt_callbacks.records.codebooks import Codebook, Density
    from segopt_callbacks.records.folds import Folded
    from segopt_callbacks.records.measured import (
        Changes,
        Measured,
        about,
        change_text,
        decimals,
        sensitivity_table,
    )
    from segopt_callbacks.records.monitor import choose_monitor, validate_monitor
    from segopt_callbacks.records.notebook import for_notebook
    from segopt_callbacks.records.ports import Port
    from segopt_callbacks.records.report import Made, Report
    from segopt_callbacks.records.sensitivity import Sensitivity, Treated, changes_markdown

__all__ = [
    "Changes",
    "Codebook",
    "Density",
    "Folded",
    "Made",
    "Measured",
    "Port",
    "Report",
    "Sensitivity",
    "Treated",
    "about",
    "board",
    "change_text",
    "changes_markdown",
    "choose_monitor",
    "decimals",
    "for_notebook",
    "sensitivity_table",
    "validate_monitor",
]

_HOMES = {
    "Changes": "measured",
    "Codebook": "codebooks",
    "Density": "codebooks",
    "Folded": "folds",
    "Made": "report",
    "Measured": "measured",
    "Port": "ports",
    "Report": "report",
    "Sensitivity": "sensitivity",
    "Treated": "sensitivity",
    "about": "measured",
    "change_text": "measured",
    "changes_markdown": "sensitivity",
    "choose_monitor": "monitor",
    "decimals": "measured",
    "for_notebook": "notebook",
    "sensitivity_table": "measured",
    "validate_monitor": "monitor",
}

__getattr__ = lazy_names(__name__, _HOMES)
