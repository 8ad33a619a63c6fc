"""Models pruned by `channel()` lose their dead channels, under both Kerases, and answer as before."""

import json

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import PruningScheduleCallback, channel, export_model
from segopt_callbacks.channels import remove_channels
from segopt_callbacks.compat import keras
from segopt_callbacks.data import Feed
from segopt_callbacks.export.inference.smaller import smaller
from segopt_callbacks.model import signature
from tests.export_zoo import attention, zoo
from train_unet.unet import UNet

SPARSITY = 0.5


def pruned(make, shape):
    """The model, half of whose channels are zero and whose other biases and offsets are not."""
    keras.utils.set_random_seed(0)
    model = make()
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).uniform(size=(4, *shape)).astype("float32")
    y = np.zeros(model(x[:1]).shape, "float32").repeat(4, axis=0)
    callbacks = [PruningScheduleCallback(SPARSITY, pattern=channel())]
    model.fit(x, y, batch_size=2, epochs=2, verbose=0, callbacks=callbacks)
    random = np.random.default_rng(1)
    for weight in model.trainable_weights:
        if len(weight.shape) == 1:
            value = np.asarray(weight)
            weight.assign(np.where(value == 0, value, value + random.normal(size=value.shape)))
    return model, x


def removed(model, shape):
    frozen = signature.freeze(model, tf.TensorSpec((None, *shape), tf.float32))
    return frozen, *remove_channels(frozen)


def answers(frozen, x):
    return [one.numpy() for one in frozen.serve(tf.constant(x[:1])).values()]


@pytest.fixture(scope="module")
def unet():
    return pruned(lambda: UNet(3, 8, levels=3, upsampling="transposed"), (32, 32, 3))


def test_a_subclassed_unet_computes_half_of_its_channels_and_answers_alike(unet):
    model, x = unet
    frozen, cut, removal = removed(model, (32, 32, 3))
    np.testing.assert_allclose(answers(cut, x)[0], model(x[:1]).numpy(), rtol=1e-4, atol=1e-4)
    assert removal.left == ()
    for path, variable in frozen.weights.items():
        whole, halves = tuple(variable.shape), tuple(cut.weights[path].shape)
        expected = tuple(size // 2 if size % 4 == 0 else size for size in whole[-2:])  # 3 in and 3 out stay
        assert halves == (*whole[:-2], *expected), path
    before, after = removal.multiply_adds
    assert 0.25 < after / before < 0.35


def test_every_kind_of_layer_answers_alike_and_what_stays_is_named(tmp_path):
    model, x = pruned(zoo, (16, 16, 3))
    report = export_model(model, tmp_path, ["saved_model", "float32"], latency=False, verbose=0)
    assert max(entry["relative_difference"] for entry in report["formats"].values()) < 1e-5
    assert min(entry["removed"] for entry in report["formats"].values()) > 0
    _, cut, removal = removed(model, (16, 16, 3))
    np.testing.assert_allclose(answers(cut, x)[0], model(x[:1]).numpy(), rtol=1e-4, atol=1e-5)
    kinds = {name for layer in ("plain", "separable", "joined", "resized") for name in removal.removed if layer in name}
    told = {reason for name, _, reason in removal.left}
    assert removal.parameters[1] < removal.parameters[0]
    assert any("resized" in one for one in kinds)
    assert any("a grouped convolution reads channels in groups" in one for one in told)


def test_attention_stays_whole():
    model = attention()
    frozen, cut, removal = removed(model, (4, 6))
    assert cut is frozen
    assert removal.left == ()


def test_files_lose_channels_and_the_report_tells(unet, tmp_path):
    model, x = unet
    formats = ["saved_model", "float32", "int8"]
    data = x, np.zeros((4, 32, 32, 3), "float32")
    report = export_model(model, tmp_path, formats, evaluation_data=data, metrics={}, latency=False, verbose=0)
    whole = report["model"]
    for name in formats:
        entry = report["formats"][name]
        assert entry["elements"] + entry["removed"] == whole["elements"]
        assert entry["elements"] < 0.35 * whole["elements"]
        assert entry["zeros"] < 0.05  # of what is there
        assert all(row["weight"] for row in entry["weights"])
        for row in entry["weights"]:
            gone = row.get("removed", 0)
            if not row["weight"].startswith("head"):
                assert row["zeros"] + gone >= round(SPARSITY * (row["elements"] + gone))
    for name in ("saved_model", "float32"):
        assert report["formats"][name]["relative_difference"] < 1e-5
    told = json.loads((tmp_path / "report.json").read_text())["channels"]
    assert told["parameters"]["before"] == sum(int(np.prod(one.shape)) for one in model.weights)
    assert told["left"] == []
    assert f"parameters {told['parameters']['before']:,} before" in (tmp_path / "report.md").read_text()
    assert "removed from every file" in (tmp_path / "report.html").read_text()


def test_channels_stay_where_they_are_asked_to(unet, tmp_path):
    model, _ = unet
    report = export_model(model, tmp_path, "float32", latency=False, verbose=0, remove_channels=False)
    entry = report["formats"]["float32"]
    assert entry["elements"] == report["model"]["elements"]
    assert entry["zeros"] == report["model"]["zeros"]
    assert "channels" not in report


def test_a_shared_layer_loses_what_is_dead_wherever_it_is_called():
    shared = keras.layers.Conv2D(4, 3, padding="same", name="shared", activation="relu")
    inputs = keras.Input((8, 8, 4))
    first = keras.layers.Conv2D(4, 1, name="first")(inputs)
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(shared(shared(first))))
    kernel, bias = (np.array(one) for one in shared.get_weights())
    kernel[..., :2], bias[:2] = 0, 0
    shared.set_weights([kernel, bias])
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 4)).astype("float32")
    frozen, cut, removal = removed(model, (8, 8, 4))
    np.testing.assert_allclose(answers(cut, x)[0], answers(frozen, x)[0], rtol=1e-5, atol=1e-6)
    # Its second call does not read two channels, but its first call does read those of `first`.
    assert cut is frozen
    assert all("shared" in name for name, _, _ in removal.left)
    assert removal.left


