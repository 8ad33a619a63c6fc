"""The search: trials until there are enough, then the best of them once more on a second seed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segopt_callbacks.data import validate_metrics
from segopt_callbacks.errors import printable
from segopt_callbacks.records import validate_monitor
from segopt_callbacks.rules import require_verbose
from segopt_callbacks.search.answer import SearchResult, answer
from segopt_callbacks.search.demand import Demand, validate_demand
from segopt_callbacks.search.fitting import Fitting, takes_width
from segopt_callbacks.search.hparams import write_run
from segopt_callbacks.search.listing import write_listing
from segopt_callbacks.search.metrics import choose_metric
from segopt_callbacks.search.record import Record
from segopt_callbacks.search.space import Space
from segopt_callbacks.search.starting import first_settings
from segopt_callbacks.search.study import Study, require_optuna
from segopt_callbacks.search.trial import Trials
from segopt_callbacks.search.turn import next_turn
from segopt_callbacks.search.validation import validate_places, validate_search

_PATIENCE = 1.0  # seconds between two looks at what other processes do


def search_compression(
    build_model: Callable[..., Any],
    data: Mapping[str, Any],
    *,
    epochs: int,
    max_bytes: int | None = None,
    max_latency_ms: float | None = None,
    min_metric: float | None = None,
    max_metric_loss: float | None = None,
    trials: int = 12,
    storage: str | None = None,
    output_dir: str | os.PathLike[str] = "search",
    metrics: Mapping[str, Any] | None = None,
    monitor: str | None = None,
    higher_is_better: bool | None = None,
    space: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    callbacks: Sequence[Any] = (),
    seed: int = 0,
    stale_after: int = 120,
    verbose: int = 1,
) -> SearchResult:
    """Searches the settings of compression for the model that meets a demand.

    Each trial trains a new model with settings that Optuna chooses, exports it, and reads bytes, latency and metric
    from the file itself, on the validation data. With a bound on the metric, the answer is the file of fewest bytes
    that meets every bound; without, the file of the best metric. It counts only if the same settings meet the demand
    on a second seed as well; if not, the next best is tried.

    The search is kept in a database. A process that calls with the same arguments goes on where it stopped, also after
    SIGKILL, and several processes or machines that share `storage` and `output_dir` work side by side.

    Args:
        build_model: returns a compiled model. If it has an argument `width`, a factor, the width is searched too.
        data: `{"train": ..., "val": ...}`: what `fit` trains on, and what it takes as `validation_data`, which decides.
        epochs: of each trial.
        max_bytes: of the file through `gzip -9`.
        max_latency_ms: of one inference on one thread, the median in milliseconds.
        min_metric: the least that the metric may be; the most, for a metric of which less is better.
        max_metric_loss: how far the metric may be from that of the dense float32 file, which is then trained first.
        trials: how many are trained, over all processes; confirmations and dense models come on top.
        storage: URL of a database. Default: SQLite, in `output_dir`.
        output_dir: folder for the files and reports of every trial, `study.json`, and TensorBoard's logs.
        metrics: name -> Keras metric, computed on every file's answers. Default: the compiled ones.
        monitor: the metric that counts. Default: the only one.
        higher_is_better: whether more of it is better. Default: told by its name.
        space: setting -> a list of choices, or a range `(low, high)`, in place of the default's; see `space.Space`.
        batch_size: of arrays. Default: 32.
        callbacks: more callbacks for every fit; each must work in several fits.
        seed: of the search and of its trainings. The second seed is `seed + 1`.
        stale_after: seconds without a sign of life after which a process counts as dead, and its trial is run again.
        verbose: 0 for silence, 1 for a line for each trial, 2 for the lines of `fit`, too.

    Returns:
        the answer, or the trial that came nearest, with the figures of both seeds.

    Raises:
        ValueError: for an argument outside its range, or no bound at all.
        StudyError: for a database that cannot be opened, or a search that was begun with other arguments.
        ImportError: without Optuna.
        RuntimeError: if the first trials give no file.
    """
    validate_demand(max_bytes, max_latency_ms, min_metric, max_metric_loss)
    validate_search(
        build_model, data, epochs=epochs, trials=trials, batch_size=batch_size, seed=seed, stale_after=stale_after
    )
    validate_places(storage, output_dir, callbacks)
    validate_metrics(metrics)
    validate_monitor(monitor, higher_is_better)
    require_verbose(verbose)
    chosen = Space.of(space, takes_width=takes_width(build_model))
    require_optuna()
    monitor, is_higher = choose_metric(build_model, data["val"], metrics, monitor, higher_is_better)
    demand = Demand(max_bytes, max_latency_ms, min_metric, max_metric_loss, is_higher)
    folder = Path(output_dir).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    study = Study(
        storage or f"sqlite:///{folder / 'study.db'}",
        minimizes=demand.bounds_metric or not is_higher,
        about=_about(demand, chosen, epochs=epochs, monitor=monitor, seed=seed),
        seed=seed,
        stale_after=stale_after,
    )
    fitting = Fitting(
        build_model,
        data["train"],
        data["val"],
        epochs,
        batch_size,
        metrics,
        monitor,
        max_latency_ms is not None,
        callbacks,
        2 if verbose > 1 else 0,
    )
    work = Trials(fitting, chosen, demand, seed, folder, study.records, _say if verbose else _say_nothing)
    return _search(study, work, trials)


def _say(line: str) -> None:
    print(printable(line), flush=True)


def _say_nothing(line: str) -> None:
    """Where nothing is to be printed."""


def _about(demand: Demand, space: Space, **more: Any) -> dict[str, Any]:
    """What every process of a search must agree on, as JSON gives it back."""
    return dict(json.loads(json.dumps({**asdict(demand), **asdict(space), **more})))


def _search(study: Study, work: Trials, trials: int) -> SearchResult:
    demand, seeds, monitor = work.demand, (work.seed, work.seed + 1), work.fitting.monitor
    if not study.records():
        _enqueue_first(study, work, trials)
    known = {one.number for one in study.records() if one.has_ended}
    while True:
        records = study.records()
        turn = next_turn(records, demand, trials, seeds)
        if turn.what == "end":
            break
        if turn.what == "enqueue":
            parameters = {} if turn.confirms is None else study.parameters(turn.confirms.number)
            confirms = None if turn.confirms is None else turn.confirms.number
            study.enqueue(parameters, kind=turn.kind, seed=turn.seed, confirms=confirms)
        elif turn.what == "wait":
            time.sleep(_PATIENCE)
            study.revive()
        else:
            number = study.run(work.objective)
            records = study.records()
            write_run(work.output_dir / "logs", records[number], monitor)
            write_listing(work.output_dir, records, demand, monitor, work.seed)
        ended = [one for one in records if one.has_ended and one.number not in known]
        known |= {one.number for one in ended}
        for one in ended:
            work.say(_line(one, monitor))
    result = answer(records, demand, monitor, work.output_dir, turn.confirms, seeds)
    write_listing(work.output_dir, records, demand, monitor, work.seed, result.message)
    work.say(result.message)
    return result


def _enqueue_first(study: Study, work: Trials, trials: int) -> None:
    """Puts what is known to work in line, at most half of the trials."""
    max_bytes = work.demand.max_bytes
    width = max(work.space.width) if work.space.width else None
    shapes = None if max_bytes is None else work.fitting.kernel_shapes(width)
    for settings in first_settings(work.space, shapes, max_bytes)[: max(trials // 2, 1)]:
        study.enqueue(work.space.parameters(settings))


def _line(record: Record, monitor: str) -> str:
    """What has become of a trial."""
    told = record.settings.told() if record.settings else ""
    kind = {"search": "", "confirm": f" (trial {record.confirms} on the second seed)", "reference": " (dense)"}
    if record.figures:
        latency = "" if record.figures.latency_ms is None else f"{record.figures.latency_ms:.3g} ms, "
        what = f"{record.figures.bytes:,} bytes, {latency}{monitor} {record.figures.metric:.4f}"
    else:
        what = f"{record.state} {record.why}".strip()
    return f"trial {record.number}{kind[record.kind]}: {told}: {what}"
