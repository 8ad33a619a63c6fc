"""Exports when training ends."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from segopt_callbacks import compat
from segopt_callbacks.data import TrainingSample, rehearse
from segopt_callbacks.errors import ExportError
from segopt_callbacks.export import ethos_u, openers
from segopt_callbacks.export.delivery import require_replaceable, require_writable, rescue
from segopt_callbacks.export.exporter import export
from segopt_callbacks.export.formats import TARGETS, Format, validate_formats
from segopt_callbacks.export.settings import FORMATS, ExportSettings, OnFailure
from segopt_callbacks.fit import CompressionCallback, Stage, told_callbacks
from segopt_callbacks.quantization import Calibration
from segopt_callbacks.records import Report


class _Setting:
    """One of the settings, read from the callback by its own name; whoever assigns it has it checked."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, callback: Any, owner: type | None = None) -> Any:
        return self if callback is None else getattr(callback.settings, self._name)

    def __set__(self, callback: Any, value: Any) -> None:
        callback.settings = replace(callback.settings, **{self._name: value})


class ExportQuantizedCallback(CompressionCallback):
    """Exports the model when training ends, after pruning and clustering, wherever it stands in the list.

    Every file is opened, audited, run on the evaluation data and compared with the model in memory; see
    `export_model`. The report is in `report` afterwards, and in `report.json`, `report.md` and `report.html`; it has
    the table of a `SensitivityCallback` of the same fit. Where no format can be delivered, the trained weights are
    saved elsewhere, and the error says where.

    Args:
        export_dir: the folder for all files.
        formats: names of export formats.
        representative_dataset: examples for the ranges of activations: a callable that yields lists or dicts of
            inputs, or a `tf.data.Dataset`. Default: a random sample of what the fit feeds to the model: at most 128
            examples and 64 MiB, but 8 examples. Where none can be taken, the inputs of `evaluation_data`. The report
            says which.
        evaluation_data: what `fit` takes as `validation_data`.
        metrics: name -> Keras metric, computed on every file's own answers. Default: the compiled ones.
        metadata: what every file is to tell about itself: `classes`, `palette`, anything that JSON can hold. Files tell
            of the training by themselves: its steps, and the figures of its last epoch, as `training`.
        baselines: name -> metrics, rows of the report to compare with.
        input_signature: structure of `tf.TensorSpec`, where sizes or dtypes are not those of the data; `None` sizes
            stay open.
        calibration: how `int8` finds ranges of activations: `"min_max"`, `"percentile"`, `"entropy"` or `"mse"`. Ranges
            that a `QuantizationAwareTrainingCallback` of the same fit has learned are taken from it; no data are needed
            for them.
        on_failure: `"raise"` or `"warn"`, after every other format has been delivered.
        time_limit: seconds that writing a file may take, and running it on one batch.
        latency: whether to time one inference of every file.
        verbose: 0 for silence, 1 for a line for each format and the table.
        float_fallback: whether an integer file may compute in float what has no integer form, and name it in the
            report. Otherwise such a format fails, and names it.
        allow_float: names of operations (`"ELU"`) or of layers that alone may compute in float in an integer file.
        sparse: `"auto"` leaves the zeros of weights out of a `.tflite` file where that makes it smaller. `False` writes
            them, for runtimes that take dense weights only, such as tflite-micro and NPUs.
        remove_channels: whether channels that are zero whatever the input leave every file, with what reads them; see
            `docs/channels.md`. `False` keeps them.
        accelerator: the NPU that `ethos_u` is compiled for, by Vela's name; one of `ethos_u.ACCELERATORS`.

    Raises:
        ValueError: for an unknown format, one that is not available, or another argument outside its range. Before the
            first step, for an integer format without data, where training inputs cannot be sampled: outside of `fit`,
            or if they are not numbers. `int8` needs none where a `QuantizationAwareTrainingCallback` learns its ranges.
        OSError: when training begins, if `export_dir` cannot be made or written.
        RuntimeError: when training begins, under a strategy of several workers.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from segopt_callbacks.compat import keras
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> model.compile("sgd", "mse")
        >>> data = np.ones((8, 4), "float32"), np.ones((8, 2), "float32")
        >>> export = ExportQuantizedCallback(tempfile.mkdtemp(), evaluation_data=data, latency=False, verbose=0)
        >>> history = model.fit(*data, verbose=0, callbacks=[export])
        >>> sorted(export.report["formats"])
        ['float32', 'int8', 'saved_model']
    """

    stage = Stage.EXPORT
    export_dir = _Setting()
    formats = _Setting()
    representative_dataset = _Setting()
    evaluation_data = _Setting()
    metrics = _Setting()
    metadata = _Setting()
    baselines = _Setting()
    input_signature = _Setting()
    calibration = _Setting()
    on_failure = _Setting()
    time_limit = _Setting()
    latency = _Setting()
    verbose = _Setting()
    float_fallback = _Setting()
    allow_float = _Setting()
    sparse = _Setting()
    accelerator = _Setting()
    remove_channels = _Setting()

    def __init__(
        self,
        export_dir: str | os.PathLike[str],
        formats: Sequence[Format] | Format = FORMATS,
        *,
        representative_dataset: Any = None,
        evaluation_data: Any = None,
        metrics: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        baselines: Mapping[str, Mapping[str, float]] | None = None,
        input_signature: Any = None,
        calibration: Calibration = "min_max",
        on_failure: OnFailure = "raise",
        time_limit: float = 600.0,
        latency: bool = True,
        verbose: int = 1,
        float_fallback: bool = False,
        allow_float: Sequence[str] = (),
        sparse: Literal["auto", False] = "auto",
        accelerator: str = ethos_u.DEFAULT,
        remove_channels: bool = True,
    ) -> None:
        super().__init__()
        self.settings = ExportSettings(
            export_dir=export_dir,
            formats=formats,
            representative_dataset=representative_dataset,
            evaluation_data=evaluation_data,
            metrics=metrics,
            metadata=metadata,
            baselines=baselines,
            input_signature=input_signature,
            calibration=calibration,
            on_failure=on_failure,
            time_limit=time_limit,
            latency=latency,
            verbose=verbose,
            float_fallback=float_fallback,
            allow_float=allow_float,
            sparse=sparse,
            accelerator=accelerator,
            remove_channels=remove_channels,
            is_before_fit=True,
        )
        self.report: Report | None = None
        self._sample: TrainingSample | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        self.report = self._sample = None
        if compat.number_of_workers() > 1:
            raise RuntimeError(
                "Files are exported and run by one process; call `model.save_weights` on every worker after the fit, "
                "and `export_model` in a process of its own, on a model that has loaded them. "
                f"Received: ExportQuantizedCallback and {compat.number_of_workers()} workers."
            )
        export_dir = Path(self.export_dir).resolve()
        require_replaceable(export_dir, [TARGETS[name].file_name for name in self.formats])
        place = require_writable(export_dir)
        if compat.has_weights(self.model):
            rescue.warn_if_tight(self.model, [TARGETS[name] for name in self.formats], place)
        calibrates = any(TARGETS[name].is_integer for name in self.formats)
        compares = self.evaluation_data is not None  # with what the model is trained on
        if (calibrates or compares) and self.representative_dataset is None:
            self._sample = TrainingSample(self.model)
        super().on_train_begin(logs)
        openers.warm_during("fit")

    def rehearse(self) -> None:
        """Tries on one batch what every file will be run on when the fit has ended."""
        rehearse(self.model, self.evaluation_data, self.metrics)

    def prepare(self) -> None:
        """Makes sure that ranges can be found."""
        given = self.representative_dataset is not None or self.evaluation_data is not None
        if self._sample is None or given:
            return
        try:
            has_data = not self._sample.problem
            validate_formats(self.formats, has_data=has_data, has_ranges=self.told.ranges is not None)
        except ValueError as error:
            raise ValueError(f"{error} Training inputs cannot be sampled: {self._sample.problem}.") from error

    def finish(self, logs: Any = None) -> None:
        """Exports the finished model; where nothing comes of it, saves its weights elsewhere."""
        with rescue.weights_kept(self.model):
            self.report = self.told.report = self._export(_training(self.model, logs))
        if all(entry["status"] != "ok" for entry in self.report["formats"].values()):
            told = rescue.save_elsewhere(self.model)
            warnings.warn(f"No format could be exported; {told}.", stacklevel=2)

    def _export(self, training: dict[str, Any]) -> Report:
        try:
            settings = replace(
                self.settings,
                representative_dataset=self._sample or self.representative_dataset,
                metadata={"training": training, **(self.metadata or {})},
                ranges=self.told.ranges or None,
                sensitivity=self.told.sensitivity,
                training=self._told_training(),
                is_before_fit=False,
            )
            return export(self.model, settings)
        except ExportError as error:
            self.report = error.report
            raise
        finally:
            self._sample = None  # its memory

    def _told_training(self) -> dict[str, Any]:
        """What the report tells of the fit."""
        epochs = (self.params or {}).get("epochs")
        return {
            "optimizer": compat.optimizer_name(self.model),
            "steps": compat.iterations(self.model),
            **({"epochs": int(epochs)} if epochs else {}),
            "callbacks": told_callbacks(self.lifecycle.callbacks or [self]),
        }


def _training(model: Any, logs: Mapping[str, Any] | None) -> dict[str, Any]:
    """What files tell of the training: the optimizer's steps, and the figures of its last epoch that are numbers."""
    figures = {name: float(value) for name, value in (logs or {}).items() if np.ndim(value) == 0}
    return {
        "steps": compat.iterations(model),
        "last_epoch": {name: value for name, value in figures.items() if np.isfinite(value)},
    }
