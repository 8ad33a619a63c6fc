"""Weight sharing during the fit: clustered at a step, centroids fine-tuned for the rest of it."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np

from segopt_callbacks import compat
from segopt_callbacks.clustering.callback import ClusteringCallback
from segopt_callbacks.clustering.clustered import NumberOfClusters, Sharing
from segopt_callbacks.clustering.folding import HeldScale
from segopt_callbacks.clustering.shared import Clustered
from segopt_callbacks.fit import Moment, Unshared, step_of, validate_step, warn_of_no_constraint
from segopt_callbacks.model import Filters


class ClusterScheduleCallback(ClusteringCallback):
    """Shares each weight among few values from a step on, and fine-tunes these values for the rest of the fit.

    From `begin_step` on, after each optimizer step and inside the compiled one, every weight of a cluster is the mean
    of what the optimizer made of its members (`shared.Clustered` tells how that relates to Han et al. 2016). So
    there are never more values than asked for, and zeros stay zeros. Pruning may go on meanwhile: weights are clustered
    anew whenever other ones are pruned.

    Where a BatchNormalization is folded into its kernel (see `cluster_model`), it computes with its moving statistics
    from `begin_step` on, in training as in inference, so that its scale stays as it was: the centroids and the offset
    train. The step is traced anew for that. In a step that cannot be (a loop of your own), its `gamma` follows its
    moving variance instead.

    Steps count from the beginning of the fit. A resumed fit takes the clusters from the weights; with `reassign_every`
    the sums behind the assignment begin anew.

    Args:
        number_of_clusters: most distinct values in each weight, at least 2, or a mapping from regexes to numbers.
        filters: which weights, see `weights.select_weights`. Default: every kernel.
        begin_step: optimizer step at which weights are clustered, 0 is before the first; or `step_by_fraction(0.8)`.
        per_channel: `True` for as many values in each output channel, or an axis.
        preserve_sparsity: zeros stay zeros, and zero is one of the values.
        initialization: `"optimal"`, or for comparison one of tfmot's.
        fold_batch_norm: moves the scale of a BatchNormalization behind a kernel into it first.
        reassign_every: steps from one new assignment of weights to clusters to the next, by what each would be had it
            kept its own updates (as tfmot does at every step); eight bytes per weight. Default: it stays.
        verbose: 1 prints what was done to each weight; `report` has it too.

    Raises:
        ValueError: for an argument outside its range.

    Example:
        >>> from segopt_callbacks.compat import keras
        >>> model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64)])
        >>> model.compile("sgd", "mse")
        >>> data = np.ones((64, 64), "float32"), np.ones((64, 64), "float32")
        >>> history = model.fit(*data, verbose=0, epochs=2, callbacks=[ClusterScheduleCallback(8, begin_step=2)])
        >>> len(np.unique(compat.read(model.weights[0])))
        8
    """

    sets_target = True

    def __init__(
        self,
        number_of_clusters: NumberOfClusters = 16,
        filters: Filters = None,
        *,
        begin_step: int | Moment,
        per_channel: bool | int = False,
        preserve_sparsity: bool = True,
        initialization: Any = "optimal",
        fold_batch_norm: bool = True,
        reassign_every: int | None = None,
        verbose: int = 0,
    ) -> None:
        sharing = Sharing(number_of_clusters, filters, per_channel, preserve_sparsity, initialization, fold_batch_norm)
        super().__init__(sharing, verbose)
        validate_step("begin_step", begin_step)
        _require_updates(reassign_every)
        self.begin_step = begin_step
        self.reassign_every = reassign_every

    def on_train_begin(self, logs: Any = None) -> None:
        self._projections: dict[str, Clustered] = {}
        self._unshared: dict[str, Unshared] = {}
        self._held: dict[str, HeldScale] = {}
        self._before: dict[str, np.ndarray] = {}
        self._begun_at: int | None = None
        self._last_assigned = 0
        self._is_checked = self._is_bypassed = False
        super().on_train_begin(logs)

    def prepare(self) -> None:
        """Attaches to the weights; clusters them where the fit has come that far already."""
        super().prepare()
        if (last_step := self.lifecycle.last_step) is not None and self._begin > last_step:
            warnings.warn(
                f"Weights are clustered at the end only: begin_step={self._begin}, and this fit has {last_step} "
                "steps; begin earlier, or train longer.",
                stacklevel=2,
            )
        self._attach()
        if self.begins_at_once:  # a scale that was moved into a kernel stays there
            unfolded = self._weights.keys() - self.clustered.folds.keys()
            self._before = {path: compat.read(self._weights[path]) for path in unfolded}
        self._begin_if_due(self.lifecycle.step)

    def _attach(self) -> None:
        with compat.strategy_scope(self.model):
            for path, weight in self._weights.items():
                self._projections[path] = Clustered(tuple(weight.shape), self.clustered.most_values(path))
            if compat.number_of_replicas(self.model) == 1:  # each replica has a moving variance of its own
                layers = {path: fold.layer for path, fold in self.clustered.folds.items()}
                self._held = {path: HeldScale(one) for path, one in layers.items() if one.gamma is not None}
        self.attached.project(self.stage, [(self._weights[path], one) for path, one in self._projections.items()])
        for fold in self.clustered.folds.values():
            self.attached.on_release(
                compat.freeze_statistics(fold.layer, functools.partial(getattr, fold, "is_frozen"))
            )
        gammas = {path: self.clustered.folds[path].layer.gamma for path in self._held}
        self.attached.project(self.stage, [(gammas[path], one) for path, one in self._held.items()])
        if self.reassign_every is not None:
            self._unshared = {path: self.attached.remember_unshared(one) for path, one in self._weights.items()}

    @property
    def _begin(self) -> int:
        return step_of(self.begin_step, self.lifecycle.last_step)

    @property
    def begins_at_once(self) -> bool:
        """Whether weights are clustered before the first step."""
        return self._begin <= self.lifecycle.step

    def leave_out(self, paths: set[str]) -> set[str]:
        """Lets go of weights that are not trained for inference; one that was clustered has its own values again."""
        weights = dict(self._weights)
        left = super().leave_out(paths)
        for path in left & self._projections.keys():
            self._projections.pop(path).let_go()
            if path in self._before:
                compat.assign(weights[path], self._before[path])
        return left

    def on_settled(self) -> None:
        """Keeps no values of before."""
        self._before = {}

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.lifecycle.settle()
        if self._begun_at is not None and (not self._is_checked or self._is_bypassed):
            self._check_step()
        with self.attached.released_on_error():
            step = self.lifecycle.step_after(batch)
            if self._begin_if_due(step) and self.clustered.folds:
                self.attached.trace_anew()
            if self.reassign_every and self._begun_at is not None and step - self._last_assigned >= self.reassign_every:
                self._reassign(step)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._begun_at is not None:
            self._check_step()

    def on_masks_changed(self) -> None:
        """Clusters anew: there are zeros where there were none."""
        if self._begun_at is not None:
            for path in self._weights.keys() & self.told.masked.keys():
                self._share(path, self._unshared_values(path))

    def finish(self, logs: Any = None) -> None:
        """Sees to it that weights are clustered as they are stored, whoever has replaced them since the last step."""
        for path in self._weights:
            fold = self.clustered.folds.get(path)
            if self._begun_at is None or not self.clustered.has_few_values(path) or (fold and not fold.is_held()):
                self._warn_of_other_weights(path)
                self.clustered.absorb_scale(path)
                self._share(path)
            else:
                self.clustered.look_again(path)
        self.tell()

    def at_target_since(self) -> int | None:
        """The step since which weights are clustered; `None` until then."""
        return self._begun_at

    def _begin_if_due(self, step: int) -> bool:
        """Clusters when it is time; returns whether that was now."""
        if self._begun_at is not None or step < self._begin:
            return False
        self._begun_at, self._last_assigned = step, step
        for path in self._weights:
            self.clustered.absorb_scale(path)
            self._share(path)
            fold = self.clustered.folds.get(path)
            if fold is not None:
                fold.is_frozen = fold.scale is not None
            if path in self._held and fold is not None and fold.scale is not None:
                self._held[path].hold(fold.scale)
        self.tell()
        return True

    def _reassign(self, step: int) -> None:
        self._last_assigned = step
        for path in self._weights:
            self._share(path, self._unshared_values(path))
        self.tell()

    def _unshared_values(self, path: str) -> np.ndarray:
        """What the weight would be without clusters, where that is known; its zeros stay."""
        weight = compat.read(self._weights[path])
        if path not in self._unshared:
            return weight
        values = self._unshared[path].read()
        return np.where(weight == 0, weight, values) if self.sharing.preserve_sparsity else values

    def _share(self, path: str, values: np.ndarray | None = None) -> None:
        values = compat.read(self._weights[path]) if values is None else values
        self.clustered.cluster(path, values)
        clusters = self.clustered.clusters[path]
        is_zero = (clusters.centroids == 0) & self.sharing.preserve_sparsity
        self._projections[path].share(clusters.assignment, is_zero)
        self._is_checked = False
        if path in self._unshared:
            self._unshared[path].restart(compat.read(self._weights[path]), values)

    def _check_step(self) -> None:
        """After new clusters: does the training step keep them? If not, put them back at each batch."""
        self._is_checked = True
        kept = {path: np.asarray(projection(self._weights[path])) for path, projection in self._projections.items()}
        if all(np.array_equal(compat.read(self._weights[path]), value) for path, value in kept.items()):
            return
        for path, value in kept.items():
            compat.assign(self._weights[path], value)
        if not self._is_bypassed:
            self._is_bypassed = True
            warn_of_no_constraint("Weights are clustered")

    def _warn_of_other_weights(self, path: str) -> None:
        if self._begun_at is not None and not self.clustered.has_few_values(path):
            warnings.warn(
                "Another callback replaced the weights at the end of training; they were clustered once more, to "
                "values that no epoch evaluated. If it restores the best epoch, let only epochs with clustered weights "
                "count: "
                f"AtTargetSparsity(EarlyStopping(...)). Received: {path!r}.",
                stacklevel=2,
            )


def _require_updates(value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"`reassign_every` must be a number of steps, at least 1. Received: reassign_every={value!r}.")
