"""The model compared with itself, before any file is: does it draw random numbers, keep state, depend on its batch?"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.data import Feed
from segopt_callbacks.export.checks.channels import NOISE

SAME = 1e-4  # of the largest answer: two runs of the same computation; threads add in another order
ALIKE = 1e-3  # of the largest answer: batches of two sizes, for which libraries have kernels of their own
EXAMPLES = 4  # of the first batch
DRAWS = 32  # of the first examples, where a model draws
_DRAWING = re.compile(r"Random|Multinomial|TruncatedNormal|^Rng|Shuffle$")


@dataclass(frozen=True)
class Nature:
    """What a model is, beside a function of one example.

    Attributes:
        is_random: whether it draws random numbers.
        keeps_state: whether it answers by what it was fed before.
        alone: how far its answer to an example alone is from that among others, as a fraction of the largest answer.
        layers: names of the layers that keep state, where they say so.
    """

    is_random: bool = False
    keeps_state: bool = False
    alone: float = 0.0
    layers: tuple[str, ...] = ()

    @property
    def depends_on_batch(self) -> bool:
        """Whether the other examples of a batch change an answer."""
        return self.alone > ALIKE

    def refusal(self) -> str | None:
        """Why no file can be made of the model; `None` if nothing forbids it."""
        if not self.keeps_state:
            return None
        names = f" ({', '.join(self.layers[:5])})" if self.layers else ""
        return (
            f"the model keeps state between calls{names}: its answer depends on what it was fed before, and a file's "
            "would not, or in another way; make the state an input and an output of the model"
        )

    def warnings(self) -> list[str]:
        """What everybody should know of its files."""
        found = []
        if self.is_random:
            found.append(
                "the model draws random numbers: it never answers alike, nor do its files; differences are those of "
                f"single draws, and files were checked by mean and spread of {DRAWS} draws"
            )
        if self.depends_on_batch:
            found.append(
                "the model depends on its batch: an example alone is answered otherwise than among others (by "
                f"{self.alone:.2g} of the largest answer), and most files run one example at a time"
            )
        return found


def nature(model: Any, feed: Feed) -> Nature:
    """Runs the model on a few examples twice, and on each of them alone.

    Args:
        model: the model in memory; it is left as it was.
        feed: its data.

    Returns:
        what it is; nothing is said of a model that does not run.
    """
    x = next((x for x, _, _ in feed.batches()), None)
    if x is None:
        return Nature()
    x = tf.nest.map_structure(lambda one: tf.convert_to_tensor(one[:EXAMPLES]), x)
    with compat.kept_state(model):
        try:
            first, second = _answers(model, x), _answers(model, x)
            if apart(first, second) > SAME:
                return _unsteady(model, tf.nest.map_structure(tf.TensorSpec.from_tensor, x))
        except (ValueError, tf.errors.OpError):  # `verify` runs it on the same data, and says what is wrong
            return Nature()
        try:
            return Nature(alone=_alone(model, x, first))
        except (ValueError, tf.errors.OpError):  # a model of one batch size; nothing else takes it alone
            return Nature()


def apart(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
    """The largest difference of two answers, each output as a fraction of its largest answer.

    Example:
        >>> apart([np.array([1.0, 2.0])], [np.array([1.0, 1.5])])
        0.25
    """
    found = [0.0]
    for left, right in zip(one, other, strict=True):
        magnitude = max(float(np.abs(np.nan_to_num(left.astype(np.float64))).max(initial=0.0)), NOISE)
        difference = np.nan_to_num(np.abs(left.astype(np.float64) - right), posinf=0.0)
        found.append(float(difference.max(initial=0.0)) / magnitude)
    return max(found)


def draw_faults(
    names: Sequence[str],
    ours: Callable[[], Sequence[np.ndarray]],
    theirs: Callable[[], Sequence[np.ndarray]],
    tolerance: float,
) -> str | None:
    """Compares what a random model and its file draw for the same input: mean and spread of `DRAWS` answers.

    Args:
        names: of the outputs.
        ours: runs the model.
        theirs: runs the file.
        tolerance: of the means, as a fraction of the largest answer, beside what chance explains.

    Returns:
        what is wrong with the file, if anything is.
    """
    drawn = [[np.stack(one) for one in zip(*(run() for _ in range(DRAWS)), strict=True)] for run in (ours, theirs)]
    for name, expected, answers in zip(names, *drawn, strict=True):
        fault = _fault(expected, answers, tolerance)
        if fault is not None:
            return f"the model draws random numbers, and output {name!r} of the file {fault}"
    return None


def _fault(expected: np.ndarray, answers: np.ndarray, tolerance: float) -> str | None:
    """Compares draws of one output, `(DRAWS, *shape)`."""
    spread, found = expected.std(0), answers.std(0)
    magnitude, largest = float(np.abs(expected).max(initial=0.0)), float(spread.max(initial=0.0))
    if largest > SAME * magnitude:
        if found.max(initial=0.0) < SAME * largest:
            return "is always the same"
        ratio = float(found.mean() / spread.mean())
        if not 0.5 < ratio < 2:
            return f"spreads {ratio:.2g} times as far"
    difference = float(np.abs(answers.mean(0) - expected.mean(0)).max(initial=0.0))
    if difference > tolerance * magnitude + largest:
        return f"has another mean (by {difference:.2g})"
    return None


def _unsteady(model: Any, inputs: Any) -> Nature:
    layers = tuple(layer.name for layer in compat.all_layers(model) if getattr(layer, "stateful", False) is True)
    try:
        kinds = compat.operation_kinds(model, inputs)
    except ValueError:  # it runs eagerly only, which every format says in its own words
        return Nature()
    is_random = any(_DRAWING.search(kind) for kind in kinds)
    return Nature(is_random=is_random, keeps_state=not is_random, layers=layers)


def _alone(model: Any, x: Any, together: Sequence[np.ndarray]) -> float:
    size = len(tf.nest.flatten(x)[0])
    if size < 2 or any(one.ndim == 0 or len(one) != size for one in together):
        return 0.0
    single = _answers(model, tf.nest.map_structure(lambda one: one[:1], x))
    if any(one.shape[1:] != other.shape[1:] for one, other in zip(single, together, strict=True)):
        return 0.0
    return apart([one[:1] for one in together], single)


def _answers(model: Any, x: Any) -> list[np.ndarray]:
    return [np.asarray(tf.convert_to_tensor(one)) for one in tf.nest.flatten(compat.infer(model, x))]
