"""How to prune: settings, and the masks that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from segopt_callbacks.channels import Costs
from segopt_callbacks.pruning.distributions import DISTRIBUTIONS, Distribution, distribute
from segopt_callbacks.pruning.latency import latency_masks
from segopt_callbacks.pruning.masks import global_masks, layer_mask
from segopt_callbacks.pruning.patterns import UNSTRUCTURED, Channel, Pattern
from segopt_callbacks.pruning.regrowth import regrown_mask
from segopt_callbacks.pruning.stacks import Stacks
from segopt_callbacks.rules import did_you_mean, require_one_of

Scope = Literal["layer", "global", "latency"]
Criterion = Literal["magnitude", "saliency"]
Regrowth = Literal["gradient"]


@dataclass(frozen=True)
class Method:
    """What decides which weights go.

    Args:
        pattern: which weights are pruned together.
        scope: `"layer"` (each weight has a sparsity of its own), `"global"` (one threshold for all) or `"latency"`
            (channels that matter least for the time that they take).
        distribution: for `"layer"`: `"uniform"` or `"erk"`.
        criterion: `"magnitude"` or `"saliency"`, the score of a weight.
        regrow: `None`, or `"gradient"`: masks give weights back where the gradient is large.

    Raises:
        ValueError: for an argument outside its range, or two that contradict.

    >>> Method().needs_gradients, Method(criterion="saliency").needs_gradients
    (False, True)
    """

    pattern: Pattern = UNSTRUCTURED
    scope: Scope = "layer"
    distribution: Distribution = "uniform"
    criterion: Criterion = "magnitude"
    regrow: Regrowth | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.pattern, Pattern):
            name = self.pattern if isinstance(self.pattern, str) else getattr(self.pattern, "__name__", None)
            hint = did_you_mean(name, ("block(...)", "n_of_m(...)", "channel()"), is_quoted=False)
            raise ValueError(
                f"`pattern` must be None, block(...), n_of_m(...) or channel().{hint} Received: "
                f"pattern={self.pattern!r}."
            )
        require_one_of("scope", self.scope, get_args(Scope))
        require_one_of("distribution", self.distribution, DISTRIBUTIONS)
        require_one_of("criterion", self.criterion, get_args(Criterion))
        if self.regrow is not None:
            require_one_of("regrow", self.regrow, get_args(Regrowth))
        if self.scope != "layer" and self.distribution != "uniform":
            raise ValueError(
                f'scope="{self.scope}" spreads the zeros itself; leave `distribution` out, or use scope="layer". '
                f"Received: distribution={self.distribution!r}."
            )
        if self.scope == "latency" and not self.prunes_channels:
            raise ValueError(
                'scope="latency" prunes what makes a file faster, whole channels; add pattern=channel(). '
                f"Received: pattern={self.pattern}."
            )
        if self.pattern.least_sparsity and self.distribution == "erk":
            raise ValueError(
                'n_of_m needs the same sparsity in every weight; use distribution="uniform". '
                f"Received: pattern={self.pattern}, distribution='erk'."
            )
        if self.regrow and (self.needs_graph or self.scope != "layer" or self.criterion != "magnitude"):
            raise ValueError(
                'regrow="gradient" exchanges single weights of each layer by magnitude; leave `pattern`, `scope` and '
                f"`criterion` at their defaults. Received: pattern={self.pattern}, scope={self.scope!r}, "
                f"criterion={self.criterion!r}."
            )

    @property
    def needs_gradients(self) -> bool:
        """Whether `masks` wants a record of gradients."""
        return self.regrow is not None or self.criterion == "saliency"

    @property
    def is_shared_out(self) -> bool:
        """Whether the sparsity of one weight depends on which others are pruned."""
        return self.scope != "layer" or self.distribution == "erk"

    @property
    def times_layers(self) -> bool:
        """Whether `masks` wants to know what layers cost."""
        return self.scope == "latency"

    @property
    def needs_graph(self) -> bool:
        """Whether `masks` wants to know which axes are output channels."""
        return self.pattern != UNSTRUCTURED

    @property
    def prunes_channels(self) -> bool:
        """Whether biases and normalisation go with the kernels."""
        return isinstance(self.pattern, Channel)

    def masks(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        sparsity: float,
        *,
        read: Callable[[str], np.ndarray],
        read_mask: Callable[[str], np.ndarray],
        outputs: Mapping[str, tuple[int, ...]],
        record: Mapping[str, np.ndarray] | None = None,
        regrown_fraction: float = 0.0,
        labels: Mapping[str, np.ndarray] | None = None,
        costs: Costs | None = None,
        when: str = "",
    ) -> Iterator[tuple[str, np.ndarray, float]]:
        """The masks of some weights at a sparsity; one after another where each has a sparsity of its own.

        Args:
            shapes: path -> shape.
            sparsity: fraction of zeros over all of them, in [0, 1); of the time that is saved, for `"latency"`.
            read: path -> the weight's value.
            read_mask: path -> its mask so far: bool of its shape, False where it is pruned.
            outputs: path -> the axes that are output channels.
            record: path -> saliency, or the gradient's magnitude where weights regrow; `None` before any gradient,
                when magnitude alone decides.
            regrown_fraction: of the kept weights, in [0, 1].
            labels: path -> the group of each channel, see `Stacks`; those of a group go together.
            costs: of the model's layers; `"latency"` needs them, others do without.
            when: added to a path in errors.

        Yields:
            path; bool of the weight's shape, True where it is kept; the fraction of zeros that was asked for.

        Raises:
            ValueError: for weights that are not finite; the path is named.
        """
        stacks = Stacks(shapes, outputs, labels or {})
        names = {stack: f"{' + '.join(stack.paths)!r} {when}".strip() for stack in stacks}

        def scores(path: str) -> np.ndarray:
            return self._scores(read(path), None if record is None else record[path])

        def pruned(path: str) -> np.ndarray:
            return ~read_mask(path)

        if self.scope != "layer":
            given = [(stacks.scores(stack, scores), stacks.flags(stack, pruned)) for stack in stacks]
            masks = self._over_all(stacks, given, sparsity, list(names.values()), costs)
            for stack, chosen in zip(stacks, masks, strict=True):
                yield from ((path, mask, _zeros(mask)) for path, mask in stacks.take(stack, chosen))
            return
        targets = dict(zip(shapes, distribute(list(shapes.values()), sparsity, self.distribution), strict=True))
        for stack, name in names.items():
            target, gone = stacks.target(stack, targets), stacks.flags(stack, pruned)
            if self.regrow and record is not None and regrown_fraction:
                (path,) = stack.paths
                chosen = regrown_mask(read(path), record[path], target, regrown_fraction, pruned=gone, name=name)
            else:
                found, axes = stacks.scores(stack, scores), stacks.outputs(stack)
                chosen = layer_mask(found, target, self.pattern, pruned=gone, outputs=axes, name=name)
            for path, mask in stacks.take(stack, chosen):
                yield path, mask, _zeros(mask) if stack.columns else target

    def _over_all(
        self,
        stacks: Stacks,
        given: list[tuple[np.ndarray, np.ndarray]],
        sparsity: float,
        names: list[str],
        costs: Costs | None,
    ) -> list[np.ndarray]:
        """The masks of stacks with these scores, and flags of what is pruned, at one sparsity over all of them."""
        found, pruned = (list(one) for one in zip(*given, strict=True))
        outputs = [stacks.outputs(stack) for stack in stacks]
        if costs is None:
            return global_masks(found, sparsity, self.pattern, pruned=pruned, outputs=outputs, names=names)
        labels = [stacks.labels(stack) for stack in stacks]
        return latency_masks(
            found, sparsity, self.pattern, pruned=pruned, outputs=outputs, names=names, labels=labels, costs=costs
        )

    def _scores(self, weight: np.ndarray, saliency: np.ndarray | None) -> np.ndarray:
        if self.criterion == "magnitude" or saliency is None:
            return np.asarray(weight, np.float32)
        return saliency


def _zeros(mask: np.ndarray) -> float:
    return 1 - np.count_nonzero(mask) / mask.size
