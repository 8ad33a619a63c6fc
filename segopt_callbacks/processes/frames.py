"""When a function that is running has been left, by whatever way."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType

_INTERVAL = 0.5  # seconds between two looks


def when_left(function_name: str, then: Callable[[], None]) -> None:
    """Calls `then` soon after a function that runs now has returned or raised, in a thread of its own.

    Nobody else tells that: an interrupted `fit` calls no callback again.

    Args:
        function_name: of the innermost function of that name among the callers; without one nothing is called.
        then: to be called.
    """
    frame = _running(function_name, sys._getframe(1))
    if frame is None:
        return
    thread = threading.get_ident()

    def watch() -> None:
        while _is_running(frame, thread):
            pause.wait(_INTERVAL)
        then()

    pause = threading.Event()
    threading.Thread(target=watch, name="segopt_callbacks: waits for the end of fit", daemon=True).start()


def _running(function_name: str, frame: FrameType | None) -> FrameType | None:
    while frame is not None and frame.f_code.co_name != function_name:
        frame = frame.f_back
    return frame


def _is_running(frame: FrameType, thread: int) -> bool:
    one = sys._current_frames().get(thread)
    while one is not None and one is not frame:
        one = one.f_back
    return one is not None
