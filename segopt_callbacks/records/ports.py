"""What goes into a model and comes out of it, as files call it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Port:
    """An input or output.

    Attributes:
        name: by which every format calls it.
        shape: batch first, `None` for a size that is open.
        dtype: such as `"float32"`.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
