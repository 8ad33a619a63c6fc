"""Where the values that weights share come from, by name."""

from __future__ import annotations

from typing import Any


def validate_initialization(initialization: Any) -> None:
    """Checks the name of an initialisation.

    Raises:
        ValueError: unless it is `"optimal"`, the values of least squared error.

    Example:
        >>> validate_initialization("optimal")
    """
    if initialization != "optimal":
        raise ValueError(f'`initialization` must be "optimal". Received: initialization={initialization!r}.')
