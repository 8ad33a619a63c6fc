"""The NPUs that Vela compiles for, by its own names: the family, and the products of a cycle."""

from __future__ import annotations

from typing import Any

from segopt_callbacks.rules import require_one_of

DEFAULT = "ethos-u55-128"
ACCELERATORS = (
    *(f"ethos-u55-{size}" for size in (32, 64, 128, 256)),
    *(f"ethos-u65-{size}" for size in (256, 512)),
    *(f"ethos-u85-{size}" for size in (128, 256, 512, 1024, 2048)),
)


def validate_accelerator(accelerator: Any) -> None:
    """Raises unless Vela knows it.

    Raises:
        ValueError: for any other value.
    """
    require_one_of("accelerator", accelerator, ACCELERATORS)
