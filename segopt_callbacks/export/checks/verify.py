"""Runs every written file on the same data as the model in memory, and compares."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.data import Feed, MetricStates, cast_inputs, metrics_or_compiled
from segopt_callbacks.errors import FormatError, first_line
from segopt_callbacks.export.checks.agreement import Agreement, OutputAgreement
from segopt_callbacks.export.checks.classes import criteria_of, outputs_of_classes
from segopt_callbacks.export.checks.disagreement import Disagreement, worse
from segopt_callbacks.export.checks.fingerprint import Fingerprint
from segopt_callbacks.export.checks.nature import SAME, Nature, apart, draw_faults
from segopt_callbacks.export.checks.repeated import once
from segopt_callbacks.export.checks.running import Waiting
from segopt_callbacks.export.target import Runner
from segopt_callbacks.model import input_names, output_names

MODEL = "model"  # the artifact that is the model in memory


@dataclass
class Verification:
    """What came out of `verify`.

    Attributes:
        examples: how many were run.
        results: file -> differences and `metrics`; `MODEL` has metrics only.
        causes: file -> why it failed.
        example: the inputs of the first example, batch 1.
        disagreements: file -> the example on which its classes differ most from the model's, where any do.
        fingerprint: of `inputs` and `targets`.
        agreements: file -> how far its answers are from the model's, of those that have figures.
    """

    examples: int = 0
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    causes: dict[str, str] = field(default_factory=dict)
    example: list[np.ndarray] = field(default_factory=list)
    disagreements: dict[str, Disagreement] = field(default_factory=dict)
    agreements: dict[str, Agreement] = field(default_factory=dict)
    fingerprint: dict[str, str] = field(default_factory=lambda: {"inputs": "", "targets": ""})


def verify(
    model: Any,
    feed: Feed,
    runners: Mapping[str, Runner],
    *,
    metrics: Mapping[str, Any] | None = None,
    nature: Nature | None = None,
    class_names: int = 0,
    told: Callable[[int, int], None] = lambda batches, examples: None,
) -> Verification:
    """Runs the model and every file on the same batches, each read once; the files as a user calls them.

    A file must answer the same example alike twice; one of a random model must not, and draw as the model does.

    Args:
        model: the model in memory; it is left as it was.
        feed: the data; without `y` there are no metrics.
        runners: format -> function that runs its file.
        metrics: name -> Keras metric; its state is put back afterwards. `None` for the compiled ones.
        nature: what the model is beside a function of one example.
        class_names: how many classes the metadata name; 0 for none.
        told: called with the number of batches and examples so far, after each batch.

    Returns:
        the figures of each file, and why some have none.

    Raises:
        FormatError: if the model in memory itself answers NaN or does not take the data, or there is no example.
    """
    outcome, running, is_random = Verification(), dict(runners), nature is not None and nature.is_random
    fingerprints = {"inputs": Fingerprint(), "targets": Fingerprint()}
    with MetricStates(metrics_or_compiled(metrics, model)) as states, compat.kept_state(model):
        for number, (x, y, sample_weight) in enumerate(feed.batches(), 1):
            inputs = cast_inputs(x, feed.specs)
            waiting = Waiting(running, inputs)
            targets = [None if one is None else np.asarray(one) for one in tf.nest.flatten(y)]
            fingerprints["inputs"].add(inputs)
            fingerprints["targets"].add([one for one in targets if one is not None])
            answers = _answers(model, x)
            expected = [_as_array(one) for one in tf.nest.flatten(answers)]
            targets = targets if len(targets) == len(expected) else [None] * len(expected)
            if any(np.isnan(one).any() for one in expected):
                raise FormatError("the model in memory answers NaN itself; train it to finite weights first")
            states.update(MODEL, y, answers, sample_weight)
            is_first = not outcome.examples
            if is_first:
                outcome.example = [one[:1] for one in inputs]
                names, classes = _outputs(model, feed, answers, expected, targets, metrics or {}, class_names)
                outcome.agreements = {name: Agreement(list(map(OutputAgreement, names, classes))) for name in runners}
            start = outcome.examples
            outcome.examples += len(inputs[0])
            for name in list(running):
                try:
                    flat = [once(*pair) for pair in zip(expected, waiting.answers(name), strict=True)]
                    outcome.agreements[name].add(expected, flat)
                    if is_first:
                        _require_steady(running[name], outcome.example, is_random)
                    worst = worse(outcome.disagreements.get(name), start, inputs, expected, flat, classes, targets)
                except (RuntimeError, ValueError, tf.errors.OpError) as error:  # FormatError is a RuntimeError
                    outcome.causes[name] = str(error) if isinstance(error, FormatError) else f"it does not run: {error}"
                    del running[name]
                    continue
                if worst is not None:
                    outcome.disagreements[name] = worst
                states.update(name, y, tf.nest.pack_sequence_as(answers, flat), sample_weight)
            told(number, outcome.examples)
        outcome.fingerprint = {name: str(one) for name, one in fingerprints.items()}
        _conclude(outcome, running, states)
    return outcome


def _conclude(outcome: Verification, running: Mapping[str, Runner], states: MetricStates) -> None:
    """The figures of the files that ran to the end, and of the model."""
    if not outcome.examples:
        raise FormatError("there is no example to run it on; pass `evaluation_data` that is not empty")
    outcome.agreements = {name: outcome.agreements[name] for name in running}
    outcome.results = {
        name: agreement.result() | {"metrics": states.result(name)} for name, agreement in outcome.agreements.items()
    }
    outcome.results[MODEL] = {"metrics": states.result(MODEL)}


def draw(
    model: Any, feed: Feed, outcome: Verification, runners: Mapping[str, Runner], tolerances: Mapping[str, float]
) -> None:
    """Compares what the files of a random model draw with what it draws itself; adds to `outcome.causes`.

    Args:
        model: the model in memory; it is left as it was.
        feed: the data of `verify`.
        outcome: of `verify`.
        runners: format -> function that runs its file.
        tolerances: format -> of the means, see `nature.draw_faults`.
    """
    packed = tf.nest.pack_sequence_as(feed.specs, outcome.example)

    def ours() -> list[np.ndarray]:
        return [_as_array(one) for one in tf.nest.flatten(_answers(model, packed))]

    with compat.kept_state(model):
        for name, agreement in outcome.agreements.items():
            names = [one.name for one in agreement.outputs]
            theirs = functools.partial(runners[name], outcome.example)
            fault = draw_faults(names, ours, theirs, tolerances[name])
            if fault is not None:
                outcome.causes[name] = fault


def _outputs(
    model: Any,
    feed: Feed,
    answers: Any,
    expected: list[np.ndarray],
    targets: Sequence[np.ndarray | None],
    metrics: Mapping[str, Any],
    class_names: int,
) -> tuple[tuple[str, ...], list[bool]]:
    """What outputs are called, and whether each has classes."""
    taken = input_names(feed.specs, compat.given_names(model, "inputs"))
    names = output_names(answers, compat.given_names(model, "outputs"), taken)
    told = [compat.compiled_loss(model), compat.compiled_metrics(model)]
    criteria = [criteria_of(one, names, len(names)) for one in told]
    criteria.append([list(metrics.values())] * len(names) if len(names) == 1 else [[] for _ in names])
    of_each = [[one for parts in row for one in parts] for row in zip(*criteria, strict=True)]
    return names, outputs_of_classes(expected, targets, of_each, class_names)


def _require_steady(run: Runner, example: list[np.ndarray], is_random: bool) -> None:
    """Calls a file twice on the same example."""
    if is_random:
        return
    first, second = run(example), run(example)
    if (difference := apart(first, second)) > SAME:
        raise FormatError(
            f"the file answers the same input differently from call to call (by {difference:.2g} of the largest "
            "answer), and the model does not: it keeps state that nobody resets"
        )


def _answers(model: Any, x: Any) -> Any:
    try:
        return compat.infer(model, tf.nest.map_structure(tf.convert_to_tensor, x))
    except (ValueError, tf.errors.OpError) as error:  # of shapes that a layer or an operation does not take
        raise FormatError(f"the model in memory does not take the data: {first_line(error)}") from error


def _as_array(output: Any) -> np.ndarray:
    array = np.asarray(tf.convert_to_tensor(output))
    return array if np.issubdtype(array.dtype, np.integer) else array.astype(np.float32)
