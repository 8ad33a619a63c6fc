"""One trial, from its settings to its value."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segopt_callbacks.errors import ExportError, first_line
from segopt_callbacks.search.demand import Demand, Figures
from segopt_callbacks.search.expected import ideal_bytes, least_bytes
from segopt_callbacks.search.fitting import Fitting
from segopt_callbacks.search.hopeless import is_hopeless
from segopt_callbacks.search.record import Record
from segopt_callbacks.search.settings import Settings
from segopt_callbacks.search.space import Space
from segopt_callbacks.search.turn import candidates, dense_metric
from segopt_callbacks.search.watching import EpochWatch

_FAILED = 1.0  # the violation of a trial that gave no file, as if it had twice the bytes


@dataclass
class Trials:
    """What all trials of a process have in common.

    Attributes:
        fitting: how a trial trains.
        space: of settings.
        demand: to be met.
        seed: of the search.
        output_dir: of the search.
        records: reads every trial of the study.
        say: takes a line about a trial that begins.
    """

    fitting: Fitting
    space: Space
    demand: Demand
    seed: int
    output_dir: Path
    records: Callable[[], list[Record]]
    say: Callable[[str], None]

    def objective(self, trial: Any) -> float:
        """Runs an Optuna trial; returns its value, or raises `TrialPruned`."""
        import optuna

        told = trial.user_attrs
        kind, seed = told.get("kind", "search"), told.get("seed", self.seed)
        settings = Settings() if kind == "reference" else self.space.suggest(trial)
        trial.set_user_attr("settings", settings.as_dict())
        records = self.records()
        here = next(one for one in records if one.number == trial.number)
        if why := self._refusal(trial, here, settings, records):
            trial.set_user_attr("refused", why)
            raise optuna.TrialPruned
        self.say(f"trial {trial.number} begins: {settings.told()}, seed {seed}")
        watch = [self._watch(trial, settings.prune_end)] if kind == "search" else []
        try:
            figures = self.fitting.run(settings, seed, self.output_dir / here.folder, watch)
        except (ExportError, FloatingPointError) as error:
            return self._fail(trial, first_line(error))
        if not math.isfinite(figures.metric):
            return self._fail(trial, f"the metric of its file is no finite number: {figures.metric}")
        if self.fitting.times and figures.latency_ms is None:
            return self._fail(trial, "the latency of its file could not be measured; its report says why")
        trial.set_user_attr("figures", asdict(figures))
        if kind == "reference":
            return figures.bytes if self.demand.bounds_metric else figures.metric
        self._constrain(trial, self.demand.misses(figures, dense_metric(self.records(), seed)))
        return figures.bytes if self.demand.bounds_metric else figures.metric

    def _fail(self, trial: Any, why: str) -> float:
        import optuna

        trial.set_user_attr("failed", why)
        self._constrain(trial, {"file": _FAILED})
        raise optuna.TrialPruned

    def _constrain(self, trial: Any, misses: dict[str, float]) -> None:
        """What the sampler is to know of bounds that were missed."""
        for name, by in misses.items():
            trial.set_constraint(name, by)

    def _refusal(self, trial: Any, here: Record, settings: Settings, records: Sequence[Record]) -> str:
        """Why a trial is not worth training; empty if it is."""
        states = ("running", "ok", "stopped", "failed")
        earlier = [one for one in records if one.number < here.number and one.state in states]
        for one in earlier:
            if (one.kind, one.seed, one.settings) == (here.kind, here.seed, settings):
                return f"as trial {one.number}"
        if here.kind != "search" or self.demand.max_bytes is None:
            return ""
        ideal = ideal_bytes(self.fitting.kernel_shapes(settings.width), settings)
        trial.set_user_attr("ideal_bytes", ideal)
        weighed = [(one.ideal_bytes, one.figures.bytes) for one in records if one.ideal_bytes and one.figures]
        least = least_bytes(ideal, weighed)
        if least <= self.demand.max_bytes:
            return ""
        self._constrain(trial, {"bytes": least / self.demand.max_bytes - 1})
        return f"its file would have at least {least:,.0f} bytes"

    def _watch(self, trial: Any, begin: float) -> EpochWatch:
        import optuna

        def hopeless(curve: list[float]) -> bool:
            records = self.records()
            needed = self.needed_metric(records)
            finished = [(one.curve, one.figures.metric) for one in records if one.figures and one.curve]
            if not is_hopeless(curve, finished, needed, higher_is_better=self.demand.higher_is_better):
                return False
            if self.demand.bounds_metric and needed is not None:
                miss = self.demand.misses(Figures(0, curve[-1], 0.0), dense_metric(records, self.seed))
                self._constrain(trial, {"metric": miss.get("metric", 0.0)})
            return True

        return EpochWatch(self.fitting.monitor, trial.report, hopeless, optuna.TrialPruned, begin=begin)

    def needed_metric(self, records: Sequence[Record]) -> float | None:
        """What a trial must reach to matter: the bound, or the best that met the other bounds."""
        if self.demand.bounds_metric:
            return self.demand.needed_metric(dense_metric(records, self.seed))
        best = candidates(records, self.demand, self.seed)
        return best[0].figures.metric if best and best[0].figures else None
