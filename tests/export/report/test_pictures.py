"""Where files disagree with the model, and the pictures of it, against NumPy, Pillow and the LiteRT interpreter."""

import base64
import datetime
import importlib.metadata
import io
import json
import os
import re

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from segopt_callbacks import compat, export_model
from segopt_callbacks.export import add_baseline
from segopt_callbacks.export.checks.disagreement import WIDEST, worse
from segopt_callbacks.export.checks.fingerprint import Fingerprint
from segopt_callbacks.export.report.pictures import as_rgb, drawn, png
from segopt_callbacks.pages.gallery import kept_pictures
from segopt_callbacks.pages.palette import class_colours
from segopt_callbacks.sizes import read_ledger
from tests.export_models import DATA, IMAGES, answers, built

RNG = np.random.default_rng(0)


def logits(count, side=16, classes=3):
    return RNG.normal(size=(count, side, side, classes)).astype("float32")


def images(count, side=16):
    return RNG.integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def decoded(address):
    """By Pillow."""
    content = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def over_batches(inputs, expected, found, size=4):
    kept = None
    for start in range(0, len(inputs), size):
        part = slice(start, start + size)
        kept = worse(kept, start, [inputs[part]], [expected[part]], [found[part]], [True])
    return kept


def test_the_worst_example_over_all_batches_is_kept():
    inputs, expected = images(10), logits(10)
    found = expected + 0.3 * logits(10)
    shares = (found.argmax(-1) == expected.argmax(-1)).mean(axis=(1, 2))
    kept = over_batches(inputs, expected, found)
    assert kept.example == shares.argmin()
    assert kept.equal_argmax == shares.min() < 1
    np.testing.assert_array_equal(kept.image, inputs[kept.example])
    np.testing.assert_array_equal(kept.expected, expected[kept.example].argmax(-1))
    np.testing.assert_array_equal(kept.answer, found[kept.example].argmax(-1))
    np.testing.assert_array_equal(kept.differs, kept.expected != kept.answer)


def test_where_all_classes_are_equal_nothing_is_kept():
    inputs, expected = images(6), logits(6)
    assert over_batches(inputs, expected, 2 * expected) is None


@pytest.mark.parametrize("shape", [(8, 3), (8, 5, 3), (8, 16, 16, 1)], ids=["classes", "sequence", "one_channel"])
def test_what_is_no_segmentation_has_no_pictures(shape):
    expected = RNG.normal(size=shape).astype("float32")
    assert worse(None, 0, [images(8)], [expected], [-expected], [shape[-1] > 1]) is None
    assert worse(None, 0, [np.zeros((8, 5))], [logits(8)], [logits(8)], [True]) is None


def test_the_output_with_classes_is_found_among_several():
    other, expected = np.zeros((2, 7)), logits(2)
    found = expected.copy()
    found[1, 3, 4] = [9, 0, 0] if expected[1, 3, 4].argmax() else [0, 9, 0]
    kept = worse(None, 0, [np.zeros((2, 5)), images(2)], [other, expected], [other, found], [False, True])
    assert (kept.example, kept.classes, kept.differs.sum()) == (1, 3, 1)


def test_what_is_kept_is_small_and_holds_no_batch():
    side = 3 * WIDEST + 5
    inputs, expected = np.zeros((4, side, side, 3), np.uint8), np.zeros((4, side, side, 2), np.float32)
    found = expected.copy()
    found[2, -1, 401, 1] = 1  # one pixel of 600,000
    kept = worse(None, 0, [inputs], [expected], [found], [True])
    assert kept.example == 2
    for one in (kept.image, kept.expected, kept.answer, kept.differs):
        assert max(one.shape[:2]) <= WIDEST
        assert one.base is None or one.base.nbytes <= 2 * side * side
    assert kept.differs.sum() == 1  # still to be seen


@settings(max_examples=50, deadline=None)
@given(pixels=arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_pillow_reads_our_png(pixels):
    picture = Image.open(io.BytesIO(png(pixels)))
    picture.verify()  # checksums
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png(pixels)))), pixels)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.array([[[0, 128, 255]]], np.uint8), [0, 128, 255]),
        (np.array([[[0.0, 0.5, 1.0]]]), [0, 127, 255]),
        (np.array([[[0.0, 128.0, 255.0]]]), [0, 128, 255]),
        (np.array([[[-1.0, 0.0, 1.0]]]), [0, 127, 255]),
        (np.array([[[0, 1000, 2000]]], np.int32), [0, 127, 255]),
        (np.array([[[0.5]]]), [127, 127, 127]),
        (np.array([[[0.5, 1.0]]]), [127, 127, 127]),
        (np.array([[[0.0, 0.2, 0.4, 0.6, 0.8]]]), [0, 51, 102]),
        (np.array([[[np.nan, 0.0, 1.0]]]), [0, 0, 255]),
        (np.zeros((1, 1, 3)), [0, 0, 0]),
    ],
)
def test_inputs_of_any_range_and_depth_can_be_seen(image, expected):
    assert as_rgb(image)[0, 0].tolist() == expected


def test_pictures_show_image_classes_and_differences():
    inputs, expected = images(1), logits(1)
    found = expected.copy()
    found[0, 3, 4] = np.roll(found[0, 3, 4], 1)
    palette = [[1, 2, 3], [40, 50, 60], [200, 210, 220]]
    pictures = drawn({"int8": worse(None, 5, [inputs], [expected], [found], [True])}, palette)
    assert sorted(pictures) == ["difference/int8", "file/int8", "input/5", "model/5"]
    np.testing.assert_array_equal(decoded(pictures["input/5"]), inputs[0])
    np.testing.assert_array_equal(decoded(pictures["model/5"]), np.array(palette)[expected[0].argmax(-1)])
    np.testing.assert_array_equal(decoded(pictures["file/int8"]), np.array(palette)[found[0].argmax(-1)])
    red = (decoded(pictures["difference/int8"]).astype(int) @ [1, -1, 0]) > 60
    assert np.argwhere(red).tolist() == [[3, 4]]


