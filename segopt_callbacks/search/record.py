"""Trials as the search sees them, read from Optuna's."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from segopt_callbacks.search.demand import Figures
from segopt_callbacks.search.settings import Settings

Kind = Literal["search", "confirm", "reference"]
State = Literal["waiting", "running", "ok", "stopped", "refused", "failed", "lost"]


@dataclass(frozen=True)
class Record:
    """One trial.

    Attributes:
        number: of the trial in its study.
        state: `"waiting"`, `"running"`; `"ok"`, with figures; `"stopped"` as hopeless while it trained; `"refused"`
            before it trained; `"failed"`, where no file came of it; `"lost"`, where its process died or was ended.
        kind: `"search"`; `"confirm"`, the same settings on another seed; `"reference"`, the dense model.
        seed: by which it trains.
        confirms: number of the trial that it confirms.
        settings: `None` as long as they are not chosen.
        figures: of its file.
        curve: the validation metric after each epoch.
        ideal_bytes: see `expected.ideal_bytes`, where it was computed.
        why: a trial was refused or failed.
    """

    number: int
    state: State
    kind: Kind
    seed: int
    confirms: int | None = None
    settings: Settings | None = None
    figures: Figures | None = None
    curve: tuple[float, ...] = ()
    ideal_bytes: float | None = None
    why: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state not in ("waiting", "running")

    @property
    def folder(self) -> str:
        """Where its files are, below the folder of the search."""
        return f"trials/{self.number:04d}"


def read(trial: Any, seed: int) -> Record:
    """An Optuna trial -> its record.

    Args:
        trial: a `FrozenTrial`.
        seed: of the search.
    """
    told = trial.user_attrs
    settings, figures = told.get("settings"), told.get("figures")
    curve = [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)]
    return Record(
        number=trial.number,
        state=_state(trial),
        kind=told.get("kind", "search"),
        seed=told.get("seed", seed),
        confirms=told.get("confirms"),
        settings=None if settings is None else Settings.from_dict(settings),
        figures=None if figures is None else Figures(**figures),
        curve=tuple(curve),
        ideal_bytes=told.get("ideal_bytes"),
        why=told.get("failed") or told.get("refused") or "",
    )


def _state(trial: Any) -> State:
    name = trial.state.name
    if name in ("WAITING", "RUNNING"):
        return "waiting" if name == "WAITING" else "running"
    if name == "COMPLETE":
        return "ok"
    if "failed" in trial.user_attrs:
        return "failed"
    if "refused" in trial.user_attrs:
        return "refused"
    return "stopped" if name == "PRUNED" else "lost"


def as_json(record: Record) -> dict[str, Any]:
    """A record for `study.json`."""
    told = asdict(record)
    told["settings"] = None if record.settings is None else record.settings.as_dict()
    return {**told, "told": "" if record.settings is None else record.settings.told(), "folder": record.folder}
