"""Squared error and seconds of our clustering beside scikit-learn's KMeans, one kernel of 2.36M weights, one run.

    python benchmarks/clustering.py

Both get the same weights, turn by turn. The error is relative to the better of the two.
"""

import statistics
import time

import numpy as np
from sklearn.cluster import KMeans

from segopt_callbacks.centroids import cluster

SIZE = 3 * 3 * 512 * 512
REPEATS = 3


def ours(weights, clusters):
    return cluster(weights, clusters).weights


def scikit_learn(weights, clusters):
    fitted = KMeans(clusters, n_init=1, random_state=0).fit(weights[:, None])
    return fitted.cluster_centers_[fitted.labels_, 0]


def timed(method, weights, clusters):
    start = time.perf_counter()
    shared = method(weights, clusters)
    seconds = time.perf_counter() - start
    return seconds, float(np.mean((weights.astype(np.float64) - shared) ** 2))


def main():
    weights = (np.random.default_rng(0).laplace(size=SIZE) * 0.01).astype(np.float32)
    print(f"{SIZE:,} weights, Laplace; median (min to max) of {REPEATS} runs, turn by turn")
    for clusters in (16, 32, 64):
        runs = {method: [] for method in (ours, scikit_learn)}
        for _ in range(REPEATS):
            for method, results in runs.items():
                results.append(timed(method, weights, clusters))
        best = min(results[0][1] for results in runs.values())
        medians = {method: statistics.median(seconds for seconds, _ in results) for method, results in runs.items()}
        for method, results in runs.items():
            seconds = [second for second, _ in results]
            print(
                f"{clusters:3} clusters  {method.__name__:13} error {results[0][1] / best:7.4f}   seconds "
                f"{medians[method]:6.3f} ({min(seconds):.3f} to {max(seconds):.3f})   per million weights "
                f"{medians[method] / SIZE * 1e6:.3f}   time / ours {medians[method] / medians[ours]:5.1f}"
            )


if __name__ == "__main__":
    main()
