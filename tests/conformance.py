"""The situations that every callback must get right, and the models to try them on; both Kerases run all of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segopt_callbacks import (
    ClusterOnTrainEndCallback,
    CompressionSummaries,
    ConstantSparsity,
    DistillationCallback,
    ExportQuantizedCallback,
    PruningScheduleCallback,
    SensitivityCallback,
    channel,
    compat,
)
from segopt_callbacks.compat import keras

BATCH, STEPS, EPOCHS = 8, 4, 2
IMAGES = np.random.default_rng(0).uniform(size=(BATCH * STEPS, 8, 8, 3)).astype("float32")
LABELS = np.random.default_rng(1).integers(0, 3, size=(BATCH * STEPS, 8, 8)).astype("int32")


class Block(keras.layers.Layer):
    """A nested subclassed block: two convolutions around a normalisation."""

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)
        self.normalize = keras.layers.BatchNormalization()
        self.second = keras.layers.SeparableConv2D(filters, 3, padding="same")

    def call(self, inputs, training=None):
        return self.second(keras.activations.relu(self.normalize(self.first(inputs), training=training)))


class Segmenter(keras.Model):
    """Subclassed, with a nested block and a skip; it has no weights until it has seen an input."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = Block(8)
        self.decoder = keras.layers.Conv2D(8, 3, padding="same")
        self.head = keras.layers.Conv2D(3, 1)

    def call(self, inputs, training=None):
        encoded = self.encoder(inputs, training=training)
        return self.head(self.decoder(encoded) + encoded)


