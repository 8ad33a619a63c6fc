"""Clustering beside its peers in one run: error and seconds, and what fine-tuning costs a training step.

    python benchmarks/clustering.py [--only error|steps]

error: squared error relative to the optimum, and seconds, at 16, 32 and 64 clusters, of one kernel of 2.36M weights
  (Laplace), and of all kernels of a U-Net that was trained on the embedded images. The optimum is exact dynamic
  programming by kmeans1d (Gronlund et al. 2017, https://arxiv.org/abs/1701.07204). All get the same weights, turn by
  turn; tfmot wraps a layer, which clusters it, and strips it. scikit-learn's KMeans starts once, k-means++. Zeros are
  nothing special here: the kernels are dense.
steps: training steps while centroids are fine-tuned, on the networks of `steps.py`, beside tfmot's `cluster_weights` on
  the same tf_keras network, in turn; see benchmarks/pruning.py.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import argparse
import statistics
import time
from pathlib import Path

import kmeans1d
import numpy as np
from sklearn.cluster import KMeans

from benchmarks.steps import NETWORKS, begin, compare_steps, compiled, make_step, plain_step
from segopt_callbacks import ClusterScheduleCallback, compat
from segopt_callbacks.clustering.centroids import cluster
from segopt_callbacks.compat import keras
from segopt_callbacks.model.weights import select_weights
from train_unet.data import datasets
from train_unet.folder import open_folder
from train_unet.training import compile_model
from train_unet.unet import UNet

SIZE = 3 * 3 * 512 * 512
CLUSTERS = (16, 32, 64)
TFMOT = ("LINEAR", "RANDOM", "DENSITY_BASED", "KMEANS_PLUS_PLUS")
EPOCHS = 6


# --- error -----------------------------------------------------------------------------------------------------------


def ours(weights, clusters):
    return cluster(weights, clusters).weights


def scikit_learn(weights, clusters):
    fitted = KMeans(clusters, n_init=1, random_state=0).fit(weights[:, None])
    return fitted.cluster_centers_[fitted.labels_, 0]


def exact(weights, clusters):
    found = kmeans1d.cluster(weights, clusters)
    return np.array(found.centroids)[np.array(found.clusters)]


def tfmot(initialization):
    import tf_keras
    from tensorflow_model_optimization.clustering import keras as clustering

    def run(weights, clusters):
        layer = tf_keras.layers.Dense(1, use_bias=False)
        model = tf_keras.Sequential([tf_keras.Input((weights.size,)), layer])
        layer.set_weights([weights[:, None]])
        settings = {
            "number_of_clusters": clusters,
            "cluster_centroids_init": clustering.CentroidInitialization[initialization],
        }
        wrapped = clustering.cluster_weights(model, **settings)
        return clustering.strip_clustering(wrapped).get_weights()[0][:, 0]

    run.__name__ = f"tfmot {initialization}"
    return run


def error_and_seconds(method, kernels, clusters):
    """Sums over kernels: squared errors relative to each kernel's variance, and seconds."""
    error = seconds = 0.0
    for kernel in kernels:
        start = time.perf_counter()
        shared = method(kernel, clusters)
        seconds += time.perf_counter() - start
        error += float(np.mean((kernel.astype(np.float64) - shared) ** 2)) / float(kernel.var(dtype=np.float64))
    return error, seconds


def compare_errors(name, kernels, repeats):
    methods = [ours, *(tfmot(one) for one in TFMOT), scikit_learn]
    size = sum(kernel.size for kernel in kernels)
    print(f"error: {name}, {size:,} weights in {len(kernels)} kernels; seconds: median (min to max) of {repeats} turns")
    for clusters in CLUSTERS:
        best, best_seconds = error_and_seconds(exact, kernels, clusters)
        runs = {method: [] for method in methods}
        for _ in range(repeats):
            for method, results in runs.items():
                results.append(error_and_seconds(method, kernels, clusters))
        print(f"  {clusters:2} clusters  {'exact':24} error  1.0000   seconds {best_seconds:7.3f}")
        our_seconds = statistics.median(seconds for _, seconds in runs[ours])
        for method, results in runs.items():
            seconds = [second for _, second in results]
            print(
                f"  {clusters:2} clusters  {method.__name__:24} error {results[0][0] / best:7.4f}   seconds "
                f"{statistics.median(seconds):7.3f} ({min(seconds):.3f} to {max(seconds):.3f})   time / ours "
                f"{statistics.median(seconds) / our_seconds:6.1f}",
                flush=True,
            )


def trained_kernels():
    """The kernels of a U-Net that was trained for a few epochs, flat."""
    keras.utils.set_random_seed(0)
    folder = open_folder(Path(__file__).parents[1] / "train_unet" / "data" / "landcover", size_multiple=8)
    data = datasets(folder, batch_size=16, seed=0)
    model = UNet(len(folder.classes))
    model.build((None, *folder.image_size, 3))
    compile_model(model, folder.classes, steps=EPOCHS * len(data["train"]))
    model.fit(data["train"], epochs=EPOCHS, verbose=0)
    return [compat.read(weight).ravel() for weight in select_weights(model).values()]


def measure_errors(repeats):
    laplace = (np.random.default_rng(0).laplace(size=SIZE) * 0.01).astype(np.float32)
    compare_errors("one kernel, Laplace", [laplace], repeats)
    compare_errors(f"a U-Net after {EPOCHS} epochs", trained_kernels(), repeats)


# --- steps -----------------------------------------------------------------------------------------------------------


def clustered_step(network, library, **settings):
    model = compiled(network(library), library)
    callback = begin(ClusterScheduleCallback(16, begin_step=0, **settings), model)
    return make_step(model, network, after=callback.on_train_batch_end)


def tfmot_step(network):
    import tf_keras
    from tensorflow_model_optimization.clustering import keras as clustering

    settings = {
        "number_of_clusters": 16,
        "cluster_centroids_init": clustering.CentroidInitialization.KMEANS_PLUS_PLUS,
    }
    model = compiled(clustering.cluster_weights(network(tf_keras), **settings), tf_keras)
    return make_step(model, network)


def measure_steps(rounds):
    import tf_keras

    for network in NETWORKS:
        every = {
            "plain": plain_step(network, keras),
            "null": plain_step(network, keras),
            "ours": clustered_step(network, keras),
            "reassigned": clustered_step(network, keras, reassign_every=100),
            "plain, K2": plain_step(network, tf_keras),
            "ours, K2": clustered_step(network, tf_keras),
            "tfmot, K2": tfmot_step(network),
        }
        pairs = [("null", "plain"), ("ours", "plain"), ("reassigned", "plain"), ("ours, K2", "plain, K2")]
        compare_steps(network, every, [*pairs, ("tfmot, K2", "plain, K2"), ("ours, K2", "tfmot, K2")], rounds)


MEASURES = {"error": (measure_errors, 3), "steps": (measure_steps, 60)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=MEASURES, help="one of the two parts")
    parser.add_argument("--rounds", type=int, help="of each part; default: 3 turns, 60 steps")
    arguments = parser.parse_args()
    for name in [arguments.only] if arguments.only else MEASURES:
        measure, rounds = MEASURES[name]
        measure(arguments.rounds or rounds)


if __name__ == "__main__":
    main()
