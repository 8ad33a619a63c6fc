"""What dies with a channel: biases, scales and offsets, kept zero where their kernels are pruned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from segopt_callbacks.model import Role
from segopt_callbacks.pruning.masked import Masked
from segopt_callbacks.pruning.patterns import as_matrix


class Followers:
    """Variables of one value for each channel, with a mask each.

    A variable that follows several kernels (a shared normalisation) loses a channel where all of them have.

    Args:
        of_kernel: path of a kernel -> the variables that follow it, see `channels.Role`.
    """

    def __init__(self, of_kernel: Mapping[str, tuple[Any, ...]]) -> None:
        variables = {id(one): one for several in of_kernel.values() for one in several}
        self._kernels = {
            key: [path for path, several in of_kernel.items() if key in map(id, several)] for key in variables
        }
        self.masked = [(one, Masked(tuple(one.shape))) for one in variables.values()]

    def leave_out(self, path: str) -> None:
        """Forgets a kernel, and what follows no other."""
        for paths in self._kernels.values():
            if path in paths:
                paths.remove(path)
        for variable, masked in self.masked:
            if not self._kernels[id(variable)]:
                masked.let_go()
        self.masked = [(one, masked) for one, masked in self.masked if self._kernels[id(one)]]

    def update(self, masks: Mapping[str, np.ndarray], outputs: Mapping[str, tuple[int, ...]]) -> None:
        """Takes over the channels that the kernels keep.

        Args:
            masks: path of a kernel -> bool of its shape, True where a weight is kept.
            outputs: path -> the axes that are output channels.
        """
        for variable, masked in self.masked:
            kept = [as_matrix(masks[path], outputs[path]).any(0) for path in self._kernels[id(variable)]]
            masked.mask = np.any(kept, axis=0).reshape(variable.shape)


def inner_kernels(roles: Mapping[str, Role], *, tell: bool) -> dict[str, Role]:
    """The kernels whose output channels another layer reads, so that they may die.

    Args:
        roles: path of a kernel -> what it is in the model.
        tell: whether to print which ones are spared.

    Raises:
        ValueError: if there are none.
    """
    inner = {path: role for path, role in roles.items() if role.outputs and not role.gives_output}
    if not inner:
        raise ValueError(
            "channel() must find a layer whose output channels another layer reads; use another pattern, or "
            f"`filters`. Received: {', '.join(roles)}, which give the model's output or are no convolution or dense "
            "kernels."
        )
    spared = ", ".join(path for path in roles if path not in inner)
    if spared and tell:
        print(f"channel() spares {spared}: the model's output, or no convolution or dense kernel")
    return inner
