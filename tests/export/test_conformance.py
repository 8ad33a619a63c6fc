"""Every kind of model into every format: delivered and equal, or refused with a reason, as docs/conformance.md says."""

import json
import os

import numpy as np
import pytest

from segopt_callbacks import compat
from segopt_callbacks.compat import keras
from segopt_callbacks.export import export_model
from tests.export import conformance_cases as cases
from tests.export.conformance_cases import FLOATS, IS_KERAS_2, MIRRORED, MODELS, YES, exported, outcomes
from tests.fit.test_strategy import results, start


def check(what, entries, record_property):
    found = outcomes(what, entries)
    assert all(outcome == YES or len(outcome) > 20 for outcome in found.values()), "refused without a reason"
    record_property("outcomes", json.dumps({"what": what, "outcomes": found}))
    if "WRITE_CONFORMANCE" not in os.environ:
        page = cases.on_page(IS_KERAS_2)[what]
        assert found == {name: page.get(name) for name in entries}, "run `python docs/make_conformance.py`"


@pytest.mark.parametrize("what", MODELS)
def test_a_model_goes_into_every_format_or_the_page_says_why_not(what, record_property):
    model, x = MODELS[what]()
    before = [compat.read(weight).copy() for weight in model.weights]
    # Without its dead channels the pruned one has less than the 8 channels that TensorRT computes in integers.
    check(what, exported(model, x, remove_channels="tfmot: pruned" not in what), record_property)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(compat.read(weight), value)


def test_a_model_of_replicas_goes_into_every_format(record_property):
    (entries,) = results([start("exports")])
    check(MIRRORED, entries, record_property)
    assert set(outcomes(MIRRORED, entries).values()) == {YES}


def test_the_page_has_every_model():
    assert set(cases.on_page(IS_KERAS_2)) >= {*MODELS, MIRRORED}


# --- wrapped by tfmot ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not IS_KERAS_2, reason="tfmot wraps models of Keras 2")
@pytest.mark.parametrize("how", ["pruned", "clustered"])
def test_wrappers_are_left_out_and_stay_in_the_model(tmp_path, how):
    model, x = cases.wrapped(how)
    layers, nodes = list(model.layers), [len(layer._inbound_nodes) for layer in model.layers]
    data = (x, np.zeros((len(x), 8, 8, 3)))
    report = export_model(model, tmp_path, ["float32"], evaluation_data=data, verbose=0, remove_channels=False)
    rows = report["formats"]["float32"]["weights"]
    for row in rows:
        assert how == "clustered" or row["zeros"] == round(0.5 * row["elements"])
        assert how == "pruned" or row["distinct"] <= 4 * row["shape"][0]  # BatchNorm scales each output channel
    assert len(rows) == 2
    assert report["model"]["parameters"] == sum(int(np.prod(one.shape)) for one in cases.functional()[0].weights)
    assert [*model.layers] == layers
    assert [len(layer._inbound_nodes) for layer in layers] == nodes
    with compat.importing_tfmot():
        from tensorflow_model_optimization.sparsity.keras import UpdatePruningStep
    model.fit(*data, verbose=0, callbacks=[UpdatePruningStep()] if how == "pruned" else [])


@pytest.mark.skipif(not IS_KERAS_2, reason="tfmot wraps layers of Keras 2")
def test_wrapped_layers_of_a_subclassed_model_are_refused_in_words(tmp_path):
    with compat.importing_tfmot():
        from tensorflow_model_optimization.sparsity.keras import prune_low_magnitude

    class Wrapped(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = prune_low_magnitude(keras.layers.Conv2D(4, 3, name="hidden"))

        def call(self, inputs):
            return self.hidden(inputs)

    model = Wrapped()
    model(FLOATS)
    with pytest.raises(ValueError, match="must be functional or sequential, for tfmot to unwrap them; put .*hidden"):
        export_model(model, tmp_path, ["float32"], verbose=0)
