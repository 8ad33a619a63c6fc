"""Ranges that training has learned, or that a method chooses, reach the `int8` file; its own reader is the witness."""

import dataclasses
import json
import warnings

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from segopt_callbacks import ExportQuantizedCallback, QuantizationAwareTrainingCallback, export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.export import ExportError
from segopt_callbacks.export.formats import TARGETS
from segopt_callbacks.model import signature
from segopt_callbacks.quantization import bounds, sites
from segopt_callbacks.quantization.calibration import METHODS, Histogram
from tests.export import export_targets
from tests.export_models import DATA, IMAGES, LABELS, Segmenter, Wavy, built, functional

FLOATS = (IMAGES / 255).astype("float32")
FLOAT_DATA = (FLOATS, LABELS)


def trained(model, *callbacks, data=DATA, epochs=1):
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    training = QuantizationAwareTrainingCallback()
    model.fit(*data, batch_size=5, epochs=epochs, verbose=0, callbacks=[*callbacks, training])
    return training


def int8(model, folder, **options):
    return export_model(model, folder, ("int8",), verbose=0, **options)["formats"]["int8"]


def scales(path):
    """Every scale of an activation in a file, by LiteRT's own interpreter."""
    interpreter = Interpreter(str(path))
    found = [one["quantization_parameters"]["scales"] for one in interpreter.get_tensor_details()]
    return [float(one[0]) for one in found if one.size == 1]


def has_scale(path, pair):
    return np.isclose(scales(path), (pair[1] - pair[0]) / 255, rtol=1e-5).any()


def test_the_file_holds_the_ranges_of_its_fit_and_needs_no_data(tmp_path):
    export = ExportQuantizedCallback(tmp_path, ("int8",), verbose=0)
    training = trained(functional(), export, data=FLOAT_DATA)
    assert len(training.ranges) == 3
    assert all(has_scale(tmp_path / "int8.tflite", pair) for pair in training.ranges.values())
    entry = json.loads((tmp_path / "report.json").read_text())["formats"]["int8"]
    assert entry["ranges"] == {"learned": 3, "calibrated": []}
    assert {one["dtype"] for one in entry["activations"]} == {"int8"}
    assert "- ranges: 3 learned in training\n" in (tmp_path / "report.md").read_text()
    assert "3 learned in training" in (tmp_path / "report.html").read_text()


def test_raw_images_stay_uint8(tmp_path):
    export = ExportQuantizedCallback(tmp_path, ("int8",), evaluation_data=DATA, verbose=0)
    trained(built(Segmenter), export)
    entry = export.report["formats"]["int8"]
    assert entry["ranges"]["calibrated"] == []
    assert entry["equal_argmax"] >= 0.9
    (given,) = Interpreter(str(tmp_path / "int8.tflite")).get_input_details()
    assert given["dtype"] == np.uint8
    assert {one["dtype"] for one in entry["activations"]} == {"int8", "uint8"}


def test_ranges_of_an_earlier_fit_are_given_on(tmp_path):
    model = functional()
    ranges = json.loads(json.dumps(trained(model, data=FLOAT_DATA).ranges))
    ranges["input_0"] = (0.0, 3.0)  # what no calibration would find
    assert int8(model, tmp_path, ranges=ranges)["ranges"]["learned"] == 3
    assert has_scale(tmp_path / "int8.tflite", (0.0, 3.0))


def test_ranges_that_are_missing_come_from_data_and_are_named(tmp_path):
    model = functional()
    ranges = trained(model, data=FLOAT_DATA).ranges
    name = list(ranges)[1]
    wide = {one: (10 * low, 10 * high) for one, (low, high) in ranges.items() if one != name}
    entry = int8(model, tmp_path, ranges=wide, evaluation_data=FLOAT_DATA)
    assert entry["ranges"] == {"learned": 2, "calibrated": [name], "method": "min_max"}
    assert all(has_scale(tmp_path / "int8.tflite", pair) for pair in wide.values())
    assert (
        f"- ranges: 2 learned in training, 1 calibrated on representative data (min_max): {name}\n"
        in (tmp_path / "report.md").read_text()
    )
    with pytest.raises(ExportError, match=f"without a learned range must see data; pass .* no range of {name}"):
        int8(model, tmp_path, ranges=wide)