def test_a_wrong_cut_is_noticed_and_the_function_stays_whole(unet, monkeypatch):
    model, x = unet
    feed = Feed(model, (x, x), None)
    frozen, cut, removal = removed(model, (32, 32, 3))
    assert smaller(model, frozen, feed)[0] is not frozen
    # A copy: nothing of the model or the fixture changes.
    kernel = next(variable for path, variable in cut.weights.items() if path.endswith("head/kernel"))
    kernel.assign(-kernel)
    monkeypatch.setattr("segopt_callbacks.export.inference.smaller.remove_channels", lambda function: (cut, removal))
    found, told = smaller(model, frozen, feed)
    assert found is frozen
    assert "the answers without them differ by" in told["left_whole"]


@pytest.mark.either_keras
def test_a_recurrent_model_with_masks_is_exported_whole(tmp_path):
    tokens = keras.Input((6,), dtype="int32")
    hidden = keras.layers.Bidirectional(keras.layers.LSTM(4))(keras.layers.Embedding(9, 4, mask_zero=True)(tokens))
    model = keras.Model(tokens, keras.layers.Dense(3)(hidden))
    recurrent = model.layers[-2]
    recurrent.set_weights([np.where(np.arange(one.shape[-1]) == 0, 0, one) for one in recurrent.get_weights()])
    words = np.array([[1, 2, 3, 4, 0, 0], [5, 6, 7, 8, 1, 2]], "int32")
    formats = ("saved_model", "float32")
    report = export_model(model, tmp_path, formats, evaluation_data=words, latency=False, verbose=0)
    assert all(report["formats"][name]["status"] == "ok" for name in formats)
    assert not report.get("channels", {}).get("removed")


@pytest.mark.either_keras
def test_a_normalization_that_zeroes_a_channel_is_enough(tmp_path):
    norm = keras.layers.BatchNormalization()
    layers = [keras.layers.Conv2D(8, 3), norm, keras.layers.ReLU(), keras.layers.Conv2D(2, 1)]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    lives = (np.arange(8) > 2).astype("float32")  # every kernel has weights
    norm.set_weights([lives, lives, np.zeros(8), np.ones(8)])
    images = np.random.default_rng(0).uniform(size=(4, 8, 8, 3)).astype("float32")
    report = export_model(model, tmp_path, ("float32",), evaluation_data=images, latency=False, verbose=0)
    assert list(report["channels"]["removed"].values()) == [3]
    assert report["formats"]["float32"]["largest_difference"] < 1e-5
