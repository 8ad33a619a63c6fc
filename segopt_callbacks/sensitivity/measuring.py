"""How sensitive each weight is: the metrics of a trained model with one weight at a time compressed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segopt_callbacks import compat
from segopt_callbacks.data import Evaluation, Feed, as_evaluation_data, validate_evaluation
from segopt_callbacks.errors import printable
from segopt_callbacks.model import Filters, require_built, roles, select_weights, validate_filters
from segopt_callbacks.processes import remembered_interrupts
from segopt_callbacks.records import Sensitivity, Treated, change_text, choose_monitor, decimals, validate_monitor
from segopt_callbacks.rules import require_verbose
from segopt_callbacks.sensitivity.treatments import (
    BITS,
    TREATMENTS,
    Name,
    Treatment,
    treatment_of,
    validate_treatments,
)


def layer_sensitivity(
    model: compat.Model,
    evaluation_data: Any,
    *,
    metrics: Mapping[str, Any] | None = None,
    monitor: str | None = None,
    higher_is_better: bool | None = None,
    treatments: Sequence[Name] | Name = TREATMENTS,
    sparsity: float = 0.8,
    number_of_clusters: int = 8,
    filters: Filters = None,
    max_examples: int | None = None,
    batch_size: int | None = None,
    verbose: int = 0,
) -> Sensitivity:
    """Evaluates a trained model with one weight at a time rounded, pruned or clustered.

    Takes one evaluation for each weight and treatment, and one of the model as it is. The model's functions are traced
    once, and every weight is put back bit for bit, also after an error or Ctrl-C.

    What is done to a weight: `"int8"` and `"int4"` round it with a scale for each output channel, as LiteRT stores it
    (Jacob et al. 2018; tensors between operations stay float); `"prune"` zeros the smallest magnitudes; `"cluster"`
    leaves the values of least squared error, zeros kept. Nothing is trained afterwards, and no BatchNormalization is
    folded: fine-tuning wins back much of a loss, so read the order of the weights rather than the size of the losses.

    Args:
        model: a built Keras model.
        evaluation_data: what `fit` takes as `validation_data`: `(x, y[, sample_weight])` or a dataset of batches.
        metrics: name -> Keras metric. Default: what `model.evaluate` gives, the loss and the compiled metrics.
        monitor: the metric by which weights are judged. Default: the only one that is no loss, else the loss.
        higher_is_better: whether more of it is better. Default: told by its name (`"mIoU"`, `"mean_squared_error"`).
        treatments: names out of `treatments.TREATMENTS`.
        sparsity: fraction of zeros that `"prune"` makes, in (0, 1).
        number_of_clusters: most distinct values that `"cluster"` leaves, at least 2.
        filters: which weights, see `weights.select_weights`. Default: every kernel.
        max_examples: how many examples are used, the first ones; those of a dataset are kept in memory. Default: all.
        batch_size: of arrays. Default: 32.
        verbose: 1 prints a line for each weight, and the table.

    Returns:
        the metrics and changes, and `spare` to make `filters` of them.

    Raises:
        ValueError: for an argument outside its range, a model that is not built, or not compiled where `metrics` is
            `None`, or weights or a monitored metric that are not finite.

    Example:
        >>> from segopt_callbacks.compat import keras
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8), keras.layers.Dense(2)])
        >>> model.compile("sgd", "mse")
        >>> x = np.random.default_rng(0).normal(size=(16, 8)).astype("float32")
        >>> sensitivity = layer_sensitivity(model, (x, model.predict(x, verbose=0)), treatments=["int8", "prune"])
        >>> all(loss > 0 for loss in sensitivity.losses("prune").values())
        True
    """
    require_verbose(verbose)
    validate_filters(filters)
    validate_monitor(monitor, higher_is_better)
    names = validate_treatments(treatments, sparsity, number_of_clusters)
    evaluation_data = as_evaluation_data(evaluation_data)  # a generator is read once, for all of them
    validate_evaluation(evaluation_data, metrics, max_examples, batch_size)
    require_built(model)
    weights = select_weights(model, filters)
    evaluation = Evaluation(model, evaluation_data, metrics, max_examples=max_examples, batch_size=batch_size)
    untreated = evaluation.run()
    monitor, higher_is_better = choose_monitor(list(untreated), monitor, higher_is_better)
    if not math.isfinite(untreated[monitor]):
        raise ValueError(
            "The monitored metric must be finite for the model as it is; look for NaN in weights and data, and for "
            f"empty data. Received: {monitor}={untreated[monitor]}."
        )
    axes = _channel_axes(model, evaluation_data, weights) if BITS.keys() & set(names) else {}
    treats = {name: treatment_of(name, sparsity, number_of_clusters) for name in names}
    rows = []
    with remembered_interrupts() as check:
        for number, (path, weight) in enumerate(weights.items(), 1):
            told = []
            for name, treat in treats.items():
                found = _measure(path, weight, treat, axes.get(path, (-1,)), evaluation) or untreated
                check()
                change = found[monitor] - untreated[monitor]
                rows.append(Treated(path, math.prod(weight.shape), name, found, change))
                told.append(f"{name} {change_text(change, decimals(untreated[monitor]))}")
            if verbose:
                print(printable(f"sensitivity {number}/{len(weights)}: {path}: {', '.join(told)}"), flush=True)
    sensitivity = Sensitivity(
        monitor, higher_is_better, untreated, tuple(rows), evaluation.examples, float(sparsity), number_of_clusters
    )
    if verbose:
        print(f"\n{sensitivity.table()}\n", flush=True)
    return sensitivity


def _channel_axes(model: Any, evaluation_data: Any, weights: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Path -> the axes that are output channels; the last one where no known operation reads a weight."""
    inputs = Feed(model, evaluation_data, None).specs
    return {path: role.outputs or (-1,) for path, role in roles(model, inputs, weights).items()}


def _measure(
    path: str, weight: Any, treat: Treatment, channel_axes: tuple[int, ...], evaluation: Evaluation
) -> dict[str, float] | None:
    """The metrics while `weight` is treated; `None` where that changes nothing."""
    before = compat.read(weight)
    if not np.isfinite(before).all():
        raise ValueError(
            "Weights must be finite to be rounded, pruned or clustered; lower the learning rate, or clip the "
            f"gradients. Received: {path!r} with NaN or infinite values."
        )
    treated = treat(before, channel_axes)
    if np.array_equal(treated, before):
        return None
    try:
        try:
            compat.assign(weight, treated)
            return evaluation.run()
        finally:
            compat.assign(weight, before)
    finally:
        compat.assign(weight, before)  # for a Ctrl-C that came while it was put back
