"""Which weights the steps of a fit update: those that an optimizer is given with a gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from segopt_callbacks import compat


class Received:
    """Notes which variables optimizers update, while the step is traced (or run eagerly).

    An optimizer applies a variable's constraint only where it was given a gradient for it: whoever calls the
    constraint has received the variable. A teacher, a frozen copy and an average of weights are never received.
    """

    def __init__(self) -> None:
        self._by_any: set[int] = set()
        self._by_the_models: set[int] = set()

    def noting(self, variable: Any, constraint: compat.Constraint | None = None) -> compat.Constraint:
        """`constraint`, or one that changes nothing, which notes that it was called."""
        key = compat.identity(variable)

        def noted(weight: Any) -> Any:
            self._by_any.add(key)
            return weight if constraint is None else constraint(weight)

        return noted

    def watch(self, model: Any) -> Callable[[], None]:
        """Notes what the model's own optimizer is given; returns what ends that."""
        return compat.watch_gradients(model, self._note)

    def _note(self, gradients: list[tuple[Any, Any]]) -> None:
        given = (variable for gradient, variable in gradients if gradient is not None)
        self._by_the_models.update(map(compat.identity, given))

    def never(self, weights: Iterable[tuple[str, Any]], *, reads_are_known: bool) -> set[str]:
        """Paths of the weights that no step updates; none where no optimizer was seen: then nothing is known.

        Args:
            weights: path and variable.
            reads_are_known: whether these are weights that inference reads. If not, only the model's own optimizer
                counts, where it was given any: that of a discriminator is another.
        """
        keys = {path: compat.identity(weight) for path, weight in weights}
        own = self._by_the_models & set(keys.values())
        everybody = self._by_any | self._by_the_models
        received = own if own and not reads_are_known else everybody
        return {path for path, key in keys.items() if key not in received} if everybody else set()
