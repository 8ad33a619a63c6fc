"""A training step that runs no constraint: what is said of it."""

from __future__ import annotations

import warnings


def warn_of_no_constraint(instead: str) -> None:
    """Says that the training step runs no constraint, and what is done instead."""
    warnings.warn(
        "The training step runs no constraint: it writes weights without the optimizer, or it is a tf.function that "
        f"was traced before training began (trace it afterwards). {instead} at the end of each batch instead.",
        stacklevel=3,
    )
