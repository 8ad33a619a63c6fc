"""Processes that crash alone."""

from segopt_callbacks.processes import cpus, worker
from segopt_callbacks.processes.interrupts import remembered_interrupts
from segopt_callbacks.processes.memory import give_back
from segopt_callbacks.processes.process import VISIBLE_GPUS, Process
from segopt_callbacks.processes.quiet import captured, quiet
from segopt_callbacks.processes.stock import Stock
from segopt_callbacks.processes.tensorflow import TensorFlowProcess

__all__ = [
    "VISIBLE_GPUS",
    "Process",
    "Stock",
    "TensorFlowProcess",
    "captured",
    "cpus",
    "give_back",
    "quiet",
    "remembered_interrupts",
    "worker",
]
