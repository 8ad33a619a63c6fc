"""The layers of a model, timed on this machine before a fit that prunes for speed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segopt_callbacks import compat
from segopt_callbacks.channels import Costs, Layer, measured, milliseconds
from segopt_callbacks.errors import SettingsError
from segopt_callbacks.processes import TensorFlowProcess

_TIME_LIMIT = 600.0  # seconds, for all layers


def timed(layers: Sequence[Layer]) -> Costs:
    """What layers cost here, in int8 on one thread of the CPU.

    Raises:
        SettingsError: where several workers train, whose masks would differ, or nothing can be timed.
        FormatError: if the process that times them dies.
    """
    if compat.number_of_workers() > 1:
        raise SettingsError(
            'scope="latency" times layers on one machine, and workers must prune the same channels; train with one '
            f'worker, or use scope="global". Received: {compat.number_of_workers()} workers.'
        )
    if not layers:
        raise SettingsError(
            'scope="latency" times convolutions and matrix products whose channels are the last axis; use '
            'scope="global". Received: a model without any.'
        )
    return measured(layers, _in_a_process)


def _in_a_process(shapes: Any) -> list[float]:
    with TensorFlowProcess() as process:
        found: list[float] = process.call(milliseconds, list(shapes), doing="timing layers", time_limit=_TIME_LIMIT)
        return found
