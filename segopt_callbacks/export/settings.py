"""What is asked of an export, checked once, before any training is spent on it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from segopt_callbacks import data
from segopt_callbacks.data import validate_metrics
from segopt_callbacks.export import ethos_u
from segopt_callbacks.export.allowance import Allowance, validate_allow_float
from segopt_callbacks.export.baselines import as_baselines
from segopt_callbacks.export.delivery import validate_metadata
from segopt_callbacks.export.formats import TARGETS, Format, validate_formats
from segopt_callbacks.export.inference import ranged
from segopt_callbacks.model import validate_input_signature
from segopt_callbacks.quantization import Calibration
from segopt_callbacks.records import Sensitivity
from segopt_callbacks.rules import is_number, require_flag, require_one_of, require_path, require_verbose

OnFailure = Literal["raise", "warn"]
FORMATS: tuple[Format, ...] = ("saved_model", "float32", "int8")


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportSettings:
    """The arguments of `export_model`, which says what each means, and what follows from them.

    Attributes:
        formats: names out of `formats.TARGETS`; a tuple, whatever was given.
        training: what the report is to tell of the fit, as JSON holds it.
        is_before_fit: whether data and ranges may yet come from training.
        wanted: `ranges` and `calibration`, checked.
        plain_metadata: `metadata` as JSON gives it back.
        plain_baselines: the report's part of `baselines`.
        allowance: what `float_fallback` and `allow_float` let compute in float.

    Raises:
        ValueError: for an argument outside its range.

    Example:
        >>> ExportSettings(export_dir="files", formats="float32").formats
        ('float32',)
    """

    export_dir: str | os.PathLike[str]
    formats: Sequence[Format] | Format = FORMATS
    representative_dataset: Any = None
    evaluation_data: Any = None
    metrics: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] | None = None
    baselines: Mapping[str, Mapping[str, float]] | None = None
    input_signature: Any = None
    ranges: ranged.Ranges | None = None
    calibration: Calibration = "min_max"
    sensitivity: Sensitivity | None = None
    on_failure: OnFailure = "raise"
    time_limit: float = 600.0
    latency: bool = True
    verbose: int = 1
    float_fallback: bool = False
    allow_float: Sequence[str] = ()
    sparse: Literal["auto", False] = "auto"
    accelerator: str = ethos_u.DEFAULT
    remove_channels: bool = True
    training: Mapping[str, Any] = field(default_factory=dict)
    is_before_fit: bool = False
    wanted: ranged.Wanted = field(init=False)
    plain_metadata: dict[str, Any] = field(init=False)
    plain_baselines: dict[str, Any] = field(init=False)
    allowance: Allowance = field(init=False)

    def __post_init__(self) -> None:
        require_path("export_dir", self.export_dir)
        data.validate_representative_dataset(self.representative_dataset)
        object.__setattr__(self, "evaluation_data", data.as_evaluation_data(self.evaluation_data))
        validate_metrics(self.metrics)
        object.__setattr__(self, "plain_metadata", validate_metadata(self.metadata))
        object.__setattr__(self, "plain_baselines", as_baselines(self.baselines or {}, TARGETS))
        validate_input_signature(self.input_signature)
        self._validate_kinds()
        object.__setattr__(self, "allowance", validate_allow_float(self.allow_float, self.float_fallback))
        object.__setattr__(self, "wanted", ranged.validate_ranges(self.ranges, self.calibration))
        has_data = self.is_before_fit or self.representative_dataset is not None or self.evaluation_data is not None
        names = validate_formats(self.formats, has_data=has_data, has_ranges=bool(self.wanted.ranges))
        object.__setattr__(self, "formats", names)

    def _validate_kinds(self) -> None:
        sensitivity, on_failure, time_limit = self.sensitivity, self.on_failure, self.time_limit
        if sensitivity is not None and not isinstance(sensitivity, Sensitivity):
            raise ValueError(
                f"`sensitivity` must be what `layer_sensitivity` returns. Received: {type(sensitivity).__name__}."
            )
        require_one_of("on_failure", on_failure, get_args(OnFailure))
        if not is_number(time_limit) or not time_limit > 0:
            raise ValueError(f"`time_limit` must be a number of seconds above 0. Received: time_limit={time_limit!r}.")
        if self.sparse != "auto" and self.sparse is not False:
            raise ValueError(f"`sparse` must be 'auto' or False. Received: sparse={self.sparse!r}.")
        ethos_u.validate_accelerator(self.accelerator)
        for name in ("latency", "remove_channels"):
            require_flag(name, getattr(self, name))
        require_verbose(self.verbose)
