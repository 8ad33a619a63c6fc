"""BatchNormalization behind a kernel: moving its scale into the kernel, so that what is clustered is what is stored.

Converters store the product of a kernel and the scale behind it, `gamma / sqrt(moving_variance + epsilon)`, which
differs from channel to channel: a kernel of 16 distinct values became one of 505. Where every channel has the same
scale, the product has as many values as the kernel. Keras normalises what a kernel gives, so each channel of a kernel
may be multiplied by a factor if its bias and moving mean are multiplied by it too, and its moving variance by the
factor's square: the answers stay the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.model import Graph

_DEAD = 1e-6  # a channel whose scale is this fraction of the largest one contributes nothing that float32 would show
_EQUAL = 1e-6  # scales that differ by less than this fraction are equal, but for rounding


@dataclass
class Fold:
    """A kernel with the BatchNormalization that reads its answer, and nothing else does.

    Attributes:
        kernel: the variable.
        outputs: its axes that are output channels, counted from the end.
        bias: variable `(channels,)` between the two, or `None`.
        layer: the BatchNormalization.
        scale: of every channel, once `absorb` was called.
        is_frozen: whether training computes with the layer's moving statistics, and keeps them.
    """

    kernel: Any
    outputs: tuple[int, ...]
    bias: Any | None
    layer: Any
    scale: float | None = None
    is_frozen: bool = False

    def scales(self) -> np.ndarray:
        """What the layer multiplies each channel by at inference: `(channels,)`, float64."""
        gamma = 1.0 if self.layer.gamma is None else compat.read(self.layer.gamma).astype(np.float64)
        return gamma / np.sqrt(
            compat.read_statistic(self.layer.moving_variance).astype(np.float64) + self.layer.epsilon
        )

    def is_held(self) -> bool:
        """Whether every channel still has the `scale` that `absorb` gave it; a dead one has none."""
        scales = self.scales()
        is_dead = np.abs(scales) < _DEAD * np.abs(scales).max()
        return self.scale is not None and bool(np.all(is_dead | (np.abs(scales / self.scale - 1) < _EQUAL)))

    def absorb(self, model: Any) -> None:
        """Moves what differs between the channels' scales into the kernel; the model's answers stay the same.

        All scales become their geometric mean; a channel whose scale is zero gets a kernel of zeros.

        Args:
            model: whose optimizer may keep averages of these weights, which are changed alike.
        """
        scales = self.scales()
        is_dead = np.abs(scales) <= _DEAD * np.abs(scales).max()
        if self.is_held() or is_dead.all():
            return
        self.scale = math.exp(np.log(np.abs(scales[~is_dead])).mean())
        factors = np.where(is_dead, 0.0, scales / self.scale)
        factors = np.where(
            np.abs(factors - 1) < _EQUAL, 1.0, factors
        )  # absorbed before: values stay as shared as they are
        self._multiply(model, self.kernel, self._along_outputs(factors))
        if self.layer.gamma is not None:
            self._multiply(model, self.layer.gamma, np.where(is_dead, 0.0, 1.0))
        factors = np.where(is_dead, 1.0, factors)
        if self.bias is not None:
            self._multiply(model, self.bias, factors)
        mean, variance = self.layer.moving_mean, self.layer.moving_variance
        epsilon = self.layer.epsilon
        compat.assign(mean, compat.read_statistic(mean) * factors)
        compat.assign(variance, np.maximum((compat.read_statistic(variance) + epsilon) * factors**2 - epsilon, 0.0))
        self.hold(model)

    def hold(self, model: Any) -> None:
        """Gives every channel that is not dead the `scale` again, after its moving variance has changed."""
        if self.scale is None:
            return
        variance, gamma = self.layer.moving_variance, self.layer.gamma
        if gamma is None:
            compat.assign(variance, np.full(variance.shape, self.scale**-2 - self.layer.epsilon))
            return
        held = self.scale * np.sqrt(compat.read_statistic(variance).astype(np.float64) + self.layer.epsilon)
        for one in (gamma, *compat.averages_of(model, gamma)):
            value = compat.read(one)
            compat.assign(one, np.where(value == 0, value, held))

    def _multiply(self, model: Any, variable: Any, factors: np.ndarray) -> None:
        for one in (variable, *compat.averages_of(model, variable)):
            value = compat.read(one)
            compat.assign(one, np.where(value == 0, value, value * factors))  # zeros keep the sign that marks them

    def _along_outputs(self, factors: np.ndarray) -> np.ndarray:
        rank = len(self.kernel.shape)
        places = {axis % rank for axis in self.outputs}
        return factors.reshape([size if axis in places else 1 for axis, size in enumerate(self.kernel.shape)])


class HeldScale:
    """Projection of `gamma` onto what keeps the scale of every channel: `scale * sqrt(moving_variance + epsilon)`.

    Fine-tuning shared weights needs it: the moving variance follows the kernel, and would pull the scales apart. A
    gamma of zero stays zero. Nothing happens before `hold`.

    Args:
        layer: the BatchNormalization.
    """

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._scale = tf.Variable(0.0, trainable=False, name="scale")

    def __call__(self, gamma: Any) -> tf.Tensor:
        gamma, scale = tf.convert_to_tensor(gamma), tf.convert_to_tensor(self._scale)
        variance = tf.cast(tf.convert_to_tensor(self._layer.moving_variance), tf.float32)
        held = tf.cast(scale * tf.sqrt(variance + self._layer.epsilon), gamma.dtype)
        return tf.where((gamma == 0) | (scale == 0), gamma, held)

    def hold(self, scale: float) -> None:
        """Keeps this scale from now on."""
        self._scale.assign(scale)

    def let_go(self) -> None:
        """Keeps none any more, even where a step that somebody keeps was traced with it."""
        self._scale.assign(0.0)


def find_folds(model: Any, inputs: Any, kernels: Mapping[str, Any]) -> dict[str, Fold]:
    """Traces a model for inference and finds the BatchNormalization behind each kernel.

    Only one that reads the kernel's answer alone, and whose kernel no other layer shares, counts: otherwise factors
    would show elsewhere.

    Args:
        model: a built Keras model.
        inputs: structure of `tf.TensorSpec`, batch first.
        kernels: path -> variable.

    Returns:
        path -> fold, of the kernels that have one.

    Raises:
        ValueError: if the model cannot be traced.

    Example:
        >>> from segopt_callbacks.compat import keras
        >>> layers = [keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), keras.layers.Conv2D(2, 1)]
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
        >>> folds = find_folds(model, tf.TensorSpec((None, 8, 8, 3)), {"a": layers[0].kernel, "b": layers[2].kernel})
        >>> {path: fold.layer is layers[1] for path, fold in folds.items()}
        {'a': True}
    """
    layers = compat.batch_norms(model)
    if not layers:
        return {}
    graph = Graph(model, inputs)
    found = {path: fold for path, kernel in kernels.items() if (fold := _fold_of(graph, kernel, layers)) is not None}
    users = [id(fold.layer) for fold in found.values()]
    return {path: fold for path, fold in found.items() if users.count(id(fold.layer)) == 1}


def _fold_of(graph: Graph, kernel: Any, layers: list[Any]) -> Fold | None:
    answer, outputs = graph.answer(kernel)
    if answer is None or outputs is None:
        return None
    channels, bias = math.prod(kernel.shape[axis] for axis in outputs), None
    while True:
        operation = graph.only_reader(answer, channels)
        if operation is None:
            return None
        variable = graph.added_variable(operation, channels)
        if variable is None:
            break
        if bias is not None:
            return None
        bias, answer = variable, operation.outputs[0]
    for layer in layers:
        if tuple(layer.moving_variance.shape) == (channels,) and graph.scales_by(operation, layer.moving_variance):
            return Fold(kernel, outputs, bias, layer)
    return None
