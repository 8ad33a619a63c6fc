"""How a fit ends: weights are finished, the promise is checked, the model let go, and its files are made."""

from __future__ import annotations

import contextlib
from typing import Any

from segopt_callbacks.fit.attached import Attached
from segopt_callbacks.fit.members import Members
from segopt_callbacks.fit.stages import Stage


class Ending:
    """The third and the fourth moment of a fit.

    Args:
        members: who takes part in it.
        attached: what is attached to its model.

    Attributes:
        logs: what `on_train_end` was told last.
    """

    def __init__(self, members: Members, attached: Attached) -> None:
        self.logs: Any = None
        self._members = members
        self._attached = attached
        self._is_closed = False

    def finish_weights(self, *, restore: bool) -> None:
        """Puts the best weights in place if `restore`, and does each stage's work on them."""
        with self._attached.released_on_error():
            for member in self._members if restore else ():
                member.restore(self.logs)
            for member in self._members:
                if member.stage < Stage.MEASURE:
                    member.finish(self.logs)

    def close(self) -> None:
        """Checks the promise, lets the model go, and gives those their turn that only read the weights; once."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._keep_promise()
        finally:
            self._attached.release()
        with contextlib.ExitStack() as finishes:  # what one raises keeps no other from its turn
            for member in reversed(list(self._members)):
                if member.stage >= Stage.MEASURE:
                    finishes.callback(member.finish, self.logs)

    def _keep_promise(self) -> None:
        """Finishes weights again that somebody has replaced.

        Raises:
            RuntimeError: if they do not stay so.
        """
        if broken := self._members.broken():
            broken[0].on_replaced()
            self.finish_weights(restore=False)
        if broken := self._members.broken():
            raise RuntimeError(
                "Pruned and clustered weights must stay so when training ends, but something writes to them. "
                f"Received: the promise of {', '.join(type(member).__name__ for member in broken)} broken."
            )
