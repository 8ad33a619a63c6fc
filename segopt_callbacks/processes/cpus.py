"""The CPUs that this process may use."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def available() -> tuple[int, ...]:
    """Numbers of the CPUs that this process may run on; where the system does not tell, of all.

    Example:
        >>> len(available()) >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def model_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """What the processor is called, where the system tells; else the kind of machine.

    Args:
        cpuinfo: what Linux tells of processors.
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    told = (value.strip() for key, _, value in (line.partition(":") for line in lines) if key.strip() == "model name")
    return next(told, "") or platform.processor() or platform.machine()


def to_pin() -> int | None:
    """The CPU on which one thread is timed; `None` where the system cannot pin processes, as macOS and Windows.

    Not the first one, which serves most interrupts, if there is another; and a low one, as performance cores come
    before efficiency cores.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    return available()[:2][-1]


def pin(cpu: int) -> None:
    """Keeps this process, and the threads that it will start, on one CPU."""
    os.sched_setaffinity(0, {cpu})
