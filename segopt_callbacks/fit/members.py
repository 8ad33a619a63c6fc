"""The callbacks of one fit, by stage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from segopt_callbacks.fit.stages import Stage

if TYPE_CHECKING:
    from segopt_callbacks.fit.member import CompressionCallback


class Members:
    """Who takes part in a fit, and who changes which weight."""

    def __init__(self) -> None:
        self._members: list[CompressionCallback] = []
        self._claims: dict[tuple[Stage, str], CompressionCallback] = {}

    def __iter__(self) -> Iterator[CompressionCallback]:
        """In the order of their stages."""
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, member: CompressionCallback) -> bool:
        return member in self._members

    def add(self, member: CompressionCallback) -> None:
        """Enters one; its place in the user's list does not matter."""
        self._members = sorted([*self._members, member], key=lambda one: one.stage)

    def claim(self, member: CompressionCallback, weights: dict[str, Any]) -> None:
        """Records that `member` changes `weights`.

        Raises:
            ValueError: if another callback of the same stage claims one of them.
        """
        for path in weights:
            owner = self._claims.setdefault((member.stage, path), member)
            if owner is not member:
                raise ValueError(
                    f"A weight can belong to one {type(member).__name__} only; give each its own `filters`. "
                    f"Received: {path!r} selected by {type(owner).__name__} and {type(member).__name__}."
                )

    def unclaim(self, member: CompressionCallback, paths: Iterable[str]) -> None:
        """Records that `member` changes these weights no more."""
        for path in paths:
            del self._claims[member.stage, path]

    def claimed(self, member: CompressionCallback | None = None) -> set[str]:
        """Paths of all weights that somebody changes, or `member`."""
        return {path for (_, path), owner in self._claims.items() if member in (None, owner)}

    @property
    def params(self) -> dict[str, Any]:
        """What `fit` tells its callbacks of itself: `epochs` and, where it is known, `steps`."""
        return self._members[0].params or {}

    @property
    def need_inputs(self) -> bool:
        """Whether anybody must know what the model takes."""
        return any(member.needs_inputs for member in self._members)

    @property
    def need_fed(self) -> bool:
        """Whether anybody must see a batch first."""
        return any(member.needs_fed for member in self._members)

    @property
    def have_target(self) -> bool:
        """Whether anybody changes the weights while they train."""
        return any(member.sets_target for member in self._members)

    def at_target(self, step: int) -> bool:
        """Whether all weights have had their final form since `step` at least."""
        since = [member.at_target_since() for member in self._members]
        return all(one is not None and one <= step for one in since)

    def broken(self) -> list[CompressionCallback]:
        """Those whose weights are no longer as they left them."""
        return [member for member in self._members if not member.holds()]
