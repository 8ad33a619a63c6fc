"""How models are made, compiled and trained: exact zeros after every step, and the page that says so."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import PruningScheduleCallback, compat
from segopt_callbacks.compat import keras
from tests import situations
from tests.conformance import (
    BATCH,
    IMAGES,
    LABELS,
    SITUATIONS,
    Bypassing,
    Segmenter,
    Situation,
    Watch,
    built,
    compiled,
    fit,
    functional,
    kernels,
    zeros,
)
from tests.fit.exact import StepWatch, expected, fit_exactly, schedule, target

IS_KERAS_2 = compat.is_keras_2(keras.layers.ReLU())


class OwnStep(Segmenter):
    """Its train_step is its own, and uses the optimizer."""

    def train_step(self, data):
        images, labels = data
        with tf.GradientTape() as tape:
            predicted = self(images, training=True)
            loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, predicted, from_logits=True))
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"loss": loss}


class Counting(Segmenter):
    """Counts the zeros of each kernel inside the compiled function, after every step."""

    def train_step(self, data):
        logs = super().train_step(data)
        kernels_now = [tf.convert_to_tensor(weight) for weight in self.trainable_weights if len(weight.shape) >= 2]
        counts = tf.stack([tf.math.count_nonzero(kernel == 0, dtype=tf.int32) for kernel in kernels_now])
        index = tf.cast(tf.convert_to_tensor(self.optimizer.iterations), tf.int32) - 1
        self.counts.assign(tf.tensor_scatter_nd_update(self.counts, [[index]], [counts]))
        return logs


def counting(steps: int = 32) -> Any:
    model = built(Counting)()
    model.counts = tf.Variable(tf.zeros((steps, len(kernels(model))), tf.int32), trainable=False)
    return model


class TwoInputs(Segmenter):
    def call(self, inputs, training=None):
        return super().call(inputs["bright"] - inputs["dark"], training=training)


def with_unused_layer() -> Any:
    model = Segmenter()
    model.unused = keras.layers.Dense(3)
    return model


def batches() -> Any:
    for start in range(0, len(IMAGES), BATCH):
        yield IMAGES[start : start + BATCH], LABELS[start : start + BATCH]


@dataclass(frozen=True)
class Case(Situation):
    """A situation with what else a fit can differ in.

    Attributes:
        optimizer: a new one for each model.
        policy: Keras' global dtype policy.
        data: what `fit` takes first; nothing for images and labels.
        fit_args: more for `fit`.
        not_in_keras_2: why there is no such thing.
    """

    optimizer: Callable[[], Any] | None = None
    policy: str = "float32"
    data: Callable[[], tuple[Any, ...]] = tuple
    fit_args: dict[str, Any] = field(default_factory=dict)
    not_in_keras_2: str = ""


JIT = {"jit_compile": True}
ONE_BY_ONE = {"batch_size": 2}  # 16 steps in an epoch
WHOLE = {"batch_size": None, "epochs": 1}
Adam = keras.optimizers.Adam
CASES = (
    *(Case(**vars(situation)) for situation in SITUATIONS),
    Case("dictionary_of_inputs", TwoInputs, data=lambda: ({"bright": IMAGES, "dark": IMAGES[::-1]}, LABELS)),
    Case("layer_never_called", with_unused_layer),
    Case("run_eagerly", Segmenter, {"run_eagerly": True}),
    Case("steps_per_execution_8", counting, {"steps_per_execution": 8}, fit_args=ONE_BY_ONE),
    Case("jit_and_steps_per_execution", counting, {"steps_per_execution": 8, **JIT}, fit_args=ONE_BY_ONE),
    Case("mixed_float16", Segmenter, policy="mixed_float16"),
    Case("mixed_float16_and_jit", functional, JIT, policy="mixed_float16"),
    Case("mixed_bfloat16", functional, policy="mixed_bfloat16"),
    Case("mixed_bfloat16_and_jit", functional, JIT, policy="mixed_bfloat16"),
    Case(
        "momentum_and_weight_decay",
        functional,
        optimizer=lambda: keras.optimizers.SGD(1e-2, momentum=0.9, weight_decay=1e-2),
    ),
    Case("adamw_and_clipnorm", functional, optimizer=lambda: keras.optimizers.AdamW(1e-2, clipnorm=0.1)),
    Case("lion", functional, optimizer=lambda: keras.optimizers.Lion(1e-3)),
    Case(
        "gradient_accumulation",
        functional,
        optimizer=lambda: Adam(1e-2, gradient_accumulation_steps=2),
        not_in_keras_2="Keras 2 has no gradient accumulation",
    ),
    Case("own_train_step", OwnStep, {"metrics": None}),
    Case(
        "dataset",
        functional,
        data=lambda: (tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(BATCH),),
        fit_args={"batch_size": None},
    ),
    Case("generator", Segmenter, data=lambda: (batches(),), fit_args=WHOLE),
    Case("generator_eagerly", functional, {"run_eagerly": True}, data=lambda: (batches(),), fit_args=WHOLE),
)


@pytest.mark.filterwarnings("ignore:`build:UserWarning")  # Keras 3 has a word on the layer that is never called
@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_situation(case, outcome):
    if IS_KERAS_2 and case.not_in_keras_2:
        pytest.skip(case.not_in_keras_2)
    keras.mixed_precision.set_global_policy(case.policy)
    try:
        optimizer = case.optimizer() if case.optimizer else Adam(1e-2)
        model = compiled(case.make(), **{**case.compile_args, "optimizer": optimizer})
        for _ in range(case.fits_before):
            fit(model)
        stated = fit_exactly(model, *case.data(), **case.fit_args)
        for _ in range(case.fits - 1):
            watch = Watch()
            fit(model, watch, PruningScheduleCallback(0.8), watch)
            assert watch.seen == [expected_by_index(model, 0.8)] * 16
    finally:
        keras.mixed_precision.set_global_policy("float32")
    if isinstance(model, Counting):
        check_counts(model, steps_per_execution=8)
    outcome(stated)


def expected_by_index(model, sparsity):
    return expected(kernels(model), sparsity)


def check_counts(model, steps_per_execution):
    """Inside one execution the masks are those that were set before it."""
    counted = compat.read(model.counts)
    assert len(counted) > 2 * steps_per_execution
    for index, counts in enumerate(counted):
        set_at = index // steps_per_execution * steps_per_execution
        assert counts.tolist() == list(expected(kernels(model), target(set_at)).values()), index


def test_a_plain_fit_afterwards(outcome):
    """It trains every weight: neither the constraint nor the compiled step prunes on."""
    for make, compile_args in ((Segmenter, {}), (functional, {}), (functional, JIT)):
        model = compiled(make(), **compile_args)
        fit(model, PruningScheduleCallback(0.5))
        fit(model)
        values = kernels(model)
        assert all(count < 0.1 * values[path].size for path, count in zeros(model).items())
    outcome("nothing is pruned any more")


def constrained(constraint):
    layer = keras.layers.Conv2D(3, 3, padding="same", kernel_constraint=constraint, name="constrained")
    return compiled(keras.Sequential([keras.Input((8, 8, 3)), layer]))


def test_with_max_norm(outcome):
    constraint = keras.constraints.MaxNorm(0.5, axis=[0, 1, 2])
    model = constrained(constraint)
    norms = Watch(lambda fitted: np.linalg.norm(compat.read(fitted.trainable_weights[0]).reshape(-1, 3), axis=0).max())
    stated = fit_exactly(model)
    fit(model, PruningScheduleCallback(0.8), norms)
    assert max(norms.seen) < 0.501
    assert compat.get_constraint(model.trainable_weights[0]) is constraint
    outcome(stated)


def test_with_non_neg(outcome):
    """NonNeg makes zeros of its own, so what is counted is the pruned weights that are zero."""
    constraint = keras.constraints.NonNeg()
    model = constrained(constraint)
    callback = PruningScheduleCallback(schedule)

    def pruned_zeros(fitted):
        (kernel,) = kernels(fitted).values()
        ((path, mask),) = callback.lifecycle.told.masks.items()
        assert (kernel >= 0).all()
        return {path: np.where(~mask & (kernel == 0), 0.0, 1.0)}

    before, behind = StepWatch(pruned_zeros), StepWatch(pruned_zeros)
    fit(model, before, callback, behind)
    for watch, delay in ((before, 1), (behind, 0)):
        for step, seen in watch.seen:
            assert list(seen.values()) == [round(target(step - delay) * 81)]
    assert compat.get_constraint(model.trainable_weights[0]) is constraint
    outcome(f"exact, {behind.step} steps, beside the zeros that NonNeg makes")


def test_without_optimizer(outcome):
    """The constraint never runs; zeros are put back at each batch's end, and the user is told."""
    with pytest.warns(UserWarning, match="runs no constraint"):
        stated = fit_exactly(compiled(Bypassing(), metrics=None), constraint_runs=False)
    outcome(f"{stated}, at each batch's end, with a warning")


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_has_the_rows_of_the_table():
    cells = situations.cells_on_page()
    assert situations.split_page()[1].strip() == situations.table(cells).strip(), "run `python docs/make_situations.py`"
    assert list(cells) == [row.what for row in situations.ROWS]
    assert all(keras_3 and keras_2 for keras_3, keras_2 in cells.values())


def test_every_row_is_a_test_and_every_case_a_row():
    root = Path(__file__).parents[2]
    for row in situations.ROWS:
        module, _, name = row.node.partition("::")
        tree = ast.parse((root / module).read_text())
        assert name.partition("[")[0] in {one.name for one in tree.body if isinstance(one, ast.FunctionDef)}, row
    nodes = {row.node for row in situations.ROWS}
    assert {f"tests/fit/test_matrix.py::test_situation[{case.name}]" for case in CASES} <= nodes
    assert len(nodes) == len(situations.ROWS)
