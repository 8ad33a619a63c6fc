"""Whether a trial that trains can still become what it must. Pure Python."""

from __future__ import annotations

from collections.abc import Sequence

_FEW = 3  # finished trials, before they tell what training gains


def is_hopeless(
    curve: Sequence[float],
    finished: Sequence[tuple[Sequence[float], float]],
    needed: float | None,
    *,
    higher_is_better: bool = True,
) -> bool:
    """Whether not even the largest gain that any finished trial made from this epoch on would be enough.

    Optuna's pruners compare trials at the same epoch, and stop the lower ones. Here the lower one may be the one that
    is pruned earlier, and has yet to recover, or the one that is smaller, and needs no more than the bound. Gains hold
    all of that: what a trial lost by a ramp of zeros after this epoch, what it won back, and what its file lost.

    Args:
        curve: the validation metric after each epoch so far.
        finished: of each finished trial its curve, and the metric of its file.
        needed: what the metric must reach; `None` for anything.
        higher_is_better: whether more of it is better.

    Example:
        >>> finished = [([0.2, 0.5], 0.7), ([0.3, 0.6], 0.65), ([0.2, 0.4], 0.5)]
        >>> is_hopeless([0.3], finished, 0.75), is_hopeless([0.2], finished, 0.75)
        (False, True)
    """
    epoch = len(curve) - 1
    sign = 1 if higher_is_better else -1
    gains = [sign * (final - one[epoch]) for one, final in finished if len(one) > epoch]
    if needed is None or not curve or len(gains) < _FEW:
        return False
    return sign * curve[epoch] + max(gains) < sign * needed
