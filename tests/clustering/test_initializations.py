"""tfmot's ways of choosing values, by name: held against tfmot's own wrapper."""

import numpy as np
import pytest

from segopt_callbacks import ClusterOnTrainEndCallback, cluster_model, compat
from segopt_callbacks.clustering.centroids import cluster
from segopt_callbacks.clustering.initializations import TFMOT, find_initialization
from segopt_callbacks.compat import keras

WEIGHTS = np.random.default_rng(0).laplace(size=(40, 30)).astype("float32")
SPARSE = np.where(np.abs(WEIGHTS) < 1, 0, WEIGHTS)


def clustered_by_tfmot(weights, name, *, preserve_sparsity):
    import tf_keras

    with compat.importing_tfmot():
        from tensorflow_model_optimization.clustering import keras as clustering
    layer = tf_keras.layers.Dense(weights.shape[1], use_bias=False)
    model = tf_keras.Sequential([tf_keras.Input((len(weights),)), layer])
    layer.set_weights([weights])
    settings = {
        "number_of_clusters": 8,
        "cluster_centroids_init": clustering.CentroidInitialization[name],
        "preserve_sparsity": preserve_sparsity,
    }
    return clustering.strip_clustering(clustering.cluster_weights(model, **settings)).get_weights()[0]


@pytest.mark.parametrize("name", [name for name in TFMOT if name != "RANDOM"])
@pytest.mark.parametrize("zeros", [False, True])
def test_the_values_are_those_of_tfmot(name, zeros):
    weights = SPARSE if zeros else WEIGHTS
    ours = cluster(weights, 8, preserve_sparsity=zeros, choose=find_initialization(name)).weights
    np.testing.assert_array_equal(ours, clustered_by_tfmot(weights, name, preserve_sparsity=zeros))


def test_random_values_lie_between_the_lowest_and_the_highest_weight():
    shared = cluster(WEIGHTS, 8, choose=find_initialization("RANDOM"))
    assert 2 <= np.unique(shared.weights).size <= 8
    assert WEIGHTS.min() <= shared.centroids.min() < shared.centroids.max() <= WEIGHTS.max()


@pytest.mark.parametrize("name", TFMOT)
def test_none_is_better_than_the_optimum(name):
    assert cluster(WEIGHTS, 8, choose=find_initialization(name)).error > cluster(WEIGHTS, 8).error


@pytest.mark.parametrize("name", TFMOT)
def test_fewer_values_than_clusters_stay_as_they_are(name):
    few = np.array([0.0, -1.0, 2.0, 2.0], "float32")
    np.testing.assert_array_equal(cluster(few, 4, choose=find_initialization(name)).weights, few)


def test_a_model_is_clustered_by_a_member_of_tfmot_s_enumeration():
    with compat.importing_tfmot():
        from tensorflow_model_optimization.clustering.keras import CentroidInitialization
    model = keras.Sequential([keras.Input((40,)), keras.layers.Dense(30)])
    compat.assign(model.weights[0], WEIGHTS)
    (report,) = cluster_model(model, 8, initialization=CentroidInitialization.LINEAR).values()
    assert report.error == pytest.approx(cluster(WEIGHTS, 8, choose=find_initialization("LINEAR")).error)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="KMEANS_PLUS_PLUS.*Received: initialization='kmeans'"):
        ClusterOnTrainEndCallback(initialization="kmeans")