class Outer(keras.Model):
    """A model in a model."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner = Segmenter()
        self.last = keras.layers.Conv2D(3, 3, padding="same")

    def call(self, inputs, training=None):
        return self.last(self.inner(inputs, training=training))


class Bypassing(Segmenter):
    """Its train_step writes the weights itself: no optimizer, no constraint."""

    def train_step(self, data):
        import tensorflow as tf

        images, labels = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(
                keras.losses.sparse_categorical_crossentropy(labels, self(images, training=True), from_logits=True)
            )
        weights = self.trainable_variables
        for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
            weight.assign(tf.convert_to_tensor(weight) - 0.1 * gradient)
        return {"loss": loss}


def functional() -> Any:
    inputs = keras.Input((8, 8, 3))
    hidden = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(3, 1)(hidden))


def sequential() -> Any:
    return keras.Sequential([keras.layers.Conv2D(8, 3, padding="same"), keras.layers.ReLU(), keras.layers.Conv2D(3, 1)])


def built(make: Callable[[], Any]) -> Callable[[], Any]:
    def make_built() -> Any:
        model = make()
        model(IMAGES[:1])
        return model

    return make_built


@dataclass(frozen=True)
class Situation:
    """A model, how it is compiled, and what happened to it before."""

    name: str
    make: Callable[[], Any]
    compile_args: dict[str, Any] = field(default_factory=dict)
    fits_before: int = 0
    fits: int = 1

    def __str__(self) -> str:
        return self.name


SITUATIONS = (
    Situation("subclassed_unbuilt", Segmenter),
    Situation("subclassed_built", built(Segmenter)),
    Situation("nested", Outer),
    Situation("functional", functional),
    Situation("sequential", sequential),
    Situation("already_fitted", Segmenter, fits_before=1),
    Situation("two_fits_in_a_row", Segmenter, fits=2),
    Situation("steps_per_execution", Segmenter, {"steps_per_execution": 2}),
    Situation("jit_compile", Segmenter, {"jit_compile": True}),
)


def check_pruned(model: Any, history: Any, path: Path, callback: Any) -> None:
    total = sum(value.size for value in kernels(model).values())
    assert zeros(model) == {name: round(0.8 * value.size) for name, value in kernels(model).items()}
    assert history.history["sparsity"][-1] == sum(zeros(model).values()) / total


def check_pruned_by_channel(model: Any, history: Any, path: Path, callback: Any) -> None:
    counts = []
    for value in kernels(model).values():
        matrix = value.reshape(-1, value.shape[-2] if value.shape[-1] == 1 else value.shape[-1])  # depthwise
        dead = int((~matrix.any(0)).sum())
        assert (value == 0).sum() == dead * len(matrix)
        counts.append((matrix.shape[1], dead))
    assert counts.pop() == (3, 0)  # the model's output
    assert set(counts) <= {(8, 4), (3, 1)}


def check_pruned_globally(model: Any, history: Any, path: Path, callback: Any) -> None:
    sizes = {name: value.size for name, value in kernels(model).items()}
    assert sum(zeros(model).values()) == round(0.8 * sum(sizes.values()))
    assert all(zeros(model)[name] < size for name, size in sizes.items())
    assert history.history["sparsity"][-1] == sum(zeros(model).values()) / sum(sizes.values())


def check_clustered(model: Any, history: Any, path: Path, callback: Any) -> None:
    assert all(2 <= np.unique(value).size <= 6 for value in kernels(model).values())


def check_exported(model: Any, history: Any, path: Path, callback: Any) -> None:
    report = json.loads((path / "exported" / "report.json").read_text())
    assert report["formats"]["float32"]["status"] == "ok"
    assert report["formats"]["float32"]["largest_difference"] < 1e-4
    assert report["formats"]["float32"]["bytes"] == (path / "exported" / "float32.tflite").stat().st_size


def check_summarized(model: Any, history: Any, path: Path, callback: Any) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(next((path / "logs").rglob("events.*")).parent))
    events.Reload()
    assert any(tag.startswith("all_weights/") for tag in events.Tags()["tensors"] + events.Tags()["scalars"])


def check_measured(model: Any, history: Any, path: Path, callback: Any) -> None:
    measured = callback.sensitivity
    assert [row.elements for row in measured.rows] == [value.size for value in kernels(model).values()]
    assert len({row.metrics["loss"] for row in measured.rows}) == len(measured.rows)  # each was treated, alone
    now = model.evaluate(IMAGES, LABELS, verbose=0, return_dict=True)
    assert measured.untreated == {name: pytest.approx(value, rel=1e-5) for name, value in now.items()}  # and put back


def check_distilled(model: Any, history: Any, path: Path, callback: Any) -> None:
    losses = history.history["distillation_loss"]
    assert 0 < losses[-1] < losses[0] < np.inf  # it comes nearer
    assert not {"compute_loss", "train_step", "call"} & vars(model).keys()


@dataclass(frozen=True)
class Kind:
    """A callback, and what must be true after a fit with it."""

    name: str
    make: Callable[[Path], Any]
    check: Callable[[Any, Any, Path, Any], None]

    def __str__(self) -> str:
        return self.name


KINDS = (
    Kind("prune", lambda path: PruningScheduleCallback(0.8), check_pruned),
    Kind("prune_channels", lambda path: PruningScheduleCallback(0.5, pattern=channel()), check_pruned_by_channel),
    Kind(
        "prune_by_saliency",
        lambda path: PruningScheduleCallback(
            ConstantSparsity(0.8, begin_step=2, frequency=2), scope="global", criterion="saliency"
        ),
        check_pruned_globally,
    ),
    Kind("distill", lambda path: DistillationCallback(lambda images: 3.0 * images, weight=1.0), check_distilled),
    Kind("cluster", lambda path: ClusterOnTrainEndCallback(6), check_clustered),
    Kind(
        "export",
        lambda path: ExportQuantizedCallback(
            path / "exported", ("float32",), evaluation_data=(IMAGES, LABELS), verbose=0
        ),
        check_exported,
    ),
    Kind(
        "measure",
        lambda path: SensitivityCallback((IMAGES, LABELS), treatments=["prune"], verbose=0),
        check_measured,
    ),
    Kind("summaries", lambda path: CompressionSummaries(path / "logs"), check_summarized),
)


def compiled(model: Any, **compile_args: Any) -> Any:
    """Compiled with momentum, which goes on moving weights as Adam does, and is traced in two thirds of the time.

    `fit/test_matrix.py` and `fit/strategy_case.py` train with Adam.
    """
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(**{"optimizer": optimizer, "loss": loss, "metrics": ["accuracy"], **compile_args})
    return model


def fit(model: Any, *callbacks: Any, epochs: int = EPOCHS, **fit_args: Any) -> Any:
    return model.fit(
        IMAGES, LABELS, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0, callbacks=[*callbacks], **fit_args
    )


def kernels(model: Any) -> dict[str, np.ndarray]:
    """Trainable weights of rank 2 or more, by an enumeration of the tests' own."""
    return {
        f"{index}/{compat.variable_path(weight)}": compat.read(weight)
        for index, weight in enumerate(model.trainable_weights)
        if len(weight.shape) >= 2
    }


def zeros(model: Any) -> dict[str, int]:
    return {path: int((value == 0).sum()) for path, value in kernels(model).items()}


class Watch(keras.callbacks.Callback):
    """Records the zeros of every weight after each batch."""

    def __init__(self, record: Callable[[Any], Any] = zeros) -> None:
        super().__init__()
        self.record = record
        self.seen: list[Any] = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(self.record(self.model))
