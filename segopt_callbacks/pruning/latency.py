"""Which channels to prune for the least time: those of least importance for each millisecond that goes. Pure NumPy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from segopt_callbacks.channels import Costs
from segopt_callbacks.pruning.masks import Ranks
from segopt_callbacks.pruning.patterns import Pattern
from segopt_callbacks.rules import require_fraction

_LEAST = 1e-12  # share of its importance that a stack keeps by this count, so that the last ones have a price, too
_PICKS = 64  # in so many steps, at most, the channels of one kind go; looking at the costs takes the time


@dataclass(frozen=True, eq=False)
class Candidates:
    """Channels of one stack of kernels.

    Attributes:
        importance: `(channels,)`, not negative.
        alive: `(channels,)`, whether each is still there.
        labels: `(channels,)`, the group of each, -1 where a file would keep it: it is never pruned.
    """

    importance: np.ndarray
    alive: np.ndarray
    labels: np.ndarray


def latency_masks(
    scores: Sequence[np.ndarray],
    share: float,
    pattern: Pattern,
    *,
    pruned: Sequence[np.ndarray],
    outputs: Sequence[tuple[int, ...]],
    names: Sequence[str],
    labels: Sequence[np.ndarray],
    costs: Costs,
) -> list[np.ndarray]:
    """Keeps the most important channels in a part of the time, over all weights together; see `kept_for_time`.

    The importance of a channel is the mean of its scores.

    Args:
        scores: one array for each weight, finite; their magnitudes count.
        share: fraction of the time of all layers that is to be saved, in [0, 1).
        pattern: a channel.
        pruned: for each weight its shape, True where it is pruned already.
        outputs: for each weight the axes that are its layer's output channels.
        names: of the weights, for errors.
        labels: for each weight the group of each channel, -1 where a file would keep it.
        costs: of all layers.

    Returns:
        for each weight bool of its shape, True where it is kept.

    Raises:
        ValueError: for a share outside [0, 1), or scores that are not finite.
    """
    require_fraction("share", share, "the time", high=")")
    every = [pattern.units(np.abs(one), axes) for one, axes in zip(scores, outputs, strict=True)]
    candidates = []
    for units, gone, name, groups in zip(every, pruned, names, labels, strict=True):
        alive = Ranks(units, gone, name)[:] >= 0
        candidates.append(Candidates(units.scores.astype(np.float64), alive, groups))
    kept = kept_for_time(candidates, share, costs, multiple=pattern.multiple)
    return [units.expand(one) for units, one in zip(every, kept, strict=True)]


def kept_for_time(stacks: Sequence[Candidates], share: float, costs: Costs, *, multiple: int = 1) -> list[np.ndarray]:
    """Keeps the most important channels in a part of the time.

    Again and again, those channels go that matter least for the milliseconds that they save, by what is left then. A
    channel saves less where those that it is multiplied with have gone. It matters by its share of the importance that
    its stack has left, as `-log(1 - share)`, so that no layer is emptied for being slow. One channel of each kind
    stays, or `multiple` of them.

    Saliency for latency: Shen et al. 2022, https://arxiv.org/abs/2110.10811. Layers that are timed: Yang et al. 2018,
    https://arxiv.org/abs/1804.03230.

    Args:
        stacks: all channels that may go.
        share: fraction of the time of all layers that is to be saved, in [0, 1).
        costs: of all layers.
        multiple: of what the number of channels that stay is a multiple, where some go.

    Returns:
        for each stack bool of its channels, True where one is kept. What is gone already stays so.
    """
    count = _Count(stacks, costs)
    goal = (1 - share) * count.milliseconds(np.zeros(len(count.kinds), int))
    gone = count.gone.copy()
    orders = [list(one) for one in count.orders()]
    while orders and count.milliseconds(gone) > goal:
        sizes = np.array([_pick(kind, len(order), multiple) for kind, order in zip(count.kinds, orders, strict=True)])
        saved = count.saved(gone, sizes)
        lost = np.array([count.lost(order[:size]) for order, size in zip(orders, sizes, strict=True)])
        prices = np.divide(lost, saved, out=np.full(len(lost), np.inf), where=(saved > 0) & (sizes > 0))
        chosen = int(np.argmin(prices))
        if not np.isfinite(prices[chosen]):
            break
        size = int(sizes[chosen])
        count.alive[orders[chosen][:size]] = False
        del orders[chosen][:size]
        gone[chosen] += size
    return count.split()


def most_saved(labels: Iterable[np.ndarray], costs: Costs, *, multiple: int = 1) -> float:
    """The fraction of the time that goes with all channels that can go, in [0, 1).

    Args:
        labels: the groups of channels, of all kernels; -1 for none.
        costs: of all layers.
        multiple: of what the number of channels that stay is a multiple.
    """
    every = np.unique(np.concatenate([np.zeros(0, int), *labels]))
    count = _Count([Candidates(np.zeros(every.size), np.ones(every.size, bool), every)], costs)
    least = np.array([len(kind) - min(multiple, len(kind)) for kind in count.kinds], int)
    before = count.milliseconds(np.zeros(len(least), int))
    return 1 - count.milliseconds(least) / before if before else 0.0


def _pick(kind: np.ndarray, left: int, multiple: int) -> int:
    """How many channels go next of a kind that has so many left; 0 where none may."""
    if left <= multiple:
        return 0
    if left % multiple:
        return left % multiple
    most = max(len(kind) // _PICKS // multiple, 1) * multiple
    return min(most, left - multiple)


class _Count:
    """Channels of one kind are read and made by the same layers: how many are gone of each kind tells the time."""

    def __init__(self, stacks: Sequence[Candidates], costs: Costs) -> None:
        self._costs, self._sizes = costs, [one.labels.size for one in stacks]
        labels = np.concatenate([one.labels for one in stacks])
        self.importance = np.concatenate([one.importance for one in stacks])
        self.alive = np.concatenate([one.alive for one in stacks])
        reads = np.array([_occurrences(one.reads, labels) for one in costs.layers])
        makes = np.array([_occurrences(one.makes, labels) for one in costs.layers])
        self._stacks = np.repeat(np.arange(len(stacks)), self._sizes)
        self.kinds = list(_alike(np.vstack([self._stacks, reads, makes]), labels >= 0))
        read, made = np.array([(one.reads.size, one.makes.size) for one in costs.layers]).T
        self._reads = np.array([reads[:, kind[0]] / read for kind in self.kinds])
        self._makes = np.array([makes[:, kind[0]] / made for kind in self.kinds])
        self.gone = np.array([np.count_nonzero(~self.alive[kind]) for kind in self.kinds], int)

    def orders(self) -> Iterator[np.ndarray]:
        """Of each kind, those that are left, the least important first."""
        for kind in self.kinds:
            left = kind[self.alive[kind]]
            yield left[np.argsort(self.importance[left], kind="stable")]

    def lost(self, picked: list[int]) -> float:
        """What channels of one stack matter: minus the logarithm of the share of its importance that stays."""
        if not picked:
            return 0.0
        left = self.importance[self.alive & (self._stacks == self._stacks[picked[0]])].sum()
        share = self.importance[picked].sum() / left if left else 0.0
        return -math.log(max(1 - share, _LEAST))

    def milliseconds(self, gone: np.ndarray) -> float:
        """With so many channels of each kind gone, `(kinds,)`."""
        return float(self._costs.of(1 - gone @ self._reads, 1 - gone @ self._makes)) if self.kinds else 0.0

    def saved(self, gone: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Milliseconds that go when so many more of one kind go, for each kind: `(kinds,)`."""
        reads, makes = 1 - gone @ self._reads, 1 - gone @ self._makes
        fewer = self._costs.of(reads - sizes[:, np.newaxis] * self._reads, makes - sizes[:, np.newaxis] * self._makes)
        return np.asarray(self._costs.of(reads, makes) - fewer)

    def split(self) -> list[np.ndarray]:
        """Which channels are left, stack by stack."""
        return np.split(self.alive, np.cumsum(self._sizes)[:-1])


def _occurrences(groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How often the group of each channel is among those of a layer; 0 for a channel in no group."""
    counts = np.bincount(groups[groups >= 0], minlength=int(labels.max(initial=0)) + 1)
    return np.where(labels >= 0, counts[np.maximum(labels, 0)], 0)


def _alike(columns: np.ndarray, may_go: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of equal columns, of those that may go."""
    _, numbers = np.unique(columns, axis=1, return_inverse=True)
    numbers = numbers.ravel()
    for number in range(int(numbers.max(initial=-1)) + 1):
        found = np.flatnonzero((numbers == number) & may_go)
        if found.size:
            yield found
