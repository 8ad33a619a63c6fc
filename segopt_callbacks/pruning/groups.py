"""Weights under one schedule: which share one, what it asks for at a step, and where it does not lead."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segopt_callbacks.errors import SettingsError
from segopt_callbacks.model import by_first_match, validate_filters
from segopt_callbacks.pruning.methods import Method
from segopt_callbacks.pruning.patterns import Pattern
from segopt_callbacks.pruning.ramps import Ramp
from segopt_callbacks.pruning.schedules import AnySchedule, as_schedule, final_sparsity
from segopt_callbacks.pruning.timeline import Timeline


@dataclass(frozen=True)
class Group:
    """Weights under one schedule."""

    timeline: Timeline
    paths: list[str]


class Groups:
    """All groups of one fit; none before the first step.

    Args:
        groups: of which no two share a weight.
    """

    def __init__(self, groups: Sequence[Group] = ()) -> None:
        self._groups = groups
        self._is_warned = False

    def leave_out(self, paths: set[str]) -> list[Group]:
        """Forgets weights; returns the groups that had some of them, and have others."""
        changed = [group for group in self._groups if paths & set(group.paths)]
        for group in changed:
            group.paths[:] = [path for path in group.paths if path not in paths]
        self._groups = [group for group in self._groups if group.paths]
        return [group for group in changed if group.paths]

    def due(self, step: int) -> Iterator[tuple[Group, float]]:
        """The groups whose schedule has asked for a sparsity since it was asked last, with that sparsity."""
        for group in self._groups:
            sparsity = group.timeline.due(step)
            if sparsity is not None:
                yield group, sparsity

    def at_target_since(self, last_step: int | None) -> int | None:
        """The step since which all groups have the sparsity that their schedule sets last; `None` until then."""
        since = [group.timeline.at_target_since(last_step) for group in self._groups]
        return None if None in since else max((step for step in since if step is not None), default=None)

    def warn_if_cut_short(self, last_step: int) -> None:
        """Warns, once, if a schedule does not reach its final sparsity in a fit of so many steps."""
        for timeline in (group.timeline for group in self._groups):
            final, reached = timeline.final_sparsity, timeline.reached(last_step)
            if final is not None and final > reached + 1e-6 and not self._is_warned:
                self._is_warned = True
                warnings.warn(
                    f"The schedule does not reach its final sparsity in this fit: {last_step} steps lead to "
                    f"{reached:.4f} of {final:.4f}; let it end earlier, or train longer.",
                    stacklevel=2,
                )

    def require_reachable(self, most: float | None) -> None:
        """Refuses a schedule that wants to save more of the time than can go, if that is known.

        Raises:
            SettingsError: if it does.
        """
        for final in (group.timeline.final_sparsity for group in self._groups):
            if most is not None and final is not None and final > most:
                raise SettingsError(
                    f"Pruning channels can save {most:.4f} of the time of the layers at most; lower the schedule's "
                    f"end. Received: {final:.4f}."
                )

    def warn_if_incomplete(self, pattern: Pattern) -> None:
        """Warns if a schedule has ended below what the pattern needs."""
        least = pattern.least_sparsity
        below = [group for group in self._groups if group.timeline.sparsity < least - 1e-6]
        if below:
            warnings.warn(
                "A group of the pattern may keep too many weights: the schedule ended at "
                f"{below[0].timeline.sparsity:.4f}, and {pattern} needs {least:.4f}; raise it. "
                f"Received: {', '.join(path for group in below for path in group.paths)}.",
                stacklevel=2,
            )


def grouped(
    schedules: Mapping[str, AnySchedule],
    weights: dict[str, Any],
    most_saved: float | None = None,
    *,
    steps_per_epoch: int | None,
    epochs: int,
) -> Groups:
    """Shares weights out among schedules, for one fit.

    Args:
        schedules: regex on the path -> schedule, in order of precedence.
        weights: path -> variable.
        most_saved: the fraction of the time that can go, where that is what schedules are about.
        steps_per_epoch: `None` where it is not known.
        epochs: of the fit.

    Raises:
        ValueError: if a regex matches nothing, or a schedule needs `steps_per_epoch`.
        SettingsError: if a schedule wants to save more than can go.

    >>> groups = grouped({"head": 0.5, "": 0.8}, {"a": 0, "head": 0}, steps_per_epoch=4, epochs=1)
    >>> [(group.paths, sparsity) for group, sparsity in groups.due(0)]
    [(['head'], 0.5), (['a'], 0.8)]
    """
    shared = by_first_match(list(schedules), weights)
    groups = []
    for regex, paths in shared.items():
        schedule = schedules[regex]
        if isinstance(schedule, Ramp):
            size = sum(math.prod(weights[path].shape) for path in paths)
            schedule = schedule.of_model(size if most_saved is None else most_saved)
        groups.append(Group(Timeline(schedule, steps_per_epoch=steps_per_epoch, epochs=epochs), paths))
    made = Groups(groups)
    made.require_reachable(most_saved)
    return made


def validate_schedules(schedule: AnySchedule | Mapping[str, AnySchedule], method: Method) -> dict[str, AnySchedule]:
    """Checks what the user says of when to prune.

    Args:
        schedule: one for all weights, or regex -> schedule.
        method: which weights go.

    Returns:
        regex on the path -> schedule.

    Raises:
        ValueError: for what is no schedule or regex, or contradicts the method.

    >>> validate_schedules(0.5, Method())
    {'': 0.5}
    """
    schedules: dict[str, AnySchedule] = dict(schedule) if isinstance(schedule, Mapping) else {"": schedule}
    validate_filters(list(schedules), "schedule")
    for one in schedules.values():
        if not isinstance(one, Ramp):
            as_schedule(one)
        _check_against_method(one, method)
    if method.times_layers and len(schedules) > 1:
        raise ValueError(
            'scope="latency" shares the time out over all layers itself; give one schedule, and `filters`. Received: '
            f"{len(schedules)} schedules."
        )
    return schedules


def _check_against_method(schedule: AnySchedule, method: Method) -> None:
    final, least = final_sparsity(schedule), method.pattern.least_sparsity
    if final is not None and final < least - 1e-6:
        raise ValueError(
            f"The schedule must end at {least:.4f} or more for every group of the pattern to be complete. "
            f"Received: final sparsity {final:.4f}, pattern={method.pattern}."
        )
    if method.needs_gradients and isinstance(schedule, int | float):
        raise ValueError(
            "A fraction prunes before the first step, when no gradient is known; give a schedule that goes on, as "
            "ramp_by_fraction(...) or ConstantSparsity(..., begin_step=100). "
            f"Received: schedule={schedule}, criterion={method.criterion!r}, regrow={method.regrow!r}."
        )
