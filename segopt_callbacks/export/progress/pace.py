"""How far an export is, and how long it will take: plain arithmetic, without a clock of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from segopt_callbacks.export.target import Target

# What stages take beside each other, about: seconds for a U-Net of half a million weights on two CPUs.
LOOK, READ, OBSERVE, SAVE, OPEN, RUN, TIME, TELL = 1.0, 0.5, 5.0, 2.0, 1.0, 1.0, 0.7, 0.5
_CERTAIN = 0.95  # of a stage: what time alone counts for, before the stage has ended


@dataclass(frozen=True)
class Shares:
    """What the stages of one export take beside each other.

    Attributes:
        begin: format -> making what it is made from.
        finish: of each format: waiting for its file, opening and auditing it.
        run: running all files on the data.
        time: timing them; 0 where that is not asked for.
    """

    begin: dict[str, float]
    finish: float
    run: float
    time: float

    @classmethod
    def of(cls, targets: Mapping[str, Target], *, is_timed: bool) -> Shares:
        """Of some formats.

        Args:
            targets: by name.
            is_timed: whether files are timed.

        Example:
            >>> Shares.of({}, is_timed=True).total
            1.5
        """
        begin = {
            name: OBSERVE if one.takes_ranges else SAVE if one.any_batch else READ for name, one in targets.items()
        }
        return cls(begin, OPEN, RUN * len(begin), TIME * len(begin) if is_timed else 0.0)

    @property
    def total(self) -> float:
        """Of the whole export."""
        return LOOK + sum(self.begin.values()) + self.finish * len(self.begin) + self.run + self.time + TELL


@dataclass
class Pace:
    """How far work in stages is. Shares are of any unit; times are seconds of one clock.

    Within a stage the work is taken to go on as fast as it has so far, but never to be done before it says so.

    Attributes:
        total: the shares of all stages, above 0.
        start: when the first one began.

    Example:
        >>> pace = Pace(total=10.0, start=0.0)
        >>> pace.begin(5.0, now=0.0)
        >>> pace.begin(5.0, now=20.0)  # half of it has taken 20 seconds
        >>> pace.fraction(30.0), pace.seconds_left(30.0)
        (0.75, 10.0)
    """

    total: float
    start: float
    _before: float = 0.0  # the shares of stages that have ended
    _share: float = 0.0  # of the stage under way
    _reached: float = 0.0  # of that, a fraction
    _known_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._known_at = self.start

    def begin(self, share: float, now: float) -> None:
        """The next stage begins, and ends the one before."""
        self._before, self._share, self._reached, self._known_at = self._before + self._share, share, 0.0, now

    def reach(self, part: float, now: float) -> None:
        """So much of the stage under way is done: a fraction in [0, 1]."""
        self._reached, self._known_at = part, now

    def fraction(self, now: float) -> float:
        """Of all work, in [0, 1]."""
        return min(self._done(now) / self.total, 1.0)

    def seconds_left(self, now: float) -> float | None:
        """About; `None` while nothing is done."""
        speed = self._speed()
        return max(self.total - self._done(now), 0.0) / speed if speed else None

    def _known(self) -> float:
        return self._before + self._share * self._reached

    def _speed(self) -> float:
        elapsed = self._known_at - self.start
        return self._known() / elapsed if elapsed > 0 else 0.0

    def _done(self, now: float) -> float:
        most = _CERTAIN * self._share * (1 - self._reached)
        return self._known() + min(self._speed() * (now - self._known_at), most)


def about(seconds: float | None) -> str:
    """Seconds that are left, for people; no more exact than they are known.

    >>> about(None), about(0.4), about(28.4), about(75.0)
    ('', 'about 1 s left', 'about 28 s left', 'about 1 min 15 s left')
    """
    if seconds is None:
        return ""
    minutes, rest = divmod(max(round(seconds), 1), 60)
    return f"about {minutes} min {rest} s left" if minutes else f"about {rest} s left"
