"""Where a model trains: on which replicas, and which process writes files."""

from __future__ import annotations

import contextlib
from typing import Any


def is_chief(model: Any) -> bool:
    """Whether this process is the one, of all that train the model, that writes files."""
    return bool(model.distribute_strategy.extended.should_save_summary)


def number_of_replicas(model: Any) -> int:
    """Copies of the model that train side by side."""
    return int(model.distribute_strategy.num_replicas_in_sync)


def strategy_scope(model: Any) -> contextlib.AbstractContextManager[Any]:
    """Where the model's variables live: variables made inside exist on every replica."""
    return model.distribute_strategy.scope()
