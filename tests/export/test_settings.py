"""One list of settings behind `export_model` and the callback."""

import dataclasses
import inspect

import numpy as np
import pytest

from segopt_callbacks import ExportQuantizedCallback, export_model
from segopt_callbacks.export.settings import ExportSettings

FIELDS = {field.name: field for field in dataclasses.fields(ExportSettings) if field.init}
GIVEN = {
    "export_dir": "files",
    "formats": ["float32"],
    "representative_dataset": lambda: iter([]),
    "evaluation_data": (np.ones((1, 4)), np.ones((1, 2))),
    "metrics": {},
    "metadata": {"classes": ["road"]},
    "baselines": {"dense": {"accuracy": 0.9}},
    "input_signature": None,
    "calibration": "entropy",
    "on_failure": "warn",
    "time_limit": 7.0,
    "latency": False,
    "sparse": False,
    "accelerator": "ethos-u85-256",
    "remove_channels": False,
    "verbose": 0,
    "float_fallback": False,
    "allow_float": ["ELU"],
}


@pytest.mark.parametrize("call", [export_model, ExportQuantizedCallback])
def test_every_argument_is_a_setting_of_the_same_default(call):
    arguments = dict(inspect.signature(call).parameters)
    arguments.pop("model", None)
    assert arguments.keys() <= FIELDS.keys()
    for name, argument in arguments.items():
        missing = argument.default is inspect.Parameter.empty
        assert FIELDS[name].default == (dataclasses.MISSING if missing else argument.default), name


def test_every_setting_but_what_training_tells_is_read_from_the_callback():
    export = ExportQuantizedCallback(**GIVEN)
    assert {name: getattr(export, name) for name in GIVEN} == {**GIVEN, "formats": ("float32",)}
    assert FIELDS.keys() - GIVEN.keys() == {"ranges", "sensitivity", "training", "is_before_fit"}


def test_a_setting_may_be_assigned_and_is_checked_then():
    export = ExportQuantizedCallback("files")
    export.time_limit, export.formats = 5, "int8"
    assert export.settings.time_limit == 5
    assert export.settings.formats == ("int8",)
    with pytest.raises(ValueError, match="`time_limit` must be a number of seconds above 0"):
        export.time_limit = 0
    assert export.time_limit == 5


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ExportSettings(export_dir="files", formats=["float32"]).latency = False
