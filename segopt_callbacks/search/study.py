"""The study of Optuna in which every process of a search writes what it does."""

from __future__ import annotations

import contextlib
import importlib.util
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from segopt_callbacks.errors import first_line
from segopt_callbacks.search.record import Record, read

_NAME = "compression"
_ABOUT = "about"
_RANDOM = 4  # trials before the sampler learns from them, and at least
_LOCKED = 60  # seconds for which SQLite waits while another process writes
_ATTEMPTS, _PAUSE = 4, 0.5  # times, and seconds between them
_RETRIES = 3  # of a trial whose process died; one that kills each process is given up
_BEATS = 4  # signs of life within `stale_after`


class StudyError(ValueError):
    """A database that cannot be opened, or that holds another search."""


def require_optuna() -> None:
    """Raises unless Optuna is installed.

    Raises:
        ImportError: with the way to install it.
    """
    if importlib.util.find_spec("optuna") is None:
        raise ImportError(
            "A search needs Optuna; run `pip install 'segopt-callbacks[search]'`. Received: no package `optuna`."
        )


class Study:
    """A study, and what this process does in it.

    Args:
        storage: URL of a database.
        minimizes: whether less of a trial's value is better.
        about: what the search is about; every process must say the same.
        seed: of the search.
        stale_after: seconds without a sign of life after which a running trial counts as dead.

    Raises:
        StudyError: if the database cannot be opened, or the study in it is about something else.
    """

    def __init__(self, storage: str, *, minimizes: bool, about: Mapping[str, Any], seed: int, stale_after: int) -> None:
        import optuna

        self._seed = seed
        options = {"connect_args": {"timeout": _LOCKED}} if storage.startswith("sqlite") else {}
        with _settled():
            backend = _opened(
                storage,
                lambda: optuna.storages.RDBStorage(
                    storage,
                    engine_kwargs=options,
                    heartbeat_interval=max(stale_after // _BEATS, 1),
                    grace_period=stale_after,
                    heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(_RETRIES),
                ),
            )
            direction: Literal["minimize", "maximize"] = "minimize" if minimizes else "maximize"
            self._study = optuna.create_study(
                storage=backend, study_name=_NAME, direction=direction, load_if_exists=True
            )
        self._require_same(dict(about), storage)

    def _require_same(self, about: dict[str, Any], storage: str) -> None:
        known = self._study.user_attrs.get(_ABOUT)
        if known is None:
            self._study.set_user_attr(_ABOUT, about)
        elif known != about:
            changed = [name for name in about if about[name] != known.get(name)]
            told = ", ".join(f"{name}={about[name]!r} where it was {known.get(name)!r}" for name in changed)
            raise StudyError(
                "A search goes on as it has begun; give the same arguments, or another `storage` and `output_dir`. "
                f"Received: {told}, in {_shown(storage)}."
            )

    def records(self) -> list[Record]:
        """Every trial so far, of all processes."""
        return [read(one, self._seed) for one in self._study.get_trials(deepcopy=False)]

    def enqueue(self, parameters: Mapping[str, Any], **attributes: Any) -> None:
        """Puts a trial in line; the next process that is free takes it."""
        self._study.enqueue_trial(dict(parameters), user_attrs=attributes)

    def parameters(self, number: int) -> dict[str, Any]:
        """By which a trial got its settings."""
        return dict(self._study.get_trials(deepcopy=False)[number].params)

    def run(self, objective: Callable[[Any], float]) -> int:
        """Runs one trial, one that waits or a new one; returns its number. What has died is put in line before."""
        import optuna

        known = sum(one.state.name != "FAIL" for one in self._study.get_trials(deepcopy=False))
        # Of the number of trials, less those that came to nothing, so that a search that was stopped and goes on draws
        # what it would have drawn.
        self._study.sampler = optuna.samplers.TPESampler(seed=self._seed * 10_007 + known, n_startup_trials=_RANDOM)
        begun: list[int] = []
        has_ended = False

        def noted(trial: Any) -> float:
            nonlocal has_ended
            begun.append(trial.number)
            try:
                value = objective(trial)
            except optuna.TrialPruned:
                has_ended = True
                raise
            has_ended = True
            return value

        with _settled():
            try:
                self._study.optimize(noted, n_trials=1)
            except KeyboardInterrupt:
                self._put_back(begun)
                raise
            except ValueError:
                # Only Optuna raises after the trial has ended: another process took this one for dead.
                if not has_ended or self._study.get_trials(deepcopy=False)[begun[0]].state.name != "FAIL":
                    raise
                warnings.warn(
                    f"Trial {begun[0]} ran on while another process took this one for dead, and runs it again; raise "
                    "`stale_after`.",
                    stacklevel=2,
                )
        return begun[0]

    def _put_back(self, begun: list[int]) -> None:
        """Puts a trial in line that the user has interrupted, so that the search goes on as it would have gone."""
        for number in begun:
            trial = self._study.get_trials(deepcopy=False)[number]
            if trial.state.name == "FAIL" and "kind" not in trial.user_attrs:
                self._study.enqueue_trial(dict(trial.params))

    def revive(self) -> None:
        """Puts trials in line whose process has died."""
        import optuna

        with _settled():
            optuna.storages.fail_stale_trials(self._study)


def _opened(storage: str, open_storage: Callable[[], Any]) -> Any:
    """Opens a database; of several processes that begin together one makes the tables, and the others find them."""
    import sqlalchemy.exc

    for attempt in range(_ATTEMPTS):
        try:
            return open_storage()
        except sqlalchemy.exc.ArgumentError as error:
            raise _cannot_open(storage, error) from error
        except sqlalchemy.exc.DBAPIError as error:
            if attempt + 1 == _ATTEMPTS:
                raise _cannot_open(storage, error) from error
            time.sleep(_PAUSE)


def _cannot_open(storage: str, error: Exception) -> StudyError:
    return StudyError(
        "`storage` must be the URL of a database that can be opened, such as sqlite:///FILE; see docs/search.md. "
        f"Received: {_shown(storage)}: {first_line(error)}"
    )


def _shown(storage: str) -> str:
    """A URL without its password."""
    import sqlalchemy
    import sqlalchemy.exc

    try:
        return sqlalchemy.make_url(storage).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:  # it is no URL
        return repr(storage)


@contextlib.contextmanager
def _settled() -> Iterator[None]:
    """Context: Optuna says nothing of its trials, and nothing of interfaces that it calls experimental."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
