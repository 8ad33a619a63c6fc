"""Which channels of an inference graph must stay: those that an answer depends on, and those tied to them. Pure NumPy.

Nothing is kept at first. What an output, or a reader that is not known, needs is kept; so is what links tie to it, and
what convolutions read for channels that are kept. What is left when nothing changes any more can be removed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Key = tuple[str, int]  # of what can be cut: a tensor or a variable, and an axis of it, counted from the end
LAST_ONE = "a tensor has one channel at least"
ONLY_ONE = "channels become parts of a single one"


@dataclass(frozen=True, eq=False)
class Link:
    """Channels that stay or go together.

    Attributes:
        one: what they are channels of.
        other: likewise; what is computed from `one`, where one of both is.
        one_at: `(pairs,)`, indices of channels of `one`.
        other_at: `(pairs,)`, their partners.
        breaks: `(pairs,)`, where `one` is zero and `other` is not, if that is known.
        why: what makes it so, for the report.
    """

    one: Key
    other: Key
    one_at: np.ndarray
    other_at: np.ndarray
    breaks: np.ndarray | None = None
    why: str = ""


@dataclass(frozen=True, eq=False)
class Demand:
    """What a product reads.

    Attributes:
        outputs: the channels of its answer.
        inputs: the channels that it reads.
        reads: `(inputs, outputs)`, whether a channel of the answer depends on one that is read.
        why: for the report.
    """

    outputs: Key
    inputs: Key
    reads: np.ndarray
    why: str


@dataclass(frozen=True, eq=False)
class Need:
    """Channels that stay.

    Attributes:
        key: what they are channels of.
        channels: bool of each; `None`: all.
        why: for the report.
    """

    key: Key
    channels: np.ndarray | None
    why: str


@dataclass
class Binding:
    """What an operation makes of channels.

    Attributes:
        links: channels of its inputs and outputs that stay or go together.
        demands: what it reads for what.
        needs: what it reads in any case.
        claimed: number of an input -> its axes that the above speaks of. All others stay whole.
        refused: why the operation is not known here; then everything stays whole.
    """

    links: list[Link] = field(default_factory=list)
    demands: list[Demand] = field(default_factory=list)
    needs: list[Need] = field(default_factory=list)
    claimed: dict[int, tuple[int, ...]] = field(default_factory=dict)
    refused: str = ""


class Kept:
    """The channels that stay, of all that links and demands speak of.

    Args:
        size: key -> number of channels.
    """

    def __init__(self, size: Callable[[Key], int]) -> None:
        self._size = size
        self._masks: dict[Key, np.ndarray] = {}
        self._reasons: dict[Key, np.ndarray] = {}
        self._texts = ["", ONLY_ONE]

    def solve(self, bindings: list[Binding]) -> None:
        """Keeps what has to be."""
        for binding in bindings:
            for link in binding.links:
                self._mask(link.one), self._mask(link.other)
            for demand in binding.demands:
                self._mask(demand.outputs), self._mask(demand.inputs)
        for binding in bindings:
            for need in binding.needs:
                self._need(need)
        self._spread(bindings)
        while empty := [key for key, mask in self._masks.items() if not mask.any()]:
            first = np.zeros(self._masks[empty[0]].size, bool)
            first[0] = True
            self._need(Need(empty[0], first, LAST_ONE))
            self._spread(bindings)

    def of(self, key: Key) -> np.ndarray | None:
        """Bool of each channel, whether it stays; `None` where all do."""
        mask = self._masks.get(key)
        return None if mask is None or mask.all() else mask

    def why(self, key: Key) -> np.ndarray:
        """Why each channel stays, `(channels,)` of text."""
        texts = np.array(self._texts, dtype=object)
        return np.asarray(texts[self._reasons[key]])

    def _mask(self, key: Key) -> np.ndarray:
        if key not in self._masks:
            size = self._size(key)
            self._masks[key] = np.full(size, size == 1)
            self._reasons[key] = np.full(size, self._text(ONLY_ONE) if size == 1 else 0, np.int32)
        return self._masks[key]

    def _need(self, need: Need) -> bool:
        if need.key not in self._masks:  # nothing could remove it
            return False
        mask = self._masks[need.key]
        new = ~mask if need.channels is None else need.channels & ~mask
        if not new.any():
            return False
        mask |= new
        self._reasons[need.key][new] = self._text(need.why)
        return True

    def _text(self, text: str) -> int:
        if text not in self._texts:
            self._texts.append(text)
        return self._texts.index(text)

    def _spread(self, bindings: list[Binding]) -> None:
        is_changed = True
        while is_changed:
            is_changed = False
            for binding in [*reversed(bindings), *bindings]:
                for demand in binding.demands:
                    read = np.asarray(demand.reads[:, self._masks[demand.outputs]].any(axis=1))
                    is_changed |= self._need(Need(demand.inputs, read, demand.why))
                for link in binding.links:
                    is_changed |= self._tie(link)

    def _tie(self, link: Link) -> bool:
        one, other = self._masks[link.one], self._masks[link.other]
        before, after = one[link.one_at], other[link.other_at]
        if (before == after).all():
            return False
        back, on = after & ~before, before & ~after
        reasons = self._reasons[link.other][link.other_at]
        if link.breaks is not None:
            reasons = np.where(link.breaks, self._text(link.why), reasons)
        one[link.one_at[back]] = True
        self._reasons[link.one][link.one_at[back]] = reasons[back]
        other[link.other_at[on]] = True
        self._reasons[link.other][link.other_at[on]] = self._reasons[link.one][link.one_at][on]
        return True
