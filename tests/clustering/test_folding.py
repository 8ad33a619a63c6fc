import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import ClusterOnTrainEndCallback, ClusterScheduleCallback, cluster_model, compat, export_model
from segopt_callbacks.clustering.folding import find_folds
from segopt_callbacks.compat import keras
from segopt_callbacks.export.litert.flatbuffer import stored_weights
from segopt_callbacks.model.weights import select_weights
from tests.conformance import IMAGES, Outer, Segmenter, built, compiled, fit, kernels

layers = keras.layers


class Shuffled(keras.Model):
    """Subclassed; its layers are called in another order than they are made in, one of them twice."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.second_norm = layers.BatchNormalization(name="second_norm")
        self.first_norm = layers.BatchNormalization(name="first_norm")
        self.second = layers.Conv2D(8, 3, padding="same", name="second")
        self.first = layers.Conv2D(8, 3, padding="same", name="first")
        self.twice = layers.Conv2D(8, 1, name="twice")
        self.twice_norm = layers.BatchNormalization(name="twice_norm")

    def call(self, inputs, training=None):
        hidden = tf.nn.relu(self.first_norm(self.first(inputs), training=training))
        hidden = tf.nn.relu(self.second_norm(self.second(hidden), training=training))
        hidden = self.twice_norm(self.twice(hidden), training=training)
        return self.twice(hidden)


def every_kind():
    """Each kind of layer that may stand before a normalisation, and an answer that two layers read."""
    inputs = keras.Input((8, 8, 3))
    hidden = layers.Conv2D(8, 3, padding="same", name="conv")(inputs)
    hidden = layers.ReLU()(layers.BatchNormalization(name="after_conv")(hidden))
    hidden = layers.Conv2D(8, 3, padding="same", dilation_rate=2, name="dilated")(hidden)
    hidden = layers.ReLU()(layers.BatchNormalization(name="after_dilated")(hidden))
    hidden = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="depthwise")(hidden)
    hidden = layers.ReLU()(layers.BatchNormalization(name="after_depthwise", scale=False)(hidden))
    hidden = layers.SeparableConv2D(8, 3, padding="same", use_bias=False, name="separable")(hidden)
    hidden = layers.BatchNormalization(name="after_separable", center=False)(hidden)
    hidden = layers.Conv2DTranspose(6, 2, strides=2, name="transposed")(hidden)
    hidden = layers.BatchNormalization(name="after_transposed")(hidden)
    split = layers.Conv2D(6, 3, padding="same", name="split")(hidden)
    hidden = layers.Add()([split, layers.BatchNormalization(name="after_split")(split)])
    hidden = layers.BatchNormalization(name="after_dense")(layers.Dense(5, name="dense")(hidden))
    return keras.Model(inputs, layers.Conv2D(4, 1, name="head")(hidden))


def trained(make, seed=0):
    """A model with statistics, scales and offsets as training leaves them, negative ones too."""
    model, random = make(), np.random.default_rng(seed)
    for variable in model.variables:
        name, shape = compat.variable_path(variable).rpartition("/")[2], tuple(variable.shape)
        if name == "moving_variance":
            compat.assign(variable, random.uniform(0.1, 3, shape))
        elif name == "gamma":
            compat.assign(variable, random.uniform(0.3, 2, shape) * random.choice([-1, 1], shape))
        elif len(shape) == 1:
            compat.assign(variable, random.normal(size=shape))
    return model


def folds_of(model):
    found = find_folds(model, compat.model_input_specs(model), select_weights(model))
    return {path.rsplit("/", 2)[-2]: fold.layer.name for path, fold in found.items()}


def scale_of(layer):
    """What inference multiplies by, by the definition of the layer."""
    gamma = 1.0 if layer.gamma is None else compat.read(layer.gamma)
    return gamma / np.sqrt(compat.read(layer.moving_variance) + layer.epsilon)


def test_a_normalisation_is_found_behind_every_kind_of_kernel_that_it_alone_reads():
    assert folds_of(every_kind()) == {
        "conv": "after_conv",
        "dilated": "after_dilated",
        "depthwise": "after_depthwise",
        "separable": "after_separable",
        "transposed": "after_transposed",
        "dense": "after_dense",
    }


def test_the_graph_tells_whose_normalisation_it_is_and_a_shared_kernel_has_none():
    assert folds_of(built(Shuffled)()) == {"first": "first_norm", "second": "second_norm"}


@pytest.mark.parametrize("make", [every_kind, built(Segmenter), built(Outer), built(Shuffled)])
def test_absorbing_the_scales_changes_no_answer_and_leaves_one_scale(make):
    model = trained(make)
    expected = np.asarray(model(IMAGES))
    folds = find_folds(model, compat.model_input_specs(model), select_weights(model))
    for fold in folds.values():
        fold.absorb(model)
        np.testing.assert_allclose(scale_of(fold.layer), fold.scale, rtol=1e-6)
        assert (compat.read(fold.layer.moving_variance) >= 0).all()
    np.testing.assert_allclose(np.asarray(model(IMAGES)), expected, atol=2e-5 * np.abs(expected).max())
    before = model.get_weights()
    for fold in folds.values():
        fold.absorb(model)  # again: nothing to do
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_weak_channel_and_a_dead_one():
    model = trained(every_kind)
    (fold,) = find_folds(model, compat.model_input_specs(model), {"conv": model.get_layer("conv").kernel}).values()
    compat.assign(fold.layer.gamma, np.array([1, -1, 1e-3, 0, 1e-12, 2, 1, 1]))
    expected = np.asarray(model(IMAGES))
    fold.absorb(model)
    assert np.isfinite(scale_of(fold.layer)).all()
    assert (compat.read(fold.layer.gamma)[3:5] == 0).all()
    assert fold.is_held()
    np.testing.assert_allclose(np.asarray(model(IMAGES)), expected, atol=2e-5 * np.abs(expected).max())


def test_zeros_keep_the_sign_that_marks_them():
    model = trained(every_kind)
    kernel = model.get_layer("conv").kernel
    compat.assign(kernel, np.where(np.arange(216).reshape(3, 3, 3, 8) % 2, compat.read(kernel), -0.0))
    cluster_model(model, 8)
    value = compat.read(kernel)
    assert np.signbit(value[value == 0]).all()


def distinct_in_file(path):
    return {one.values.shape: np.unique(one.values).size for one in stored_weights(path)}


def test_the_stored_kernel_has_as_few_values_as_the_one_in_memory(tmp_path):
    counts = {}
    for folds in (True, False):
        model = trained(every_kind)
        cluster_model(model, 6, fold_batch_norm=folds)
        assert all(np.unique(value).size <= 6 for value in kernels(model).values())
        answers = np.asarray(model(IMAGES))
        report = export_model(model, tmp_path / str(folds), ["float32"], evaluation_data=(IMAGES, answers), verbose=0)
        assert report["formats"]["float32"]["largest_difference"] < 1e-5 * np.abs(answers).max()
        counts[folds] = distinct_in_file(tmp_path / str(folds) / "float32.tflite")
    assert max(counts[True].values()) <= 6
    assert max(counts[False].values()) > 6


def test_clustered_while_it_trains_the_file_has_as_few_values_too(tmp_path):
    model = compiled(Segmenter())
    fit(model, ClusterScheduleCallback(6, begin_step=3), epochs=4)
    answers = np.asarray(model(IMAGES))
    export_model(model, tmp_path, ["float32"], evaluation_data=(IMAGES, answers), metrics={}, verbose=0)
    assert max(distinct_in_file(tmp_path / "float32.tflite").values()) <= 6


def test_a_scale_without_gamma_stays_too(tmp_path):
    model = compiled(every_kind())
    model.compile(optimizer="adam", loss="mse")
    callback = ClusterScheduleCallback(6, begin_step=1)
    model.fit(IMAGES, np.zeros((len(IMAGES), 16, 16, 4), "float32"), epochs=2, verbose=0, callbacks=[callback])
    export_model(model, tmp_path, ["float32"], evaluation_data=(IMAGES, np.asarray(model(IMAGES))), verbose=0)
    assert max(distinct_in_file(tmp_path / "float32.tflite").values()) <= 6


def test_a_model_whose_graph_cannot_be_traced_is_clustered_as_it_is():
    class Eager(Segmenter):
        def call(self, inputs, training=None):
            return super().call(tf.convert_to_tensor(np.asarray(inputs)), training=training)

    model = Eager()
    model(IMAGES[:1])
    with pytest.warns(UserWarning, match="fold_batch_norm=False"):
        cluster_model(model, 6)
    assert all(np.unique(value).size <= 6 for value in kernels(model).values())
    cluster_model(model, 6, fold_batch_norm=False)


def test_the_report_says_what_was_folded():
    callback = ClusterOnTrainEndCallback(6)
    fit(compiled(Segmenter()), callback)
    assert sum(one.folded for one in callback.report.values()) == 1
