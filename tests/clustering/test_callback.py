import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import ClusterOnTrainEndCallback, PruningScheduleCallback, cluster_model, compat
from segopt_callbacks.compat import keras
from tests import conformance
from tests.conformance import SITUATIONS, Segmenter, built, compiled, fit, kernels, zeros


def distinct(model):
    return [np.unique(value).size for value in kernels(model).values()]


@pytest.mark.parametrize("situation", SITUATIONS, ids=str)
def test_pruned_then_clustered_whatever_comes_first_in_the_list(situation):
    model = compiled(situation.make(), **situation.compile_args)
    for _ in range(situation.fits_before):
        fit(model)
    for _ in range(situation.fits):
        fit(model, ClusterOnTrainEndCallback(6), PruningScheduleCallback(0.5))
    assert zeros(model) == {path: round(0.5 * value.size) for path, value in kernels(model).items()}
    assert all(2 <= count <= 6 for count in distinct(model))


def test_the_order_in_the_list_does_not_change_the_result():
    results = []
    for order in (1, -1):
        keras.utils.set_random_seed(3)
        model = compiled(Segmenter())
        fit(model, *[PruningScheduleCallback(0.5), ClusterOnTrainEndCallback(6)][::order])
        results.append(list(kernels(model).values()))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_are_clustered_before_another_callback_saves_them(tmp_path):
    path = str(tmp_path / "model.weights.h5")

    class Save(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            self.model.save_weights(path)

    model = compiled(built(Segmenter)())
    fit(model, ClusterOnTrainEndCallback(5), Save())
    other = built(Segmenter)()
    other.load_weights(path)
    assert all(count <= 5 for count in distinct(other))
    assert distinct(other) == distinct(model)


def test_biases_and_normalisation_stay_untouched():
    model = built(Segmenter)()
    before = [compat.read(weight) for weight in model.weights if len(weight.shape) < 2]
    cluster_model(model, 3)
    after = [compat.read(weight) for weight in model.weights if len(weight.shape) < 2]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_error_is_relative_to_the_variance():
    model = built(conformance.functional)()
    before = kernels(model)
    reports = cluster_model(model, 4)
    for report, old, new in zip(reports.values(), before.values(), kernels(model).values(), strict=True):
        assert report.error == pytest.approx(np.mean((old - new) ** 2) / old.var(), rel=1e-3)


def test_zeros_may_be_given_up():
    model = built(conformance.functional)()
    kernel = model.trainable_weights[0]
    compat.assign(kernel, np.where(np.arange(216).reshape(3, 3, 3, 8) % 2, compat.read(kernel), 0.0))
    cluster_model(model, 2, preserve_sparsity=False)
    assert zeros(model)["0/" + compat.variable_path(kernel)] == 0


def test_embeddings_are_left_alone_unless_asked_for():
    model = keras.Sequential([keras.layers.Embedding(50, 8), keras.layers.Dense(4)])
    model(np.zeros((1, 3), "int32"))
    cluster_model(model, 4)
    assert distinct(model)[0] > 100
    cluster_model(model, 4, lambda weight: "embeddings" in compat.variable_path(weight))
    assert distinct(model)[0] == 4


@pytest.mark.parametrize("number", [1, 0, -3, 2.5, True, "16"])
def test_bad_numbers(number):
    with pytest.raises(ValueError, match="at least 2.*Received"):
        ClusterOnTrainEndCallback(number)


def test_verbose_says_what_it_did(capsys):
    fit(compiled(conformance.functional()), ClusterOnTrainEndCallback(4, verbose=1))
    printed = capsys.readouterr().out
    assert printed.count("clustered ") == 2
    assert "squared error" in printed


def test_a_model_saves_and_loads_in_the_plain_keras_way(tmp_path):
    model = compiled(conformance.functional())
    fit(model, PruningScheduleCallback(0.5), ClusterOnTrainEndCallback(6))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(conformance.IMAGES), model(conformance.IMAGES))
    assert distinct(loaded) == distinct(model)
    assert isinstance(tf.convert_to_tensor(loaded(conformance.IMAGES)), tf.Tensor)
