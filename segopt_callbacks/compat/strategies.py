"""Where a model trains: on which replicas, and which process writes files."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks.compat.kerases import number_of_workers
from segopt_callbacks.compat.variables import Variable, read, read_statistic


def is_chief(model: Any) -> bool:
    """Whether this process is the one, of all that train the model, that writes files."""
    return bool(model.distribute_strategy.extended.should_save_summary)


def number_of_replicas(model: Any) -> int:
    """Copies of the model that train side by side."""
    return int(model.distribute_strategy.num_replicas_in_sync)


def strategy_scope(model: Any) -> contextlib.AbstractContextManager[Any]:
    """Where the model's variables live: variables made inside exist on every replica."""
    return model.distribute_strategy.scope()


def read_alone(variable: Variable) -> np.ndarray:
    """The value for a file that this process writes on its own.

    Of a moving statistic, of which each replica may have its own, the mean over the replicas. Where other processes
    have some of them, it is that of this process: asking the others would wait until they ask, too.
    """
    if number_of_workers() == 1:
        return read_statistic(variable)
    # Any other attribute of a statistic asks the other processes.
    return np.asarray(variable.values[0]) if isinstance(variable, tf.distribute.DistributedValues) else read(variable)