@pytest.mark.parametrize("form", ["ids", "column of ids", "channels"])
def test_the_truth_stands_beside_the_answers(form):
    inputs, expected, truth = images(2), logits(2), RNG.integers(0, 3, (2, 16, 16))
    target = {"ids": truth, "column of ids": truth[..., None].astype("float32"), "channels": np.eye(3)[truth]}[form]
    if form == "ids":
        target[:, 0, 0] = 255  # of a pixel that does not count
    one = worse(None, 5, [inputs], [expected], [np.roll(expected, 1, -1)], [True], [target])
    seen = decoded(drawn({"int8": one})[f"truth/{one.example}"])
    colours = np.array([*class_colours(3), *[[128] * 3] * 253])
    np.testing.assert_array_equal(seen, colours[truth[one.example - 5]])


def test_targets_that_are_no_classes_of_pixels_are_not_shown():
    inputs, expected = images(1), logits(1)
    for target in (None, np.zeros((1, 8, 8), int), np.zeros((1, 16, 16, 2)), np.full((1, 16, 16), np.nan)):
        one = worse(None, 5, [inputs], [expected], [np.roll(expected, 1, -1)], [True], [target])
        assert "truth/5" not in drawn({"int8": one})


def test_answers_of_another_size_than_the_input_lie_on_it():
    expected = logits(1, side=4)
    one = worse(None, 0, [images(1, side=16)], [expected], [-expected], [True])
    assert decoded(drawn({"int8": one})["difference/int8"]).shape == (4, 4, 3)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    (folder / "onnx.onnx").write_text("of an earlier export")
    model = built()
    # No class is always ahead, so that rounding to int8 decides some pixels.
    bias = next(weight for weight in model.weights if "head/bias" in compat.variable_path(weight))
    compat.assign(bias, compat.read(bias) - np.median(answers(model), axis=(0, 1, 2)))
    return folder, export_model(model, folder, ["float32", "int8"], evaluation_data=DATA, verbose=0), answers(model)


def test_the_page_of_an_export_shows_what_the_interpreter_answers(exported):
    folder, report, expected = exported
    interpreter = Interpreter(str(folder / "int8.tflite"))
    interpreter.allocate_tensors()
    found = []
    for image in IMAGES:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0].argmax(-1))
    shares = (np.array(found) == expected.argmax(-1)).mean(axis=(1, 2))
    worst = report["formats"]["int8"]["worst_example"]
    assert shares[worst["example"]] == shares.min() == worst["equal_argmax"] < 1
    pictures = kept_pictures(folder / "report.html")
    colours = np.array(class_colours(3), np.uint8)
    number = worst["example"]
    np.testing.assert_array_equal(decoded(pictures["file/int8"]), colours[found[number]])
    np.testing.assert_array_equal(decoded(pictures[f"model/{number}"]), colours[expected[number].argmax(-1)])
    np.testing.assert_array_equal(decoded(pictures[f"input/{number}"]), IMAGES[number])
    np.testing.assert_array_equal(decoded(pictures[f"truth/{number}"]), colours[DATA[1][number]])
    assert "worst_example" not in report["formats"]["float32"]
    assert "No class differs anywhere in float32." in (folder / "report.html").read_text()


def test_a_baseline_leaves_the_pictures_where_they_are(exported):
    folder, _, _ = exported
    before = kept_pictures(folder / "report.html")
    add_baseline(folder, "dense float32", {"accuracy": 0.5})
    assert kept_pictures(folder / "report.html") == before != {}
    assert "dense float32" in (folder / "report.html").read_text()


def test_the_report_tells_when_and_by_what_and_on_which_data(exported):
    _, report, _ = exported
    made = report["made"]
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(made["date"])
    assert 0 <= age.total_seconds() < 3600
    keras = "tf-keras" if compat.is_keras_2(built()) else "keras"
    for package in ("tensorflow", keras, "segopt-callbacks"):
        assert made["versions"][package] == importlib.metadata.version(package)
    assert made["machine"]["cpus"] == len(os.sched_getaffinity(0))
    assert made["machine"]["cpu"]
    assert made["training"] == {}
    assert report["earlier_files"] == ["onnx.onnx"]
    order = np.random.default_rng(0).permutation(len(IMAGES))
    told = [Fingerprint(), Fingerprint()]
    for number in order:
        for one, values in zip(told, DATA, strict=True):
            one.add([values[number : number + 1]])
    assert report["verification"]["fingerprint"] == {"inputs": str(told[0]), "targets": str(told[1])}


def test_the_ledger_of_the_report_is_that_of_the_file(exported):
    folder, report, _ = exported
    for name, entry in report["formats"].items():
        ledger = read_ledger(folder / f"{name}.tflite")
        for key, value in entry["ledger"].items():
            assert getattr(ledger, key) == value
        assert entry["ledger"]["whole_bytes"] == entry["bytes"]
    page = (folder / "report.html").read_text()
    assert re.search(r"<b>int8\.tflite</b>: [\d.]+ (kB|bytes) of it are weights \(int8\)", page)
    assert json.loads((folder / "report.json").read_text())["formats"] == report["formats"]