def test_learned_ranges_that_cut_answers_off_are_refused_with_what_to_do(tmp_path):
    model = functional()
    narrow = {one: (low, 1e-3) for one, (low, _) in trained(model, data=FLOAT_DATA).ranges.items()}
    with pytest.raises(ExportError, match="ranges were learned in training.*call export_model without `ranges`"):
        int8(model, tmp_path, ranges=narrow, evaluation_data=FLOAT_DATA)
    assert int8(model, tmp_path, evaluation_data=FLOAT_DATA)["status"] == "ok"


@pytest.mark.parametrize("method", ["percentile", "entropy", "mse"])
def test_a_method_chooses_the_range_of_the_input_and_cuts_no_answer_off(tmp_path, method):
    images = np.random.default_rng(0).standard_t(2, (20, 16, 16, 3)).astype("float32")
    model = functional()
    entry = int8(model, tmp_path, evaluation_data=(images, None), calibration=method)
    assert entry["ranges"] == {"learned": 0, "calibrated": sorted(entry["ranges"]["calibrated"]), "method": method}
    assert len(entry["ranges"]["calibrated"]) == 3
    (given,) = Interpreter(str(tmp_path / "int8.tflite")).get_input_details()
    low, high = METHODS[method](Histogram.of(images, images.min(), images.max()))
    np.testing.assert_allclose(given["quantization"][0], (high - low) / 255, rtol=1e-5)
    assert high - low < images.max() - images.min()
    answers = model.predict(images, verbose=0)
    (answer,) = Interpreter(str(tmp_path / "int8.tflite")).get_output_details()
    np.testing.assert_allclose(
        answer["quantization"][0], (max(answers.max(), 0) - min(answers.min(), 0)) / 255, rtol=1e-3
    )


def by_the_converter(model, images, folder):
    """The file as TensorFlow's converter calibrates it, example by example."""
    signature.save(signature.freeze(model, tf.TensorSpec((None, *images.shape[1:]), images.dtype)), folder / "theirs")
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "theirs"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated")
        return converter.convert()


def test_without_a_method_ranges_are_those_that_the_converter_finds(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "MOST", 3)  # ten examples: three batches, and one that is not full
    model = functional()
    entry = int8(model, tmp_path, evaluation_data=FLOAT_DATA)
    assert "ranges" not in entry
    assert "ranges" not in entry["notes"]
    assert entry["notes"]["calibrated on"] == "evaluation data"
    (tmp_path / "theirs.tflite").write_bytes(by_the_converter(model, FLOATS, tmp_path))
    theirs, ours = scales(tmp_path / "theirs.tflite"), scales(tmp_path / "int8.tflite")
    assert len(theirs) >= 3
    np.testing.assert_allclose(sorted(set(ours)), sorted(set(theirs)), rtol=1e-4)


def test_what_has_no_range_here_is_left_to_the_converter_and_told(tmp_path, monkeypatch):
    """The file is the converter's, with its operations in float; which the audit refuses, as it always has."""
    with pytest.raises(ExportError, match=r"operations compute in float32 in an integer file: .*SIN"):
        export_model(built(Wavy), tmp_path, ("int8",), evaluation_data=DATA, verbose=0)
    monkeypatch.setattr(sites, "RANGED", sites.RANGED - {"ConcatV2"})  # as if nobody had thought of it
    entry = int8(built(Segmenter), tmp_path, evaluation_data=DATA)
    assert entry["notes"]["ranges"].startswith(
        "found by the converter: operations have no 8-bit form that is known here"
    )
    assert "(ConcatV2)" in entry["notes"]["ranges"]
    assert "- ranges: found by the converter: " in (tmp_path / "report.md").read_text()
    assert {one["dtype"] for one in entry["activations"]} == {"int8", "uint8"}
    assert entry["equal_argmax"] >= 0.9


