"""What dies with a channel: biases, scales and offsets, kept zero where their kernels are pruned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from segopt_callbacks import compat
from segopt_callbacks.channels import ChannelGroups
from segopt_callbacks.errors import SettingsError
from segopt_callbacks.model import Role
from segopt_callbacks.pruning.masked import Masked
from segopt_callbacks.pruning.patterns import as_matrix


class Followers:
    """Variables of one value for each channel, with a mask each.

    A variable that follows several kernels (a shared normalisation) loses a channel where all of them have. So does one
    behind a sum of them, for each group of channels.

    Args:
        of_kernel: path of a kernel -> the variables that follow it, see `model.Role`.
        groups: of the kernels' channels.
    """

    def __init__(self, of_kernel: Mapping[str, tuple[Any, ...]], groups: ChannelGroups) -> None:
        direct = {compat.identity(one): one for several in of_kernel.values() for one in several}
        self.groups = groups
        variables = direct | {compat.identity(one): one for one, _ in groups.vectors}
        self._kernels = {
            key: [path for path, several in of_kernel.items() if key in map(compat.identity, several)]
            for key in variables
        }
        self.masked = [(one, Masked(tuple(one.shape))) for one in variables.values()]

    def leave_out(self, path: str) -> None:
        """Forgets a kernel, and what follows no other."""
        self.groups = self.groups.without([path])
        for paths in self._kernels.values():
            if path in paths:
                paths.remove(path)
        grouped = {compat.identity(one) for one, labels in self.groups.vectors if (labels >= 0).any()}
        for variable, masked in self.masked:
            if not self._follows(variable, grouped):
                masked.let_go()
        self.masked = [(one, masked) for one, masked in self.masked if self._follows(one, grouped)]

    def update(self, masks: Mapping[str, np.ndarray], outputs: Mapping[str, tuple[int, ...]]) -> None:
        """Takes over the channels that the kernels keep.

        Args:
            masks: path of a kernel -> bool of its shape, True where a weight is kept.
            outputs: path -> the axes that are output channels.
        """
        kept = {path: as_matrix(mask, outputs[path]).any(0) for path, mask in masks.items()}
        labels = [each[kept[path]] for path, each in self.groups.kernels.items() if path in kept]
        alive = np.concatenate([*labels, [-1]])
        grouped = {compat.identity(one): np.isin(each, alive) for one, each in self.groups.vectors}
        for variable, masked in self.masked:
            key = compat.identity(variable)
            paths = self._kernels[key]
            direct = np.any([kept[path] for path in paths], axis=0) if paths else np.ones(masked.mask.size, bool)
            masked.mask = (direct & grouped.get(key, True)).reshape(variable.shape)

    def _follows(self, variable: Any, grouped: set[int]) -> bool:
        key = compat.identity(variable)
        return bool(self._kernels[key]) or key in grouped


def inner_kernels(roles: Mapping[str, Role], *, tell: bool) -> dict[str, Role]:
    """The kernels whose output channels another layer reads, so that they may die.

    Args:
        roles: path of a kernel -> what it is in the model.
        tell: whether to print which ones are spared.

    Raises:
        SettingsError: if there are none.
    """
    inner = {path: role for path, role in roles.items() if role.outputs and not role.gives_output}
    if not inner:
        raise SettingsError(
            "channel() must find a layer whose output channels another layer reads; use another pattern or recipe, or "
            f"`filters`. Received: {', '.join(roles)}, which give the model's output or are no convolution or dense "
            "kernels."
        )
    spared = ", ".join(path for path in roles if path not in inner)
    if spared and tell:
        print(f"channel() spares {spared}: the model's output, or no convolution or dense kernel")
    return inner
