"""Training against the rounding of an integer file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from segopt_callbacks import compat
from segopt_callbacks.fit import CompressionCallback, Moment, Stage, step_of
from segopt_callbacks.model import Filters, select_weights, validate_filters
from segopt_callbacks.quantization import kept_ranges, missed
from segopt_callbacks.quantization.few_bits import FewBits
from segopt_callbacks.quantization.finite import is_due, require_finite
from segopt_callbacks.quantization.ranges import Range
from segopt_callbacks.quantization.settings import checked_ranges, validate_settings
from segopt_callbacks.quantization.simulation import Simulation
from segopt_callbacks.quantization.sites import find_sites
from segopt_callbacks.rules import require_verbose

_OBSERVED = 10  # steps, at least, before a range is learned


class QuantizationAwareTrainingCallback(CompressionCallback):
    """Trains a model against the rounding of its integer file; the model itself stays float.

    While the fit runs, kernels are rounded to integers with a scale for each output channel. Each tensor that the file
    will hold is rounded to 256 steps between its lowest and highest value (`fake_quant`), as the inference graph shows
    it: of layers, custom layers and raw operations in `call` alike. Evaluations are rounded too.

    Ranges are averages over training steps, but for answers and small tensors, which keep what was reached
    (`ranges.Range`). Near the end they are held, and BatchNormalization computes with its moving statistics, as in
    inference (Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.1; Krishnamoorthi 2018,
    https://arxiv.org/abs/1806.08342, section 4.3).

    With `learn_ranges`, averages are where ranges begin. They are then trained by gradients, with the weights, inside
    the model's own train_step (Esser et al. 2020, https://arxiv.org/abs/1902.08153, and Bhalgat et al. 2020,
    https://arxiv.org/abs/2004.09576; see `learned_ranges`).

    `ExportQuantizedCallback` in the same fit writes the `int8` file with these ranges; `export_model` takes `ranges`.
    A resumed fit (`BackupAndRestore`) goes on with those of before.

    Args:
        filters: which kernels are rounded, see `weights.select_weights`. Default: every one. Tensors between them are
            rounded in any case.
        begin_step: optimizer step from which on anything is rounded, or `step_by_fraction(0.6)`; before, it observes.
        num_bits: of kernels, 8 or 4. With 4, they end on the values that they were rounded to, at most 15 in a channel,
            for every format. Depthwise and transposed convolutions have 8; kernels that share values keep those.
        learn_ranges: whether ranges are trained: from `begin_step` on, or from the tenth step where that is later.
        freeze_at: when ranges and statistics are held: a fraction of the training, in [0, 1].
        ranges: what `ranges` was after an earlier fit, to go on from.
        verbose: 1 prints how many kernels and tensors are rounded.

    Attributes:
        ranges: name of a tensor -> its lowest and highest value, once a fit has ended.

    Raises:
        ValueError: for an argument outside its range; when training begins, for a model that runs eagerly.

    Example:
        >>> from segopt_callbacks.compat import keras
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> model.compile("sgd", "mse")
        >>> data = np.ones((16, 8), "float32"), np.ones((16, 4), "float32")
        >>> training = QuantizationAwareTrainingCallback()
        >>> history = model.fit(*data, verbose=0, callbacks=[training])
        >>> training.ranges["input_0"]
        (0.0, 1.0)
    """

    stage = Stage.QUANTIZE
    results = ("ranges",)
    sets_target = True

    def __init__(
        self,
        filters: Filters = None,
        *,
        begin_step: int | Moment = 0,
        num_bits: int = 8,
        learn_ranges: bool = False,
        freeze_at: float = 0.8,
        ranges: Mapping[str, tuple[float, float]] | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__()
        validate_filters(filters)
        validate_settings(begin_step, num_bits, freeze_at, learn_ranges)
        self.filters = filters
        self.begin_step = begin_step
        self.num_bits = num_bits
        self.learn_ranges = learn_ranges
        self.freeze_at = freeze_at
        require_verbose(verbose)
        self.verbose = verbose
        self.ranges = checked_ranges(ranges)
        self._given = dict(self.ranges)

    def on_train_begin(self, logs: Any = None) -> None:
        self._simulation: Simulation | None = None
        self._few_bits = FewBits({}, {}, self.num_bits)
        self._taken_up: kept_ranges.States = {}
        self.ranges = dict(self._given)
        super().on_train_begin(logs)

    @property
    def needs_inputs(self) -> bool:
        """The model is traced."""
        return True

    @property
    def needs_fed(self) -> bool:
        """Images of bytes are no tensor that is rounded; what they are cast to is."""
        return True

    def select(self) -> None:
        """Chooses the kernels to round."""
        self._weights = select_weights(self.model, self.filters)

    def prepare(self) -> None:
        """Finds out where an integer file rounds, and makes the model round there."""
        if compat.runs_eagerly(self.model):
            raise ValueError(
                "Quantization-aware training needs a step that is traced; compile without run_eagerly. "
                f"Received: {self.model.name!r}, run_eagerly=True."
            )
        self.told.ranges = self.told.ranges or {}
        sites = find_sites(self.model, self.lifecycle.inputs)
        missed.warn_of_unknown(sites.unknown)
        with compat.strategy_scope(self.model):
            ranges = {
                name: Range(is_learned=self.learn_ranges) for name in sites.activations if name not in sites.fixed
            }
        ranges |= {name: Range(np.array([*pair, 1.0]), is_fixed=True) for name, pair in sites.fixed.items()}
        chosen = None if self.filters is None else set(self._weights)
        self._simulation = Simulation(self.model, sites, ranges, kernels=chosen, num_bits=self.num_bits)
        self._few_bits = FewBits(self._weights, sites.whole, self.num_bits)
        self._restore_ranges()
        self._learn_step = self._first_step_to_learn()
        self._adjust(self.lifecycle.step)
        self.attached.simulate(self._simulation)
        if self.verbose:
            print(f"rounding {len(sites.kernels)} kernels and {len(ranges)} tensors from step {self._begin} on")

    @property
    def _begin(self) -> int:
        return step_of(self.begin_step, self.lifecycle.last_step)

    @property
    def simulation(self) -> Simulation:
        """What rounds.

        Raises:
            RuntimeError: before the first step of a fit.
        """
        if self._simulation is None:
            raise RuntimeError(
                "There are ranges only once a fit has begun. Received: a callback before its first step."
            )
        return self._simulation

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        with self.attached.released_on_error():
            step = self.lifecycle.step_after(batch)
            if self._simulation is not None and is_due(step, self._begin):
                self._require_finite(step)
            if self._simulation is not None and self._adjust(step):
                self.attached.trace_anew()
        if any(kept_ranges.saves_at(backup, step) for backup in self._backups()):
            self._save_ranges()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        with self.attached.released_on_error():
            self._require_finite(self.lifecycle.step)
        self._save_ranges()

    def finish(self, logs: Any = None) -> None:
        """Reads the ranges."""
        simulation = self.simulation
        self._require_finite(self.lifecycle.step)
        simulation.freezes_statistics = False
        missed.warn_of_no_rounding(self._begin, self.lifecycle.step)
        if self._was_rounded:
            self._few_bits.round(self.told.codebooks)
        read = {name: one.read() for name, one in simulation.ranges.items()}
        unseen = [name for name, pair in read.items() if pair is None]
        missed.warn_of_unseen([name for name in unseen if name not in simulation.sites.prepared])
        if self.learn_ranges and not any(one.was_learned for one in simulation.ranges.values()):
            missed.warn_of_no_learning(self._learn_step, self.lifecycle.step, self.freeze_at)
        self.ranges = {name: pair for name, pair in read.items() if pair is not None}
        self.told.ranges = {**(self.told.ranges or {}), **self.ranges}
        for backup in self._backups():
            kept_ranges.drop(backup.backup_dir)

    def holds(self) -> bool:
        """Whether kernels of few bits are as `finish` left them."""
        return not self._was_rounded or self._few_bits.are_rounded(self.told.codebooks)

    def at_target_since(self) -> int | None:
        """The step since which the model is rounded; `None` until then."""
        return self._begin if self.lifecycle.step >= self._begin else None

    @property
    def _was_rounded(self) -> bool:
        return self.lifecycle.step > self._begin

    def _require_finite(self, step: int) -> None:
        require_finite(self.model, self.simulation.ranges, step)

    def _adjust(self, step: int) -> bool:
        """Sets what holds from a step on; returns whether that is new."""
        simulation, last_step = self.simulation, self.lifecycle.last_step
        is_frozen = last_step is not None and step >= self.freeze_at * last_step and step > 0
        learns = self.learn_ranges and not is_frozen and step >= self._learn_step
        before = simulation.rounds, simulation.observes, simulation.learned, simulation.freezes_statistics
        simulation.rounds = step >= self._begin
        simulation.learned = (simulation.learned or simulation.learnable()) if learns else frozenset()
        simulation.observes = not is_frozen
        simulation.freezes_statistics = is_frozen
        return before != (simulation.rounds, simulation.observes, simulation.learned, simulation.freezes_statistics)

    def _first_step_to_learn(self) -> int:
        """At once where a resumed fit has ranges, or all of them were given; else behind the first that observe."""
        known, step = self.simulation.learnable(), self.lifecycle.step
        is_known = bool(known) if step else known == self.simulation.not_fixed()
        return max(self._begin, step if is_known else step + _OBSERVED)

    def _backups(self) -> list[Any]:
        return self.lifecycle.other_callbacks("BackupAndRestore")

    def _restore_ranges(self) -> None:
        ranges, states = self.simulation.ranges, {name: [*pair, 1.0] for name, pair in self._given.items()}
        states |= kept_ranges.renamed(self._taken_up, list(ranges))
        for backup in self._backups() if self.lifecycle.step else []:
            states |= kept_ranges.load(backup.backup_dir, list(ranges))
        for name in (states.keys() & ranges.keys()) - self.simulation.sites.fixed.keys():
            ranges[name].state = states[name]

    def _save_ranges(self) -> None:
        for backup in self._backups() if compat.is_chief(self.model) else []:
            kept_ranges.save(backup.backup_dir, self.kept())

    def kept(self) -> dict[str, list[float]]:
        """The states of all ranges by the tensors' names; none before the first step."""
        return {name: one.state.tolist() for name, one in (self._simulation.ranges if self._simulation else {}).items()}

    def take_up(self, kept: kept_ranges.States) -> None:
        """Goes on from what another fit of this callback has `kept`."""
        self._taken_up = kept
