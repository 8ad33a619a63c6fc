"""What a full disk may cost: a part of the log, and not the training."""

from __future__ import annotations

import errno
import functools
import sys
from collections.abc import Callable
from typing import Any

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_HOOKS = (
    *("on_epoch_begin", "on_epoch_end", "on_train_batch_begin", "on_train_batch_end", "on_train_end", "finish"),
    *("on_test_begin", "on_test_end", "on_test_batch_begin", "on_test_batch_end"),
)


def is_full(error: BaseException) -> bool:
    """Whether an error says that a file cannot grow.

    >>> is_full(OSError(errno.ENOSPC, "No space left on device")), is_full(OSError(errno.EACCES, "Permission denied"))
    (True, False)
    """
    if isinstance(error, OSError):
        return error.errno in FULL
    return "No space left on device" in str(error) or "Disk quota exceeded" in str(error)  # TensorFlow's


def until_full(callback: Any) -> Any:
    """Makes a callback that only writes a log go on where it cannot write, and say so once; returns it."""
    kind = type(callback)
    told: list[bool] = []
    guarded = {name: _guarded(getattr(kind, name), told) for name in _HOOKS if hasattr(kind, name)}
    callback.__class__ = type(kind.__name__, (kind,), guarded)
    return callback


def _guarded(hook: Callable[..., Any], told: list[bool]) -> Callable[..., Any]:
    @functools.wraps(hook)  # with the marks by which Keras 2 knows a hook that does nothing
    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return hook(self, *arguments, **options)
        except Exception as error:  # of Python, TensorFlow or TensorBoard: what it says is looked at
            if not is_full(error):
                raise
            if not told:
                told.append(True)
                print(f"The disk is full: {type(self).__name__} leaves out what it cannot write.", file=sys.stderr)
            return None

    return call
