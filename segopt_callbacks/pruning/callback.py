"""Pruning during the fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from segopt_callbacks import compat
from segopt_callbacks.fit import CompressionCallback, GradientRecord, Stage, warn_of_no_constraint
from segopt_callbacks.model import Filters, by_first_match, named_alone, roles, select_weights, validate_filters
from segopt_callbacks.pruning.followers import inner_kernels
from segopt_callbacks.pruning.groups import Group, Groups, grouped, validate_schedules
from segopt_callbacks.pruning.methods import Criterion, Distribution, Method, Regrowth, Scope
from segopt_callbacks.pruning.patterns import UNSTRUCTURED, Pattern
from segopt_callbacks.pruning.pruned import PrunedWeights
from segopt_callbacks.pruning.regrowth import end_of_regrowth, regrown_fraction
from segopt_callbacks.pruning.schedules import AnySchedule
from segopt_callbacks.rules import require_verbose


class PruningScheduleCallback(CompressionCallback):
    """Raises the sparsity of a model's weights along a schedule while it trains, and holds it exactly.

    Works on any model, built or not; nothing is wrapped. After each optimizer step, inside the compiled step, pruned
    weights are zero. Epoch logs gain `sparsity`: the fraction of zeros over the selected weights. A constraint of the
    user's own still applies, before the zeros, and is alone again after the fit.

    Steps count from the beginning of the fit. A fit that is resumed (`BackupAndRestore`, or `initial_epoch` and a
    model that was restored with its optimizer) continues with the masks and the step of before.

    Args:
        schedule: fraction of zeros in [0, 1), pruned at once and held; `ramp_by_epoch(...)` or `ramp_by_fraction(...)`;
            or a callable `step -> (should_prune, sparsity)`, such as tfmot's `PolynomialDecay`. Or a mapping from a
            regex on the weight's path to any of these: the first that matches counts, and a weight that none matches
            is left alone. A schedule's `end_step` is always pruned at, be it a multiple of its `frequency` or not.
        filters: which weights, see `weights.select_weights`. Default: every kernel, that is every trainable
            floating-point weight of rank 2 or more that is no embedding, bias or scale.
        pattern: `None` (each weight by itself), `block(rows, columns)`, `n_of_m(n, m)` or `channel()`.
        scope: `"layer"` (each weight has a sparsity of its own), `"global"` (one threshold, their mean has it), or
            `"latency"`: for `channel()`. Layers are timed here; the schedule is the fraction of their time that goes.
        distribution: for `"layer"`: `"uniform"` (each weight has the schedule's sparsity, as in tfmot) or `"erk"`
            (small weights keep more and large ones less, their mean has it: far better above 80%).
        criterion: `"magnitude"`, or `"saliency"`: `|weight * gradient|`, summed over the steps between two updates of
            the masks; it takes four bytes per weight. Before the first step magnitude decides.
        regrow: `None`, or `"gradient"` (RigL): at each update, `0.15 * (1 + cos(pi * step / end))` of the kept weights
            are exchanged for those of largest gradient; `end` is the schedule's `end_step`, or 3/4 of the training.
        verbose: 1 prints a line for every change of the masks.

    Raises:
        ValueError: for an argument outside its range, or two that contradict.

    Example:
        >>> import numpy as np
        >>> from segopt_callbacks.compat import keras
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> model.compile("sgd", "mse")
        >>> data = np.ones((16, 8), "float32"), np.ones((16, 4), "float32")
        >>> history = model.fit(*data, verbose=0, callbacks=[PruningScheduleCallback(0.75)])
        >>> history.history["sparsity"]
        [0.75]
    """

    stage = Stage.PRUNE
    sets_target = True

    def __init__(
        self,
        schedule: AnySchedule | Mapping[str, AnySchedule],
        filters: Filters = None,
        *,
        pattern: Pattern | None = None,
        scope: Scope = "layer",
        distribution: Distribution = "uniform",
        criterion: Criterion = "magnitude",
        regrow: Regrowth | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__()
        validate_filters(filters)
        self.schedule = schedule
        self.filters = filters
        self.method = Method(UNSTRUCTURED if pattern is None else pattern, scope, distribution, criterion, regrow)
        require_verbose(verbose)
        self.verbose = verbose
        self._schedules = validate_schedules(schedule, self.method)

    def on_train_begin(self, logs: Any = None) -> None:
        self._weights: dict[str, Any] = {}
        self._groups = Groups()
        self._pruned: PrunedWeights | None = None
        self._record: GradientRecord | None = None
        self._is_checked = self._is_bypassed = False
        super().on_train_begin(logs)

    @property
    def needs_inputs(self) -> bool:
        """Whether `prepare` traces the model."""
        return self.method.needs_graph

    @property
    def needs_fed(self) -> bool:
        """Layers are timed on images of the size that is fed; the model may take any."""
        return self.method.times_layers

    def select(self) -> None:
        """Chooses the weights to prune."""
        chosen = select_weights(self.model, self.filters)
        matched = set().union(*by_first_match(list(self._schedules), chosen).values())
        self._weights = {path: weight for path, weight in chosen.items() if path in matched}
        self.lifecycle.claim(self, self._weights)

    def leave_out(self, paths: set[str]) -> set[str]:
        """Lets go of weights that are not trained for inference, unless a filter or a schedule names them."""
        left = paths & self._weights.keys()
        rules = list(self._schedules) if isinstance(self.schedule, Mapping) else None
        left -= named_alone(self.model, rules if self.filters is None else self.filters, self._weights, left)
        self._weights = {path: weight for path, weight in self._weights.items() if path not in left}
        self.lifecycle.unclaim(self, left)
        if self._pruned is not None:
            self._pruned.leave_out(left)
            for path in left:
                self.told.masked.pop(path, None)
                self.told.targets.pop(path, None)
            for group in self._groups.leave_out(left):
                if self.method.is_shared_out and group.timeline.sparsity:
                    self._prune(group, group.timeline.sparsity)
            self._groups.require_reachable(self.pruned.most_saved(self.method.pattern.multiple))
        return left

    def on_settled(self) -> None:
        """Zeros what is pruned, if that had to wait for the first step."""
        self.pruned.forget_before()

    def prepare(self) -> None:
        """Attaches a mask to each weight; what an interrupted run has pruned goes first, so its masks come back."""
        found = roles(self.model, self.lifecycle.inputs, self._weights) if self.method.needs_graph else {}
        if self.method.prunes_channels:
            found = inner_kernels(found, tell=bool(self.verbose))
            self._weights = {path: self._weights[path] for path in found}
        inputs = self.lifecycle.inputs if self.method.prunes_channels else None
        self._pruned = PrunedWeights(self.model, self._weights, found, inputs, times_layers=self.method.times_layers)
        if self.lifecycle.left_alone.waits:
            self._pruned.forget_before()  # nothing is changed before it is known
        if self.lifecycle.step:
            self._pruned.take_marks()
        self.told.masked.update(self._pruned.masked)
        self.attached.project(self.stage, self._pruned.constraints)
        if self.method.needs_gradients:
            self._record = GradientRecord(self.model, self._weights, keeps_saliency=self.method.regrow is None)
            self.attached.on_release(self._record.detach)
        self._start_schedules()

    def _start_schedules(self) -> None:
        given = {"steps": None, "epochs": 1} | (self.params or {})
        most, steps, epochs = self.pruned.most_saved(self.method.pattern.multiple), given["steps"], given["epochs"]
        self._groups = grouped(self._schedules, self._weights, most, steps_per_epoch=steps, epochs=epochs)
        if self.lifecycle.last_step is not None:
            self._groups.warn_if_cut_short(self.lifecycle.last_step)
        self._follow_schedules(self.lifecycle.step)
        for path in self._weights.keys() - self.told.targets.keys():  # not yet
            self.pruned.masked[path].mask = np.ones(self._weights[path].shape, bool)
        self._apply_masks()

    @property
    def pruned(self) -> PrunedWeights:
        """The weights and their masks.

        Raises:
            RuntimeError: before the first step of a fit.
        """
        if self._pruned is None:
            raise RuntimeError(
                "Weights have masks only once a fit has begun. Received: a callback before its first step."
            )
        return self._pruned

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.lifecycle.settle()
        if self._pruned is not None and (not self._is_checked or self._is_bypassed):  # a loop may build it then
            self._check_step()
        with self.attached.released_on_error():
            self._follow_schedules(self.lifecycle.step_after(batch))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._check_step()
        if logs is not None:
            logs["sparsity"] = self.pruned.sparsity()

    def finish(self, logs: Any = None) -> None:
        """Zeros the pruned weights, should somebody have replaced them since the last step, and counts the zeros."""
        if not self.holds() and not self.pruned.take_zeros():
            self.pruned.warn_of_other_weights()
        self.pruned.project()
        self._groups.warn_if_cut_short(self.lifecycle.step)
        self._groups.warn_if_incomplete(self.method.pattern)
        self.pruned.verify()

    def holds(self) -> bool:
        """Whether every pruned weight is zero now, and every average that the optimizer keeps of it."""
        return self.pruned.hold()

    def at_target_since(self) -> int | None:
        """The step since which all weights have the sparsity that their schedule sets last; `None` until then."""
        return self._groups.at_target_since(self.lifecycle.last_step)

    def _follow_schedules(self, step: int) -> None:
        for group, sparsity in self._groups.due(step):
            self._prune(group, sparsity)
            self._is_checked = False

    def _prune(self, group: Group, sparsity: float) -> None:
        record = self._record.read(group.paths) if self._record else None
        step, ends = self.lifecycle.step, (group.timeline.end_step, self.lifecycle.last_step)
        chosen = self.method.masks(
            {path: tuple(self._weights[path].shape) for path in group.paths},
            sparsity,
            read=lambda path: compat.read(self._weights[path]),
            read_mask=lambda path: self.pruned.masked[path].mask,
            outputs=self.pruned.outputs,
            record=record,
            regrown_fraction=regrown_fraction(step, end_of_regrowth(*ends)) if self.method.regrow else 0.0,
            labels=self.pruned.labels,
            costs=self.pruned.costs,
            when=f"at step {step}",
        )
        for path, mask, target in chosen:
            self.pruned.masked[path].mask = mask
            self.told.targets[path] = target
        self._apply_masks()
        self.lifecycle.masks_changed()
        if self._record:
            self._record.clear(group.paths)
        if self.verbose:
            print(f"step {step}: pruned to sparsity {self.pruned.sparsity():.4f}")

    def _apply_masks(self) -> None:
        """Before the first step of a model that may leave weights aside, they have zeros from that step on."""
        self.pruned.apply_masks(at_once=not self.lifecycle.left_alone.waits)

    def _check_step(self) -> None:
        """After a change of the masks: does the training step keep the zeros? If not, put them back at each batch."""
        self._is_checked = True
        if self.holds():
            return
        self.pruned.project()
        if not self._is_bypassed:
            warn_of_no_constraint("Pruned weights are zeroed")
        self._is_bypassed = True