@pytest.mark.parametrize("refusal", ["raises", "float"])
def test_ranges_that_the_converter_does_not_take_are_left_to_it_and_told(tmp_path, monkeypatch, refusal):
    monkeypatch.setitem(TARGETS, "int8", dataclasses.replace(TARGETS["int8"], write=export_targets.WRITES[refusal]))
    entry = int8(built(Segmenter), tmp_path, evaluation_data=DATA)
    told = {"raises": "with ranges it will not", "float": "with ranges these compute in float32: SIN (x)"}
    assert entry["notes"]["ranges"] == f"found by the converter: {told[refusal]}"
    assert {one["dtype"] for one in entry["activations"]} == {"int8", "uint8"}


def test_ranges_of_training_are_never_left_to_the_converter(tmp_path, monkeypatch):
    monkeypatch.setitem(TARGETS, "int8", dataclasses.replace(TARGETS["int8"], write=export_targets.WRITES["raises"]))
    model = functional()
    ranges = trained(model, data=FLOAT_DATA).ranges
    with pytest.raises(ExportError, match="int8: it will not"):
        int8(model, tmp_path, ranges=ranges, evaluation_data=FLOAT_DATA)


def test_a_batch_of_any_size_stays_so(tmp_path):
    given_by = tf.TensorSpec((None, 16, 16, 3), tf.float32)
    int8(functional(), tmp_path, evaluation_data=FLOAT_DATA, input_signature=given_by)
    (given,) = Interpreter(str(tmp_path / "int8.tflite")).get_input_details()
    assert given["shape_signature"].tolist() == [-1, 16, 16, 3]


def test_other_integer_formats_calibrate_by_themselves(tmp_path):
    export = ExportQuantizedCallback(tmp_path, ("int8", "int16x8", "float32"), evaluation_data=FLOAT_DATA, verbose=0)
    training = trained(functional(), export, data=FLOAT_DATA)
    assert "ranges" not in export.report["formats"]["int16x8"]
    assert export.report["formats"]["float32"]["largest_difference"] < 1e-5
    assert not has_scale(tmp_path / "int16x8.tflite", training.ranges["input_0"])


def test_what_computes_in_float_is_still_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the weights are rescued
    export = ExportQuantizedCallback(tmp_path, ("int8",), evaluation_data=DATA, verbose=0)
    with (
        pytest.warns(UserWarning, match=r"no 8-bit form that is known here.*\(Sin\)"),
        pytest.raises(ExportError, match=r"operations compute in float32 in an integer file: .*SIN"),
    ):
        trained(built(Wavy), export)


def test_ranges_of_another_model_are_refused(tmp_path):
    with pytest.raises(ExportError, match="`ranges` must be of this model; .* Received: elsewhere/Relu, and none of "):
        int8(functional(), tmp_path, ranges={"elsewhere/Relu": (0.0, 1.0)})


@pytest.mark.either_keras
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranges": [0.0, 1.0]}, "`ranges` must map names of tensors.*Received: list"),
        ({"ranges": {"a": (1.0, 2.0)}}, r"at most 0.*Received: 'a': \(1.0, 2.0\)"),
        ({"ranges": {"a": (0.0, float("nan"))}}, "Received: 'a'"),
        ({"ranges": {"a": 3}}, "Received: 'a': 3"),
        ({"calibration": "kl"}, "`calibration` must be one of min_max, percentile, entropy, mse. Received"),
    ],
)
def test_wrong_arguments_are_told_at_once(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        export_model(functional(), tmp_path / "none", ("int8",), evaluation_data=FLOAT_DATA, **options)
    assert not (tmp_path / "none").exists()
