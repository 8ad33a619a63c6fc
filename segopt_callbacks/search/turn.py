"""What a search does next, from all that its processes have done so far. Pure Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from segopt_callbacks.search.demand import Demand
from segopt_callbacks.search.record import Kind, Record

_REFUSED = 20  # trials for each that is wanted, before the space is held to have no more
_FEW = 3  # trials of which none gave a file, before the search ends


@dataclass(frozen=True)
class Turn:
    """The next step.

    Attributes:
        what: `"run"` a trial (one that waits, or a new one), `"enqueue"` one of `kind`, `"wait"` for what other
            processes train, or `"end"`.
        kind: of the trial to enqueue.
        seed: by which it is to train.
        confirms: the trial that is to be trained once more, or is the answer.
    """

    what: Literal["run", "enqueue", "wait", "end"]
    kind: Kind = "search"
    seed: int = 0
    confirms: Record | None = None


def next_turn(records: Sequence[Record], demand: Demand, trials: int, seeds: tuple[int, int]) -> Turn:
    """The next step of any process of the search.

    Args:
        records: every trial of the study.
        demand: to be met.
        trials: how many are to be trained.
        seeds: of the search, and of the confirmation.

    Raises:
        RuntimeError: where the dense model, or each of the first trials, gave no file.

    >>> next_turn([], Demand(max_bytes=1000), 3, (0, 1)).what
    'run'
    """
    if any(one.state == "waiting" for one in records):
        return Turn("run")
    if demand.needs_reference and (turn := _of_reference(records, seeds[0])) and turn.what == "enqueue":
        return turn
    searched = [one for one in records if one.kind == "search"]
    _require_files(searched)
    begun = [one for one in searched if one.state in ("running", "ok", "stopped", "failed")]
    refused = sum(one.state == "refused" for one in searched)
    if len(begun) < trials and refused < _REFUSED * trials:
        return Turn("run")
    if any(not one.has_ended for one in records if one.kind != "confirm"):
        return Turn("wait")
    return _confirmation(records, demand, seeds)


def dense_metric(records: Sequence[Record], seed: int) -> float | None:
    """The metric of the dense model that trained by a seed; `None` until it is known."""
    found = (one.figures.metric for one in records if one.kind == "reference" and one.seed == seed and one.figures)
    return next(found, None)


def candidates(records: Sequence[Record], demand: Demand, seed: int) -> list[Record]:
    """The trials that meet the demand on the seed of the search, the best first."""
    dense = dense_metric(records, seed)
    found = [
        one for one in records if one.kind == "search" and one.figures is not None and demand.meets(one.figures, dense)
    ]
    return sorted(found, key=lambda one: demand.order(one.figures))  # type: ignore[arg-type]


def confirmation_of(records: Sequence[Record], candidate: Record) -> Record | None:
    """What has become of a trial on the second seed; `None` if that was not tried, or its process died."""
    states = ("ok", "failed", "running", "waiting")
    found = [one for one in records if one.confirms == candidate.number and one.state in states]
    return min(found, key=lambda one: states.index(one.state), default=None)


def is_confirmed(records: Sequence[Record], demand: Demand, candidate: Record) -> bool:
    """Whether a trial meets the demand on the second seed as well."""
    second = confirmation_of(records, candidate)
    if second is None or second.figures is None:
        return False
    return demand.meets(second.figures, dense_metric(records, second.seed))


def _confirmation(records: Sequence[Record], demand: Demand, seeds: tuple[int, int]) -> Turn:
    for candidate in candidates(records, demand, seeds[0]):
        if demand.needs_reference and (turn := _of_reference(records, seeds[1])):
            return turn
        second = confirmation_of(records, candidate)
        if second is None:
            return Turn("enqueue", "confirm", seeds[1], candidate)
        if not second.has_ended:
            return Turn("wait")
        if is_confirmed(records, demand, candidate):
            return Turn("end", confirms=candidate)
    return Turn("end")


def _of_reference(records: Sequence[Record], seed: int) -> Turn | None:
    """What is to be done before the dense model of a seed is known; `None` once it is."""
    found = [one for one in records if one.kind == "reference" and one.seed == seed]
    if any(one.state == "ok" for one in found):
        return None
    for one in found:
        if one.state == "failed":
            raise RuntimeError(f"The dense model must give a file to compare with. Received: {one.why}")
    return Turn("wait") if any(not one.has_ended for one in found) else Turn("enqueue", "reference", seed)


def _require_files(searched: Sequence[Record]) -> None:
    failed = [one for one in searched if one.state == "failed"]
    if len(failed) >= _FEW and not any(one.state in ("ok", "stopped") for one in searched):
        raise RuntimeError(
            f"A search needs trials that give files, and none of {len(failed)} gave one. Export the model once by "
            f"`export_model` to see why. Received: {failed[-1].why}"
        )
