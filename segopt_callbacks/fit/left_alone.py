"""Weights that a fit selects and had better not: inference never reads them, or no step updates them."""

from __future__ import annotations

import warnings
from typing import Any

from segopt_callbacks import compat
from segopt_callbacks.fit.members import Members
from segopt_callbacks.fit.received import Received
from segopt_callbacks.fit.told import Told
from segopt_callbacks.model import unread

_SHOWN = 5  # paths in a message


class LeftAlone:
    """Takes weights out of a fit again that are not trained for inference.

    What inference reads is known before the first step, from its graph. What an optimizer receives is known once that
    step is traced: until then, weights of a model with a `train_step` of its own stay as they are.

    Args:
        model: that is fitted.
        members: the callbacks of the fit.
        told: what they tell each other.
        is_loop: whether the user's own loop trains, and not `fit`.
    """

    def __init__(self, model: Any, members: Members, told: Told, *, is_loop: bool) -> None:
        self._model = model
        self._members = members
        self._told = told
        self._is_free = is_loop or compat.has_own_train_step(model)  # any weight may go to any optimizer
        self._received = Received()
        self._reads_are_known = False
        self._is_settled = False
        self.waits = False

    def begin(self, inputs: Any, *, has_trained: bool) -> None:
        """Leaves out what inference never reads.

        Args:
            inputs: structure of `tf.TensorSpec`, what the model takes; `None` where it is not known.
            has_trained: whether a step has run already.
        """
        self.waits = self._is_free and not has_trained and not any(one.begins_at_once for one in self._members)
        never = unread(self._model, inputs, self._told.selected)
        self._reads_are_known = never is not None
        self._leave(never or set(), "inference never reads them")

    def constraint(self, variable: Any, projection: compat.Constraint | None = None) -> compat.Constraint:
        """`projection`, which also notes that an optimizer has received the variable."""
        return self._received.noting(variable, projection)

    def only_watched(self) -> list[Any]:
        """Selected variables that an optimizer must be watched for, though nothing is projected yet."""
        is_known = not self._is_free and compat.is_made_of_layers(self._model)
        return [] if is_known else list(self._told.selected.values())

    def watch(self) -> Any:
        """Watches the model's own optimizer; returns what ends that."""
        return self._received.watch(self._model)

    def settle(self) -> None:
        """Leaves out what no optimizer has received; to be called when the first step is over."""
        if self._is_settled:
            return
        self._is_settled, self.waits = True, False
        never = self._received.never(self._told.selected.items(), reads_are_known=self._reads_are_known)
        self._leave(never, "no step of the model's optimizer updates them")
        for member in self._members:
            member.on_settled()

    def _leave(self, paths: set[str], why: str) -> None:
        left: set[str] = set()
        for member in self._members if paths else ():
            left |= (theirs := member.leave_out(paths))
            if theirs and not self._members.claimed(member):
                raise ValueError(
                    f"A model must train weights that inference reads for {type(member).__name__} to compress them; "
                    "see which `call` reads and which the optimizer updates, or name others in `filters`. Received: "
                    f"{self._model.name!r}, {_some(theirs)} selected, and {why}."
                )
        for path in left - self._members.claimed():
            self._told.selected.pop(path, None)
        if left:
            warnings.warn(
                f"Weights are left alone since {why}: {_some(left)}. To compress them all the same, name "
                "them in an entry of `filters` that takes no others.",
                stacklevel=2,
            )


def _some(paths: set[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(sorted(paths)[:_SHOWN]) + more
