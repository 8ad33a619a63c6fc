"""Clustering: few distinct values in each weight."""

from segopt_callbacks.clustering.callback import ClusterOnTrainEndCallback, cluster_model
from segopt_callbacks.clustering.centroids import cluster
from segopt_callbacks.clustering.fine_tuning import ClusterScheduleCallback

__all__ = ["ClusterOnTrainEndCallback", "ClusterScheduleCallback", "cluster", "cluster_model"]
