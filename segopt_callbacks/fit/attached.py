"""All that is attached to a model for one fit, and let go together."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from segopt_callbacks import compat
from segopt_callbacks.fit.left_alone import LeftAlone
from segopt_callbacks.fit.projections import Attachments, Chain, Projection, Unshared, WithAverages
from segopt_callbacks.fit.stages import Stage


class Attachable(Protocol):
    """What makes a model compute otherwise for a while."""

    def attach(self) -> Callable[[], None]:
        """Attaches it; returns what lets the model go."""


class Attached:
    """Projections and simulations on one model.

    Args:
        model: the model that is fitted.
        callbacks: the `CallbackList` of its fit; `None` where there is none.
        left_alone: what watches whom an optimizer updates.
    """

    def __init__(self, model: Any, callbacks: Any, left_alone: LeftAlone) -> None:
        self._model = model
        self._callbacks = callbacks
        self._left_alone = left_alone
        self._projections: list[tuple[Stage, Any, Projection]] = []
        self._unshared: dict[int, Unshared] = {}
        self._constraints = Attachments()
        self._is_simulated = False
        self._on_release: list[Callable[[], None]] = []

    def project(self, stage: Stage, projections: Iterable[tuple[Any, Projection]]) -> None:
        """Makes the optimizer apply projections from the first step on, to variables and to its averages of them.

        Of one variable's projections those of the latest stage come first, so that zeros have the last word.
        """
        for variable, projection in projections:
            self._projections.append((stage, variable, projection))
            self.on_release(projection.let_go)

    def remember_unshared(self, variable: Any) -> Unshared:
        """Makes the optimizer sum up what the variable would be without projections."""
        with compat.strategy_scope(self._model):
            return self._unshared.setdefault(compat.identity(variable), Unshared(compat.read(variable)))

    def simulate(self, simulation: Attachable) -> None:
        """Makes the model compute otherwise, from the next trace of its functions on."""
        self._is_simulated = True
        self.on_release(simulation.attach())
        hooks = compat.HOOKS_OF_CALLBACKS if self._callbacks is not None else ()
        for owner, name in [*((self._callbacks, hook) for hook in hooks), (self._model, "evaluate")]:
            self.on_release(compat.around_method(owner, name, self._guarded))
        self.on_release(lambda: compat.drop_inference_functions(self._model))
        compat.drop_inference_functions(self._model)

    def _guarded(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """What else runs in a fit beside its steps; the model must not stay simulated when it raises."""
        with self.released_on_error():
            return method(*arguments, **options)

    def on_release(self, hook: Callable[[], None]) -> None:
        """Calls `hook` when the model is let go."""
        self._on_release.append(hook)

    def apply(self) -> None:
        """Hands all projections to the optimizer."""
        every: dict[int, list[tuple[Any, Projection]]] = {}
        for _, variable, projection in sorted(self._projections, key=lambda one: -one[0]):
            every.setdefault(compat.identity(variable), []).append((variable, projection))
        for key, pairs in every.items():
            variable = pairs[0][0]
            averages = functools.partial(compat.averages_of, self._model, variable)
            constraint: compat.Constraint = WithAverages(Chain(tuple(one for _, one in pairs)), averages)
            unshared = self._unshared.get(key)
            constraint = unshared.around(constraint) if unshared else constraint
            self._constraints.attach(variable, self._left_alone.constraint(variable, constraint))
        for variable in self._left_alone.only_watched():
            if compat.identity(variable) not in every:
                self._constraints.attach(variable, self._left_alone.constraint(variable))
        if self._constraints:
            self.on_release(self._left_alone.watch())

    def remake_step(self) -> None:
        """Makes the step anew, which may be cached from an earlier fit, if anything of ours belongs into it."""
        if self._constraints or self._is_simulated:
            compat.remake_train_function(self._model, self.release)

    def trace_anew(self) -> None:
        """Makes the next step, and the next evaluation, anew: they hold settings of when they were traced."""
        compat.remake_train_function(self._model, self.release)
        compat.drop_inference_functions(self._model)

    @contextlib.contextmanager
    def released_on_error(self) -> Iterator[None]:
        """Lets the model go if what runs inside raises: no `on_train_end` follows an error."""
        try:
            yield
        except BaseException:  # Ctrl-C too; whatever it is goes on its way
            self.release()
            raise

    def release(self) -> None:
        """Puts the constraints back, and drops the compiled step that holds ours."""
        while self._on_release:
            self._on_release.pop()()
        if self._constraints or self._is_simulated:
            self._constraints.detach()
            compat.drop_train_function(self._model)
