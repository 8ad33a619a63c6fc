"""Memory that was used and is free, given back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys


def give_back() -> None:
    """Gives the system what this process has let go of, which the C library would keep for the next time.

    That is as much as a converter takes: a hundred MB and more. Only the C library of most Linux systems can be asked.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
