"""Processes in which files are opened and run, one file in each."""

from __future__ import annotations

from segopt_callbacks.export.target import Target
from segopt_callbacks.processes import Process, Stock, TensorFlowProcess

# NumPy, and what runtimes need of ours. Those start threads when they are imported, so each is imported in its fork.
LIGHT = Stock("segopt_callbacks.export.formats")


def opener(target: Target) -> Process:
    """A new process for a file of that target; it has TensorFlow where the target uses that, and only there."""
    return (TensorFlowProcess.stock if target.uses_tensorflow else LIGHT).new()


def warm_during(function_name: str) -> None:
    """Imports what writers and openers need while a function of that name is running; see `Stock.warm_during`."""
    TensorFlowProcess.stock.warm_during(function_name)
    LIGHT.warm_during(function_name)
