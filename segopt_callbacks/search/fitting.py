"""Settings and a seed -> a trained model, exported, and the figures of its file."""

from __future__ import annotations

import contextlib
import gc
import inspect
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.export import ExportQuantizedCallback
from segopt_callbacks.model import select_weights
from segopt_callbacks.search.demand import Figures
from segopt_callbacks.search.expected import Shapes
from segopt_callbacks.search.settings import Settings

_BATCH_SIZE = 32  # of arrays, as in Keras


@dataclass
class Fitting:
    """How a trial trains.

    Attributes:
        build_model: makes a compiled model; takes `width` or not.
        train: what `fit` trains on.
        val: what `fit` takes as `validation_data`.
        epochs: of each trial.
        batch_size: of arrays.
        metrics: name -> Keras metric; `None` for those that the model is compiled with.
        monitor: the metric that counts.
        times: whether latency is measured.
        callbacks: more callbacks of every fit.
        verbose: of `fit`.
    """

    build_model: Callable[..., Any]
    train: Any
    val: Any
    epochs: int
    batch_size: int | None
    metrics: Mapping[str, Any] | None
    monitor: str
    times: bool
    callbacks: Sequence[Any]
    verbose: int
    _shapes: dict[float | None, Shapes] = field(default_factory=dict)

    def kernel_shapes(self, width: float | None) -> Shapes:
        """Shapes of the kernels of the model of a width; computed once."""
        if width not in self._shapes:
            model = self._build(width, seed=0)
            if not compat.is_built(model):
                compat.build_from_inputs(model, _input_specs(self.val))
            self._shapes[width] = [tuple(one.shape) for one in select_weights(model).values()]
        return self._shapes[width]

    def run(self, settings: Settings, seed: int, folder: Path, watch: Sequence[Any] = ()) -> Figures:
        """Trains, exports, and reads the figures of the file.

        Args:
            settings: of the trial.
            seed: of weights, and of whatever draws from Keras' and TensorFlow's global seeds.
            folder: for the files and their report.
            watch: callbacks that look at this fit.

        Raises:
            ExportError: if no file came of it.
            FloatingPointError: if training against rounding was not finite.
        """
        export = ExportQuantizedCallback(
            folder,
            settings.format,  # type: ignore[arg-type]
            evaluation_data=self.val,
            metrics=self.metrics,
            latency=self.times,
            metadata={"search": settings.as_dict()},
            verbose=0,
        )
        try:
            model = self._build(settings.width, seed)
            x, options = _fit_options(self.train, self.batch_size)
            callbacks = [*settings.callbacks(), *self.callbacks, *watch, export]
            with _many_models():
                model.fit(
                    x,
                    epochs=self.epochs,
                    validation_data=self.val,
                    callbacks=callbacks,
                    verbose=self.verbose,
                    **options,
                )
        finally:
            compat.keras.backend.clear_session()
            gc.collect()  # a model is a ring of references, and the next trial needs its memory
        return self._figures(export.report, settings.format)

    def _build(self, width: float | None, seed: int) -> Any:
        compat.keras.utils.set_random_seed(seed)
        return self.build_model() if width is None else self.build_model(width=width)

    def _figures(self, report: Any, name: str) -> Figures:
        entry = report["formats"][name]
        metric = entry["metrics"][self.monitor]
        latency = entry.get("latency_ms", {}).get("one_thread", {}).get("median") if self.times else None
        return Figures(entry["gzip_bytes"], math.nan if metric is None else float(metric), latency)


@contextlib.contextmanager
def _many_models() -> Iterator[None]:
    """Context: TensorFlow does not take the steps of several models for one that is traced again and again."""

    def is_wanted(record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in record.getMessage()

    logger = tf.get_logger()
    logger.addFilter(is_wanted)
    try:
        yield
    finally:
        logger.removeFilter(is_wanted)


def takes_width(build_model: Callable[..., Any]) -> bool:
    """Whether a builder takes a width.

    >>> takes_width(lambda width=1.0: None), takes_width(lambda: None)
    (True, False)
    """
    return "width" in inspect.signature(build_model).parameters


def _input_specs(data: Any) -> Any:
    """What a model is fed with data: a structure of `tf.TensorSpec`, of any batch size."""
    batch = data if isinstance(data, tuple | list) else next(iter(data))

    def spec(one: Any) -> tf.TensorSpec:
        return tf.TensorSpec((None, *one.shape[1:]), one.dtype)

    return tf.nest.map_structure(spec, batch[0])


def _fit_options(train: Any, batch_size: int | None) -> tuple[Any, dict[str, Any]]:
    if not isinstance(train, tuple | list):
        return train, {"shuffle": False}  # a dataset shuffles itself, and Keras 3 warns
    x, y, sample_weight = (*train, None)[:3]
    return x, {"y": y, "sample_weight": sample_weight, "batch_size": batch_size or _BATCH_SIZE}
