"""A built model -> every deployable file: written, opened, audited, run, compared, weighed, reported."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from segopt_callbacks import compat
from segopt_callbacks.data import Feed
from segopt_callbacks.errors import ExportError
from segopt_callbacks.export import ethos_u
from segopt_callbacks.export.delivery import disk_errors_explained, require_replaceable, warn_if_shared, workspace
from segopt_callbacks.export.formats import TARGETS, Format
from segopt_callbacks.export.inference import Sources, ranged
from segopt_callbacks.export.job import Job
from segopt_callbacks.export.progress import Progress, telling
from segopt_callbacks.export.report import table
from segopt_callbacks.export.settings import FORMATS, ExportSettings, OnFailure
from segopt_callbacks.model import signature
from segopt_callbacks.pages import headline_of
from segopt_callbacks.processes import remembered_interrupts
from segopt_callbacks.quantization import Calibration
from segopt_callbacks.records import Report, Sensitivity


def export_model(
    model: compat.Model,
    export_dir: str | os.PathLike[str],
    formats: Sequence[Format] | Format = FORMATS,
    *,
    representative_dataset: Any = None,
    evaluation_data: Any = None,
    metrics: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    baselines: Mapping[str, Mapping[str, float]] | None = None,
    input_signature: Any = None,
    ranges: ranged.Ranges | None = None,
    calibration: Calibration = "min_max",
    sensitivity: Sensitivity | None = None,
    on_failure: OnFailure = "raise",
    time_limit: float = 600.0,
    latency: bool = True,
    verbose: int = 1,
    float_fallback: bool = False,
    allow_float: Sequence[str] = (),
    sparse: Literal["auto", False] = "auto",
    accelerator: str = ethos_u.DEFAULT,
    remove_channels: bool = True,
) -> Report:
    """Exports a built model; runs every file on the same data as the model and compares them.

    The model is not changed. Files are written and run in processes of their own, so that what crashes there fails
    one format. They appear under their final names, with `report.json`, `report.md` and `report.html`, all together
    once they have passed every check; earlier ones are kept until then, and those of formats that fail. Without any
    data, files are run on one example of noise. What tfmot has wrapped to prune or cluster it is exported unwrapped.

    Inputs have the dtype of `evaluation_data` (else of `representative_dataset`, else by the model's own account,
    which is float32 for a subclassed model of Keras 3): raw uint8 images go into every file, `int8` too. Float inputs
    and outputs of `int8` are int8, by the scale and zero point that the file tells.

    Args:
        model: a built Keras model.
        export_dir: the folder for all files.
        formats: names out of `formats.TARGETS`.
        representative_dataset: examples that show the ranges of activations: a callable that yields lists or dicts of
            inputs, or a `tf.data.Dataset` of `x` or `(x, y)`. At most 200 are read, or up to 2,000 of few values.
            Default: the inputs of `evaluation_data`.
        evaluation_data: what `fit` takes as `validation_data`: `(x, y[, sample_weight])` or a dataset of batches.
        metrics: name -> Keras metric, computed on every file's own answers; weighted, where there are weights.
            Default: the compiled ones.
        metadata: what every file is to tell about itself beside its inputs and outputs: `classes` (names by id),
            `palette` (colours by id), how inputs are scaled, anything that JSON can hold; see `read_metadata`.
        baselines: name -> metrics, rows of the report to compare with, such as a dense model that was trained equally
            long; see `add_baseline`.
        input_signature: sizes and dtypes of the inputs, where they are not those of the data: a structure of
            `tf.TensorSpec`, batch first (1 or `None`). Sizes of `None` stay open in every file; a format that cannot
            leave them open fails.
        ranges: `ranges` of the `QuantizationAwareTrainingCallback` that trained the model, for `int8`; ranges of
            tensors that it lacks are found from the representative data. Other formats find theirs by themselves.
        calibration: how `int8` finds ranges that were not learned: `"min_max"` (everything that the representative data
            show), `"percentile"`, `"entropy"` or `"mse"`, see `calibration`.
        sensitivity: of this model, as `layer_sensitivity` returns it, for a table in the report.
        on_failure: `"raise"` or `"warn"`, after every other format has been delivered.
        time_limit: seconds that writing a file may take, and running it on one batch.
        latency: whether to time one inference of every file, on one thread and on all; see `docs/latency.md`.
        verbose: 0 for silence, 1 for a line for each format and the table.
        float_fallback: whether an integer file may compute in float what has no integer form, and name it in the
            report. Otherwise such a format fails, and names it.
        allow_float: names of operations (`"ELU"`) or of layers that alone may compute in float in an integer file.
        sparse: `"auto"` leaves the zeros of weights out of a `.tflite` file where that makes it smaller. `False` writes
            them, for runtimes that take dense weights only, such as tflite-micro and NPUs.
        remove_channels: whether channels that are zero whatever the input leave every file, with what reads them; see
            `docs/channels.md`. `False` keeps them.
        accelerator: the NPU that `ethos_u` is compiled for, by Vela's name; one of `ethos_u.ACCELERATORS`.

    Returns:
        the report: `model`, `formats`, `baselines`, `verification` and `metadata`, as in `report.json`; `sensitivity`
        and `warnings` where there are any.

    Raises:
        ValueError: for an argument outside its range, or a model whose input is not known.
        ExportError: if a format failed and `on_failure` is `"raise"`.
        OSError: if `export_dir` cannot be written; what was there is kept.

    Example:
        >>> import tempfile
        >>> from segopt_callbacks.compat import keras
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> report = export_model(model, tempfile.mkdtemp(), ["float32"], verbose=0)
        >>> report["formats"]["float32"]["largest_difference"] < 1e-5
        True
    """
    settings = ExportSettings(
        export_dir=export_dir,
        formats=formats,
        representative_dataset=representative_dataset,
        evaluation_data=evaluation_data,
        metrics=metrics,
        metadata=metadata,
        baselines=baselines,
        input_signature=input_signature,
        ranges=ranges,
        calibration=calibration,
        sensitivity=sensitivity,
        on_failure=on_failure,
        time_limit=time_limit,
        latency=latency,
        verbose=verbose,
        float_fallback=float_fallback,
        allow_float=allow_float,
        sparse=sparse,
        accelerator=accelerator,
        remove_channels=remove_channels,
    )
    return export(model, settings, stacklevel=3)


def export(model: compat.Model, settings: ExportSettings, *, stacklevel: int = 2) -> Report:
    """Exports a built model as `settings` say; see `export_model`.

    Args:
        model: a built Keras model.
        settings: of an export that may begin.
        stacklevel: of the warning that some formats failed; 2 is the caller.
    """
    signature.require_built(model)
    export_dir = Path(settings.export_dir).resolve()
    require_replaceable(export_dir, [TARGETS[name].file_name for name in settings.formats])
    with telling(settings.verbose) as progress:
        job, report = _work(model, settings, export_dir, progress)
    if settings.verbose:
        ending = f"The files and report.html: {settings.export_dir}", headline_of(report)
        print(f"\n{table(report)}\n\n" + "\n".join(filter(None, ending)), flush=True)
    if job.causes:
        error = ExportError(job.causes, report)
        if settings.on_failure == "raise":
            raise error
        warnings.warn(str(error), stacklevel=stacklevel)
    return report


def _work(model: compat.Model, settings: ExportSettings, export_dir: Path, progress: Progress) -> tuple[Job, Report]:
    """Everything up to the delivery."""
    progress.begin("reading data", 0.0)
    feed = Feed(model, settings.evaluation_data, settings.representative_dataset, settings.input_signature)
    with remembered_interrupts() as check, workspace(export_dir) as folder, contextlib.ExitStack() as open_processes:
        is_shared = warn_if_shared(folder, export_dir)
        sources = Sources(compat.without_wrappers(model), feed, settings.wanted, folder, settings.plain_metadata)
        sources.removes_channels = settings.remove_channels
        job = Job(sources, folder, settings, open_processes, progress)
        job.write(settings.formats, check)
        job.warn()
        verification = job.verify(settings.metrics)
        check()
        if settings.latency:
            job.time(verification.example, check)
            check()
        if not is_shared:  # or another has begun meanwhile
            warn_if_shared(folder, export_dir)
        with disk_errors_explained():
            return job, job.deliver(settings.formats, verification, export_dir)
