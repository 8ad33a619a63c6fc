"""Representative data that no converter complains about, and that cost accuracy."""

import re

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import export_model
from segopt_callbacks.data.lint import FEW, Seen, lint
from tests.export_models import IMAGES, functional

pytestmark = pytest.mark.either_keras
RANDOM = np.random.default_rng(0)
FLOATS = RANDOM.uniform(size=(40, 8, 8, 3)).astype("float32")
SPEC = tf.TensorSpec((None, 8, 8, 3))


def seen(images):
    found = Seen()
    for index in range(len(tf.nest.flatten(images)[0])):
        found.add([leaf[index : index + 1] for leaf in tf.nest.flatten(images)])
    return found


def told(images, evaluation=FLOATS, spec=SPEC):
    return lint(seen(images), None if evaluation is None else (evaluation, None), spec)


def test_sound_data_raise_no_word():
    assert told(FLOATS) == []
    assert told(FLOATS, None) == []
    assert told(FLOATS[:FEW]) == []
    assert told(0.2 * FLOATS) == []
    raw = (255 * FLOATS).astype("uint8")
    assert told(raw, raw, tf.TensorSpec((None, 8, 8, 3), tf.uint8)) == []


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (
            255 * FLOATS,
            r"scaled as evaluation data are; divide the bytes by 255 first. Received: values up to 25\d.*up to 1",
        ),
        (1000 * FLOATS, r"scale both alike. Received: values up to 1000, where evaluation data go up to 1$"),
        (FLOATS / 255, r"scale both alike. Received: values up to 0.003922, where"),
        ((255 * FLOATS).astype("uint8"), r"dtype that the model is fed; cast them. Received: uint8 for float32"),
        (FLOATS[:, :4], r"shape that the model is fed; .* Received: \(4, 8, 3\) for \(8, 8, 3\)"),
        (FLOATS[: FEW - 1], r"at least 32 examples to show the ranges of activations; pass more. Received: 31$"),
    ],
)
def test_a_mistake_is_told_with_rule_value_and_remedy(images, sentence):
    assert any(re.search(sentence, one) for one in told(images))


def test_inputs_are_named_where_there_are_several():
    specs = {"a": SPEC, "b": SPEC}
    (sentence,) = told({"a": FLOATS, "b": 255 * FLOATS}, {"a": FLOATS, "b": FLOATS}, specs)
    assert "(input 1)" in sentence


def test_the_report_tells(tmp_path, capsys):
    floats = (IMAGES / 255).astype("float32")
    data = {"representative_dataset": lambda: [[IMAGES.astype("float32")]], "evaluation_data": (floats, None)}
    with pytest.warns(UserWarning, match="more than rounding explains"):  # the file is as far off as its data
        report = export_model(functional(), tmp_path, ("float32", "int8"), on_failure="warn", **data)
    assert len(report["warnings"]) == 2
    assert "divide the bytes by 255 first" in report["warnings"][0]
    assert "export: WARNING: representative data must be scaled" in capsys.readouterr().out
    for name in ("report.md", "report.html"):
        assert "divide the bytes by 255 first" in (tmp_path / name).read_text()
    assert "warnings" not in export_model(functional(), tmp_path, ("float32",), verbose=0, **data)
