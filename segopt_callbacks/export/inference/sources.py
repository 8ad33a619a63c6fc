"""The inference functions of an export: the model's own, of any batch or of one, and that with ranges of training."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.data import Feed
from segopt_callbacks.errors import FormatError
from segopt_callbacks.export.inference import ranged
from segopt_callbacks.export.inference.smaller import smaller
from segopt_callbacks.export.source import ANY_BATCH, ONE, Source
from segopt_callbacks.export.target import Target
from segopt_callbacks.model import kernel_paths, signature
from segopt_callbacks.processes import quiet

_ROUNDED = "rounded"


@dataclass
class Sources:
    """Makes the source that a target needs, once.

    Attributes:
        model: a built Keras model.
        feed: its data.
        wanted: ranges that are known, and how others are found.
        folder: for files; must exist.
        metadata: of the user's.
        removes_channels: whether dead channels leave the functions, see `channels.remove_channels`.
        weights: path -> value of what the model's inference reads, once a function was made.
        kernels: paths of those that it multiplies by.
        channels: for the report, what became of dead channels; empty where there are none.
        ranges: for the report, where ranges come from, see `ranged.save_rounded`.
    """

    model: Any
    feed: Feed
    wanted: ranged.Wanted
    folder: Path
    metadata: dict[str, Any]
    removes_channels: bool = True
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    kernels: list[str] = field(default_factory=list)
    channels: dict[str, Any] = field(default_factory=dict)
    ranges: dict[str, Any] = field(default_factory=dict)
    _made: dict[str, Source | FormatError] = field(default_factory=dict)
    _stored: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    def stored(self, target: Target) -> dict[str, np.ndarray]:
        """Path -> value of the weights that a file is made of: those of the model, without what was removed."""
        kind = _kind(target)
        return self._stored[kind if kind in self._stored else ONE]

    def of(self, target: Target) -> Source:
        """The inference function as files, made when the first format needs it.

        Raises:
            FormatError: if the target cannot take open sizes, the model does not run as a graph, its weights are not
                finite, or there is nothing to calibrate an integer format on.
        """
        if self.feed.has_open_sizes and not target.open_sizes:
            raise FormatError(
                "this format must know every size of its inputs; give `input_signature` all of them (a batch of 1), or "
                "leave the format out"
            )
        if target.is_integer and not self.feed.has_data and not (target.takes_ranges and self.wanted.ranges):
            raise FormatError(
                "this format must see data to find the ranges of activations; pass `representative_dataset` or "
                f"`evaluation_data`. Received: {self.feed.calibration}"
            )
        kind = _kind(target)
        if kind not in self._made:
            try:
                with quiet():
                    self._made[kind] = self._save_rounded() if target.takes_ranges else self._save(target.any_batch)
            except FormatError as error:
                self._made[kind] = error
        source = self._made[kind]
        if isinstance(source, FormatError):
            raise source
        if target.is_integer and self.feed.has_data:
            source.save_examples(self.feed.representative())
        return source

    def _save_rounded(self) -> Source:
        """With ranges; where they would be the converter's, that may still find them by itself."""
        plain = self._plain() if self.wanted.is_plain else None
        if plain is None:
            self._read(signature.freeze(self.model, self.feed.specs))
        arguments = self.model, self.feed.specs, self.wanted, self.feed.representative if self.feed.has_data else None
        try:
            finish = functools.partial(self._smaller, kind=_ROUNDED)
            source, told = ranged.save_rounded(*arguments, self.folder / _ROUNDED, self.feed.batch_size, finish)
        except FormatError as error:
            if plain is None:
                raise
            return replace(plain, why_plain=str(error))
        if plain is None:
            self.ranges = told
        return replace(source, metadata=self.metadata, plain=plain)

    def _plain(self) -> Source:
        if ONE not in self._made:
            self._made[ONE] = self._save(any_batch=False)
        made = self._made[ONE]
        if isinstance(made, FormatError):
            raise made
        return made

    def _save(self, any_batch: bool) -> Source:
        batch_size = None if any_batch else self.feed.batch_size
        frozen = signature.freeze(self.model, self.feed.specs, batch_size=batch_size, is_for_tensorflow=any_batch)
        self._read(frozen)
        frozen = self._smaller(frozen, kind=ANY_BATCH if any_batch else ONE)
        folder = self.folder / "source"
        signature.save(frozen, folder / (ANY_BATCH if any_batch else ONE))
        return Source(folder, frozen.inputs, frozen.outputs, self.metadata)

    def _read(self, frozen: signature.Frozen) -> None:
        self.weights, self.kernels = _finite(frozen), kernel_paths(frozen)

    def _smaller(self, frozen: signature.Frozen, *, kind: str) -> signature.Frozen:
        """The function without its dead channels."""
        told: dict[str, Any] = {}
        whole = frozen.weights
        if self.removes_channels:
            frozen, told = smaller(self.model, frozen, self.feed, is_rounded=kind == _ROUNDED)
        self._stored[kind] = {  # what was not cut is in memory once
            path: self.weights[path]
            if variable is whole.get(path) and path in self.weights
            else signature.value(variable)
            for path, variable in frozen.weights.items()
        }
        if told and (kind == ONE or not self.channels):  # of one example, sizes are known
            self.channels = told
        return frozen


def _kind(target: Target) -> str:
    return _ROUNDED if target.takes_ranges else ANY_BATCH if target.any_batch else ONE


def _finite(frozen: signature.Frozen) -> dict[str, np.ndarray]:
    """The weights by path."""
    spoiled = signature.nonfinite_weights(frozen)
    if spoiled:
        raise FormatError(f"weights hold NaN or infinity: {', '.join(spoiled)}; train to finite weights first")
    return {path: signature.value(variable) for path, variable in frozen.weights.items()}
