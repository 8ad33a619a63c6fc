"""The state of some weights -> summaries, by the default summary writer; for the tags see `CompressionSummaries`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.arrays import distinct
from segopt_callbacks.records import Codebook, board
from segopt_callbacks.summaries.pictures import density_picture, mask_picture
from segopt_callbacks.summaries.told import overall_error, weights_record

_BUCKETS = 30  # of a histogram; TensorBoard draws no more
_CHARTS = {
    "All weights": {
        "Sparsity and its target": f"{board.OVERALL}/(target_)?sparsity",
        "Error of clustering": f"{board.OVERALL}/cluster_error",
    },
    "Each weight": {
        "Sparsity": f"{board.SPARSITY}/.*",
        "Target sparsity": f"{board.TARGET_SPARSITY}/.*",
        "Distinct values": f"{board.UNIQUE_WEIGHTS}/.*",
    },
}


@dataclass(frozen=True)
class State:
    """Some weights at one moment.

    Attributes:
        values: path -> a weight of any shape.
        masks: path -> bool of the weight's shape, True where it is kept; of pruned weights only.
        targets: path -> fraction of zeros that is asked for, in [0, 1); of pruned weights only.
        codebooks: path -> what clustering has chosen; of clustered weights only.
    """

    values: Mapping[str, np.ndarray]
    masks: Mapping[str, np.ndarray] = field(default_factory=dict)
    targets: Mapping[str, float] = field(default_factory=dict)
    codebooks: Mapping[str, Codebook] = field(default_factory=dict)

    @cached_property
    def zeros(self) -> dict[str, int]:
        """Path -> how many."""
        return {path: value.size - int(np.count_nonzero(value)) for path, value in self.values.items()}

    @property
    def sparsity(self) -> float:
        """Fraction of zeros over all weights, in [0, 1]."""
        return sum(self.zeros.values()) / max(sum(value.size for value in self.values.values()), 1)

    @property
    def target_sparsity(self) -> float:
        """Fraction of zeros that is asked for, over the weights that have a target, in [0, 1)."""
        sizes = {path: self.values[path].size for path in self.targets}
        return sum(self.targets[path] * size for path, size in sizes.items()) / max(sum(sizes.values()), 1)


def write_beginning(settings: Mapping[str, Any], *, step: int) -> None:
    """Writes what is known before the first step: a layout of the page Custom Scalars, and the settings.

    Args:
        settings: name -> value.
        step: of training, TensorBoard's horizontal axis.
    """
    tag, layout, metadata = compat.scalars_layout(_CHARTS)
    tf.summary.write(tag, tf.constant(layout), step, metadata)
    write_record(board.SETTINGS_TAG, settings, step)


def write_record(tag: str, record: Mapping[str, Any], step: int) -> None:
    """Writes something for the page `segopt`; see `records.board`."""
    tf.summary.write(tag, tf.constant(board.encoded(record)), step, compat.tensor_metadata(board.PLUGIN_NAME))


def write_state(state: State, *, step: int, draws: bool = True) -> None:
    """Writes the state of some weights.

    Args:
        state: of the weights.
        step: of training, TensorBoard's horizontal axis.
        draws: whether pictures are written, which are most of a log's bytes.
    """
    tf.summary.scalar(f"{board.OVERALL}/sparsity", state.sparsity, step)
    if state.targets:
        tf.summary.scalar(f"{board.OVERALL}/target_sparsity", state.target_sparsity, step)
    if state.codebooks:
        tf.summary.scalar(f"{board.OVERALL}/cluster_error", overall_error(state.codebooks, state.values), step)
    shared = {}
    for path, value in state.values.items():
        shared[path], sizes = distinct(value)
        tf.summary.scalar(f"{board.SPARSITY}/{path}", state.zeros[path] / max(value.size, 1), step)
        tf.summary.scalar(f"{board.UNIQUE_WEIGHTS}/{path}", sizes.size, step)
        _write_histogram(f"{board.WEIGHTS}/{path}", value, step)
        if path in state.targets:
            tf.summary.scalar(f"{board.TARGET_SPARSITY}/{path}", state.targets[path], step)
        if path in state.masks and draws:
            _write_picture(f"{board.MASK}/{path}", mask_picture(state.masks[path]), step)
        if path in state.codebooks:
            _write_histogram(f"{board.CODEBOOK}/{path}", shared[path], step)
            _write_buckets(f"{board.CLUSTER_SIZES}/{path}", sizes, np.arange(sizes.size + 1) - 0.5, step)
            if draws:
                drawn = density_picture(state.codebooks[path].density, shared[path])
                _write_picture(f"{board.DENSITY}/{path}", drawn, step)
    write_record(board.WEIGHTS_TAG, weights_record(state.values, shared, state.codebooks), step)


def _write_picture(tag: str, picture: np.ndarray, step: int) -> None:
    tf.summary.image(tag, picture[np.newaxis, :, :, np.newaxis], step)


def _write_histogram(tag: str, value: np.ndarray, step: int) -> None:
    # tf.summary.histogram takes 240 bytes of memory per weight; NumPy counts block by block.
    _write_buckets(tag, *np.histogram(value[np.isfinite(value)], _BUCKETS), step)


def _write_buckets(tag: str, counts: np.ndarray, edges: np.ndarray, step: int) -> None:
    buckets = np.stack([edges[:-1], edges[1:], counts], axis=1)  # (_BUCKETS, 3): left, right, how many
    tf.summary.write(tag, tf.constant(buckets, tf.float64), step, compat.histogram_metadata())
