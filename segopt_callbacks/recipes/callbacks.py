"""A goal -> callbacks for an unchanged `fit`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from segopt_callbacks.errors import SettingsError
from segopt_callbacks.export import ExportQuantizedCallback, is_installed
from segopt_callbacks.fit import CompressionCallback, step_by_fraction
from segopt_callbacks.pruning import PruningScheduleCallback, block, channel, ramp_by_fraction
from segopt_callbacks.quantization import QuantizationAwareTrainingCallback
from segopt_callbacks.recipes.goals import GOALS, Goal, Recipe, sparsity_by_size
from segopt_callbacks.rules import did_you_mean, require_one_of, require_path, require_verbose

LEAST_SAVED = 0.01  # fraction of the time of all layers that channels can save; less is no faster


def recipe(
    goal: Goal = "balanced",
    *,
    export_dir: str | os.PathLike[str] | None = None,
    evaluation_data: Any = None,
    metrics: Mapping[str, Any] | None = None,
    verbose: int = 1,
    **settings: Any,
) -> list[CompressionCallback]:
    """Callbacks that compress any model for a goal, and export it.

    - `"balanced"`: a small integer file, as good as the dense model.
    - `"smallest"`: the fewest bytes after `gzip`, for a loss of about half a hundredth.
    - `"fastest"`: the least time, for wide networks: channels leave the files.

    docs/recipes.md has what each was measured to give. Nothing depends on the data: moments are fractions of the
    training. How much goes may depend on the model, and on how fast its layers are here.

    Args:
        goal: what to reach.
        export_dir: folder of the files; `None` exports nothing.
        evaluation_data: what every file is run and judged on, see `ExportQuantizedCallback`.
        metrics: name -> Keras metric of the files; default: the compiled ones.
        verbose: 1 prints what was chosen.
        settings: those of `Recipe` to choose otherwise, such as `sparsity=0.9`; and further ones of
            `ExportQuantizedCallback`, such as `latency=False`.

    Returns:
        for `fit(callbacks=[*recipe(...)])`, in any order, beside others.

    Raises:
        ValueError: for an unknown goal or setting, or one outside its range.

    Example:
        >>> [type(one).__name__ for one in recipe("smallest", sparsity=0.95, verbose=0)]
        ['PruningScheduleCallback', 'QuantizationAwareTrainingCallback']
    """
    require_verbose(verbose)
    require_path("export_dir", export_dir, or_none=True)
    chosen, further = _chosen(goal, settings)
    callbacks: list[CompressionCallback] = []
    if chosen.sparsity != 0:
        callbacks.append(_pruning(goal, chosen, verbose))
    if chosen.num_bits is not None:
        begin, bits = step_by_fraction(chosen.round_begin), chosen.num_bits
        callbacks.append(QuantizationAwareTrainingCallback(num_bits=bits, begin_step=begin, freeze_at=chosen.hold_at))
    judged = {"evaluation_data": evaluation_data, "metrics": metrics}
    if export_dir is not None:
        callbacks.append(ExportQuantizedCallback(export_dir, chosen.formats, verbose=verbose, **judged, **further))
    elif names := [*further, *(name for name, given in judged.items() if given is not None)]:
        raise ValueError(f"Files need `export_dir`; name a folder. Received: {', '.join(names)}, and export_dir=None.")
    if verbose:
        files = f"; files: {', '.join(chosen.formats)} in {os.fspath(export_dir)}" if export_dir is not None else ""
        print(f"recipe {goal}: {chosen}{files}")
    return callbacks


def _pruning(goal: Goal, chosen: Recipe, verbose: int) -> PruningScheduleCallback:
    if chosen.in_channels:
        ramp = ramp_by_fraction(_by_time(goal, chosen, verbose), chosen.prune_begin, chosen.prune_end)
        pattern = channel(multiple=8)
        return PruningScheduleCallback(ramp, pattern=pattern, scope="latency", criterion="saliency")
    final = _by_size(goal, chosen, verbose) if chosen.sparsity is None else chosen.sparsity
    ramp = ramp_by_fraction(final, chosen.prune_begin, chosen.prune_end)
    return PruningScheduleCallback(ramp, distribution="erk", pattern=block(2, 1) if chosen.in_pairs else None)


def _by_time(goal: Goal, chosen: Recipe, verbose: int) -> Callable[[float], float]:
    """Chooses how much of the time goes once it is known how much can, and says so."""

    def choose(most: float) -> float:
        if most < LEAST_SAVED:
            raise SettingsError(
                f'recipe("{goal}") prunes channels for their time, and those of this model save less than '
                f'{LEAST_SAVED:.0%} here; use recipe("balanced"). Received: {most:.1%}.'
            )
        share = most * (chosen.sparsity or 0.0)
        if verbose:
            print(f"recipe {goal}: {share:.1%} of the time of all layers, of {most:.1%} that channels can save here")
        return share

    return choose


def _by_size(goal: Goal, chosen: Recipe, verbose: int) -> Callable[[int], float]:
    """Chooses the sparsity once the model is there, and says so."""

    def choose(weights: int) -> float:
        sparsity = sparsity_by_size(weights, chosen.kept)
        if verbose:
            print(f"recipe {goal}: {sparsity:.1%} zeros, for {weights:,} weights")
        return sparsity

    return choose


def _chosen(goal: Any, settings: dict[str, Any]) -> tuple[Recipe, dict[str, Any]]:
    """The recipe with what was overridden, and what is left for the export.

    Raises:
        ValueError: for a name that neither knows, or two settings of which one has no effect.
    """
    require_one_of("goal", goal, GOALS)
    known = {one.name for one in fields(Recipe)}
    further = {name: value for name, value in settings.items() if name not in known}
    exports = ExportQuantizedCallback.__init__.__kwdefaults__ or {}
    for name in further:
        if name not in exports:
            hint = did_you_mean(name, [*known, *exports]) or f" Its own are {', '.join(sorted(known))}."
            raise ValueError(f"A recipe takes its own settings and those of the export.{hint} Received: {name!r}.")
    overridden = {name: value for name, value in settings.items() if name in known}
    chosen = replace(GOALS[goal], **{"formats": goal_formats(goal), **overridden})
    if "kept" in overridden and chosen.sparsity is not None:
        raise ValueError(
            "`kept` is for a `sparsity` that follows from the number of weights; leave one of the two out. "
            f"Received: kept={chosen.kept}, sparsity={chosen.sparsity}."
        )
    return chosen, further


def goal_formats(goal: Goal) -> tuple[Any, ...]:
    """The files that a goal is for, of which the packages are installed.

    >>> goal_formats("balanced")
    ('int8',)
    """
    return tuple(name for name in GOALS[goal].formats if is_installed(name))
