"""What `summaries` writes for our page in TensorBoard and `board` reads there: names of tags, and JSON in a string."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

PLUGIN_NAME = "segopt"
RUN = "compression"  # the run's folder in a log directory

# Records. TensorBoard keeps ten of each, the last one among them; series over time are scalars.
WEIGHTS_TAG = "segopt/weights"  # {path: what the weight is now}, at each write
SETTINGS_TAG = "segopt/settings"  # {name: setting}, when a fit begins
RESULTS_TAG = "segopt/results"  # {"formats": {...}, "last_epoch": {...}}, when it has ended

OVERALL = "all_weights"  # before `/`, what is told of all weights together
SPARSITY, TARGET_SPARSITY = "pruning/sparsity", "pruning/target_sparsity"  # before `/<path>`, as all that follow
MASK = "pruning/mask"
UNIQUE_WEIGHTS = "clustering/unique_weights"
CODEBOOK, CLUSTER_SIZES, DENSITY = "clustering/codebook", "clustering/cluster_sizes", "clustering/density"
WEIGHTS = "weights"
EXPORT = "export"  # before `/<format>/<figure>`


def encoded(record: Mapping[str, Any]) -> str:
    """A record as it is written: JSON without spaces.

    >>> encoded({"kernel": {"low": -0.5}})
    '{"kernel":{"low":-0.5}}'
    """
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


def decoded(text: str | bytes) -> dict[str, Any]:
    """A record as it was written.

    >>> decoded(encoded({"kernel": {"low": -0.5}}))
    {'kernel': {'low': -0.5}}
    """
    return json.loads(text)
