"""An operation without an integer form: it fails the format by name, or it is delivered in float and named."""

import numpy as np
import pytest

from segopt_callbacks import ExportQuantizedCallback, QuantizationAwareTrainingCallback, export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.errors import listed
from segopt_callbacks.export.litert import flatbuffer

IMAGES = np.random.default_rng(0).normal(size=(32, 8, 8, 3)).astype("float32")
LABELS = np.zeros((32, 6, 6), "int32")


def model():
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Conv2D(6, 3, activation="elu", name="bent"), keras.layers.Conv2D(4, 1)]
    made = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    made.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return made


def test_the_cause_names_the_layer_the_option_and_other_formats(tmp_path):
    with pytest.warns(UserWarning, match="int8"):
        report = export_model(
            model(),
            tmp_path,
            ["int8"],
            evaluation_data=(IMAGES, LABELS),
            latency=False,
            verbose=0,
            on_failure="warn",
        )
    cause = report["formats"]["int8"]["error"]
    for word in ("ELU", "bent", "float_fallback=True", "allow_float", "float16", "dynamic_int8"):
        assert word in cause


@pytest.mark.parametrize("trained", [False, True])
def test_a_mixed_file_is_delivered_and_names_what_computes_in_float(trained, tmp_path):
    export = ExportQuantizedCallback(
        tmp_path, ["int8"], evaluation_data=(IMAGES, LABELS), latency=False, verbose=0, float_fallback=True
    )
    ours = [QuantizationAwareTrainingCallback(), export] if trained else [export]
    if trained:
        with pytest.warns(UserWarning, match="train in float.*float_fallback=True.*Elu"):
            model().fit(IMAGES, LABELS, verbose=0, callbacks=ours)
    else:
        model().fit(IMAGES, LABELS, verbose=0, callbacks=ours)
    entry = export.report["formats"]["int8"]
    assert entry["status"] == "ok"
    assert [one.partition(" ")[0] for one in entry["float_operations"]] == ["ELU"]
    assert flatbuffer.float_operations(tmp_path / "int8.tflite") == entry["float_operations"]
    assert "ELU" in entry["notes"]["computes in float"]
    assert "ELU" in (tmp_path / "report.md").read_text()
    assert entry["relative_difference"] < 0.05


def test_an_option_that_is_no_truth_value_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`float_fallback` must be True or False"):
        export_model(model(), tmp_path, float_fallback="yes")


@pytest.mark.parametrize("name", ["elu", "bent"])
def test_what_is_allowed_by_name_computes_in_float(name, tmp_path):
    arguments = {"evaluation_data": (IMAGES, LABELS), "latency": False, "verbose": 0}
    entry = export_model(model(), tmp_path, ["int8"], allow_float=[name], **arguments)["formats"]["int8"]
    assert [one.partition(" ")[0] for one in entry["float_operations"]] == ["ELU"]
    assert "ELU" in entry["notes"]["computes in float"]


def test_what_is_not_allowed_by_name_still_fails(tmp_path):
    two = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(6, 3, activation="elu", name="bent"),
            keras.layers.Conv2D(4, 1, activation="elu", name="second"),
        ]
    )
    arguments = {"evaluation_data": (IMAGES, LABELS), "latency": False, "verbose": 0, "on_failure": "warn"}
    with pytest.warns(UserWarning, match="int8"):
        report = export_model(two, tmp_path, ["int8"], allow_float=["bent"], **arguments)
    refused = report["formats"]["int8"]["error"].partition("; pass")[0]
    assert "second" in refused
    assert "bent" not in refused


@pytest.mark.parametrize("wrong", [7, [7], [""], None])
def test_what_is_no_name_is_refused(wrong):
    with pytest.raises(ValueError, match="`allow_float` must be names of operations or layers"):
        ExportQuantizedCallback("files", allow_float=wrong)


def test_all_and_some_contradict():
    with pytest.raises(ValueError, match="pass it, or `allow_float`"):
        ExportQuantizedCallback("files", allow_float="ELU", float_fallback=True)


def test_lists_end_after_five():
    assert listed([str(number) for number in range(40)]) == "0, 1, 2, 3, 4 and 35 more"
