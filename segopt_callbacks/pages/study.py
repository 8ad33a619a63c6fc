"""`study.json` of a search -> what is known of its trials. Believes nothing that it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segopt_callbacks.pages import values
from segopt_callbacks.pages.reading import read_json
from segopt_callbacks.sizes import CorruptFileError

STUDY = "study.json"
_MOST_TRIALS = 10_000
_KINDS = ("search", "confirm", "reference")


@dataclass(frozen=True)
class Trial:
    """One training of a search.

    Attributes:
        number: of the trial.
        kind: `"search"`, `"confirm"` (on another seed) or `"reference"` (the dense model).
        state: such as `"ok"`, `"stopped"`, `"refused"`.
        seed: by which it trained.
        confirms: number of the trial that it confirms.
        told: its settings in words.
        why: it gave no file.
        bytes: of its file through gzip, where it gave one.
        metric: of its file.
        latency_ms: of its file, where it was measured.
        meets: whether it meets the demand on the seed of the search.
        confirmed: whether on the second seed as well.
    """

    number: int
    kind: str
    state: str
    seed: int
    confirms: int | None
    told: str
    why: str
    bytes: int | None
    metric: float | None
    latency_ms: float | None
    meets: bool
    confirmed: bool

    @property
    def report(self) -> str:
        """Where its own page is, from the folder of the search."""
        return f"trials/{self.number:04d}/report.html"


@dataclass(frozen=True)
class Told:
    """A search so far: the metric, the bounds by name, the answer once there is one, and its trials."""

    monitor: str
    higher_is_better: bool
    demand: dict[str, float]
    answer: str
    trials: tuple[Trial, ...]


def read_study(path: Path) -> Told:
    """Reads a `study.json`.

    Raises:
        CorruptFileError: if it is none, or damaged.
        OSError: if it cannot be read.
    """
    whole = values.mapping(read_json(path), "a study")
    if not {"monitor", "trials"} <= set(whole):
        raise CorruptFileError("it is no study of a search: `monitor` and `trials` are missing")
    trials = values.sequence(whole["trials"], "`trials`")
    if len(trials) > _MOST_TRIALS:
        raise CorruptFileError(f"it has more than {_MOST_TRIALS:,} trials")
    demand = values.mapping(whole.get("demand"), "`demand`")
    return Told(
        monitor=values.text(whole["monitor"]),
        higher_is_better=whole.get("higher_is_better") is True,
        demand={values.text(name): float(values.number(one, "a bound")) for name, one in demand.items()},
        answer=values.text(whole.get("answer")),
        trials=tuple(_trial(one) for one in trials),
    )


def _trial(value: Any) -> Trial:
    entry = values.mapping(value, "a trial")
    figures = values.mapping(entry.get("figures"), "`figures`")
    kind = values.text(entry.get("kind"))
    if kind not in _KINDS:
        raise CorruptFileError(f"`kind` must be one of {', '.join(_KINDS)}")
    latency = figures.get("latency_ms")
    return Trial(
        number=values.count(entry.get("number"), "`number`") or 0,
        kind=kind,
        state=values.text(entry.get("state")),
        seed=values.count(entry.get("seed"), "`seed`") or 0,
        confirms=values.count(entry.get("confirms"), "`confirms`"),
        told=values.text(entry.get("told")),
        why=values.text(entry.get("why")),
        bytes=values.count(figures.get("bytes"), "`bytes`"),
        metric=float(values.number(figures.get("metric"), "`metric`")) if figures else None,
        latency_ms=None if latency is None else float(values.number(latency, "`latency_ms`")),
        meets=entry.get("meets") is True,
        confirmed=entry.get("confirmed") is True,
    )


def front(trials: Sequence[Trial], *, higher_is_better: bool) -> set[int]:
    """Numbers of the trials of a search that no other betters in bytes and metric.

    >>> def one(number, size, metric):
    ...     return Trial(number, "search", "ok", 0, None, "", "", size, metric, None, True, False)
    >>> sorted(front([one(0, 100, 0.7), one(1, 200, 0.8), one(2, 300, 0.75)], higher_is_better=True))
    [0, 1]
    """
    found: set[int] = set()
    best: float | None = None
    weighed = [one for one in trials if one.kind == "search" and one.bytes is not None and one.metric is not None]
    sign = 1 if higher_is_better else -1
    for one in sorted(weighed, key=lambda one: (one.bytes or 0, -sign * (one.metric or 0.0))):
        height = sign * (one.metric or 0.0)
        if best is None or height > best:
            best = height
            found.add(one.number)
    return found
