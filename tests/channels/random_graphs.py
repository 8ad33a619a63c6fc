"""Random inference functions whose kernels have zero channels; no Keras in them."""

import numpy as np
import tensorflow as tf

from segopt_callbacks.model import signature
from segopt_callbacks.records import Port

SIZE = 8


def frozen(compute, shape, weights, batch_size=1):
    """`compute(input)` as a frozen function of the `weights` that it reads, name -> array."""
    module = tf.Module()
    variables = {name: tf.Variable(value, trainable=False, name=name) for name, value in weights.items()}
    module.weights, module.resources = variables, []

    @tf.function(input_signature=[tf.TensorSpec((batch_size, *shape), tf.float32, name="input")], autograph=False)
    def serve(x):
        answers = compute(x, variables)
        return {f"output_{number}": tf.identity(one) for number, one in enumerate(answers)}

    concrete = serve.get_concrete_function()
    ports = [Port(name, (batch_size, *one.shape[1:]), "float32") for name, one in concrete.structured_outputs.items()]
    inputs = (Port("input", (batch_size, *shape), "float32"),)
    return signature.Frozen(module, concrete, inputs, tuple(ports), variables)


class Builder:
    """Draws operations one after the other; `draw` is a function of a list of choices.

    Attributes:
        weights: name -> array, of what was drawn.
        steps: what to compute, functions of all tensors so far and the variables.
    """

    def __init__(self, choose, seed):
        self.choose, self.random = choose, np.random.default_rng(seed)
        self.weights, self.steps, self.shapes = {}, [], [(SIZE, SIZE, 3)]

    def weight(self, shape, axis=None, fraction=0.5):
        """A random weight, of which some slices along an axis are zero."""
        value = self.random.normal(size=shape).astype("float32")
        if axis is not None:
            dead = self.random.uniform(size=shape[axis]) < fraction
            value = np.moveaxis(value, axis, -1)
            value[..., dead] = 0
            value = np.moveaxis(value, -1, axis)
        name = f"weight_{len(self.weights)}"
        self.weights[name] = np.ascontiguousarray(value)
        return name

    def offset(self, channels, of=None):
        """A bias; zero where the kernel's channels are, negative or anything."""
        name = self.weight((channels,))
        kind = self.choose(["zero_with_kernel", "negative", "anything"])
        if kind == "negative":
            self.weights[name] = -np.abs(self.weights[name])
        elif kind == "zero_with_kernel" and of is not None:
            kernel = self.weights[of[0]]
            self.weights[name][~np.moveaxis(kernel, of[1], -1).reshape(-1, channels).any(axis=0)] = 0
        return name

    def add(self, step, shape):
        self.steps.append(step)
        self.shapes.append(shape)

    def step(self):
        """One more operation on a tensor of before, on the last one more often."""
        index = self.choose([len(self.shapes) - 1, len(self.shapes) - 1, self.choose(range(len(self.shapes)))])
        self.unary(index, *self.shapes[index])

    def unary(self, i, height, width, channels):
        kind = self.choose(KINDS)
        if kind == "conv":
            stride, padding, count = self.choose([1, 2]), self.choose(["SAME", "VALID"]), self.choose([2, 3, 6])
            size = 1 if min(height, width) < 3 else self.choose([1, 3])
            kernel = self.weight((size, size, channels, count), -1)
            bias = self.offset(count, (kernel, -1))
            out = [
                -(-one // stride) if padding == "SAME" else -(-(one - size + 1) // stride) for one in (height, width)
            ]

            def step(t, v):
                return tf.nn.bias_add(tf.nn.conv2d(t[i], v[kernel], stride, padding), v[bias])

            self.add(step, (*out, count))
        elif kind == "transposed":
            count = self.choose([2, 4])
            kernel = self.weight((3, 3, count, channels), -2)
            if height > SIZE:
                return

            def step(t, v):
                shape = tf.stack([tf.shape(t[i])[0], 2 * height, 2 * width, count])
                return tf.nn.conv2d_transpose(t[i], v[kernel], shape, 2, "SAME")

            self.add(step, (2 * height, 2 * width, count))
        elif kind == "depthwise":
            times = self.choose([1, 2])
            kernel = self.weight((3, 3, channels, times), self.choose([-1, -2]))
            self.add(
                lambda t, v: tf.nn.depthwise_conv2d(t[i], v[kernel], [1, 1, 1, 1], "SAME"),
                (height, width, channels * times),
            )
        elif kind == "norm":
            scale = self.weight((channels,), -1, 0.3)
            offset = self.offset(channels, (scale, -1))
            mean, variance = self.weight((channels,)), self.weight((channels,))
            self.weights[variance] = np.abs(self.weights[variance]) + 0.1
            if self.choose([True, False]):
                self.weights[mean][self.weights[scale] == 0] = 0

            def step(t, v):
                if len(scale) % 2:
                    factor = v[scale] * tf.math.rsqrt(v[variance] + 1e-3)
                    return t[i] * factor + (v[offset] - v[mean] * factor)
                return tf.nn.batch_normalization(t[i], v[mean], v[variance], v[offset], v[scale], 1e-3)

            self.add(step, (height, width, channels))
        elif kind == "fused_norm":
            names = [self.weight((channels,), -1, 0.3) for _ in range(4)]
            self.weights[names[3]] = np.abs(self.weights[names[3]]) + 0.1

            def step(t, v):
                given = dict(zip(("scale", "offset", "mean", "variance"), (v[one] for one in names), strict=True))
                return tf.raw_ops.FusedBatchNormV3(x=t[i], **given, is_training=False).y

            self.add(step, (height, width, channels))
        elif kind == "activation":
            function = self.choose([tf.nn.relu, tf.nn.relu6, tf.nn.elu, tf.nn.sigmoid, tf.tanh, tf.nn.gelu, tf.nn.silu])
            self.add(lambda t, v: function(t[i]), (height, width, channels))
        elif kind == "space":
            self.space(i, height, width, channels)
        elif kind == "together":
            self.together(i, height, width, channels)
        elif kind == "parts":
            self.parts(i, height, width, channels)
        elif kind == "called":
            self.called(i, height, width, channels)
        elif kind == "gate":
            kernel = self.weight((channels, channels), -1)
            self.add(
                lambda t, v: t[i] * tf.sigmoid(tf.reduce_mean(t[i], [1, 2], keepdims=True) @ v[kernel]),
                (height, width, channels),
            )
        elif kind == "flat":
            inner = self.weight((height * width * channels, 5), -1)
            outer = self.weight((5, height * width * channels), -1, 0.1)

            def step(t, v):
                rows = tf.nn.relu(tf.reshape(t[i], [-1, height * width * channels]) @ v[inner])
                return tf.reshape(rows @ v[outer], [-1, height, width, channels])

            self.add(step, (height, width, channels))
        elif kind == "mixed":
            function = self.choose([tf.nn.softmax, lambda x: x - tf.reduce_mean(x, -1, keepdims=True), tf.cumsum])
            self.add(lambda t, v: function(t[i]), (height, width, channels))

    def called(self, i, height, width, channels):
        kernel = self.weight((1, 1, channels, channels), -1)
        is_nested = self.choose([True, False])

        @tf.function(autograph=False)
        def inner(x, variable):
            return x, tf.nn.relu(tf.nn.conv2d(x, variable, 1, "SAME"))

        @tf.function(autograph=False)
        def outer(x, variable):
            same, found = inner(x, variable)
            return (found + same, x) if is_nested else (found, same)

        self.add(lambda t, v: tf.subtract(*outer(t[i], v[kernel])), (height, width, channels))

    def space(self, i, height, width, channels):
        kind = self.choose(["max", "mean", "resize", "pad", "mirror", "dilated", "double"])
        if kind in ("max", "mean"):
            pool = tf.nn.max_pool2d if kind == "max" else tf.nn.avg_pool2d
            self.add(lambda t, v: pool(t[i], 2, 2, "SAME"), (-(-height // 2), -(-width // 2), channels))
        elif kind == "resize" and height < SIZE:
            method = self.choose(["bilinear", "nearest"])
            self.add(
                lambda t, v: tf.image.resize(t[i], tf.shape(t[i])[1:3] * 2, method), (2 * height, 2 * width, channels)
            )
        elif kind == "pad" and height < SIZE:
            self.add(lambda t, v: tf.pad(t[i], [[0, 0], [1, 0], [1, 0], [0, 0]]), (height + 1, width + 1, channels))
        elif kind == "mirror" and 1 < height < SIZE and width > 1:
            pads = [[0, 0], [1, 0], [1, 0], [0, 0]]
            self.add(lambda t, v: tf.pad(t[i], pads, "REFLECT"), (height + 1, width + 1, channels))
        elif kind == "dilated" and min(height, width) > 2:
            kernel = self.weight((3, 3, channels, 4), -1)

            def step(t, v):
                return tf.nn.atrous_conv2d(t[i], v[kernel], 2, "SAME")

            self.add(step, (height, width, 4))
        elif kind == "double" and height < SIZE:
            self.add(lambda t, v: tf.repeat(t[i], 2, axis=1), (2 * height, width, channels))

    def together(self, i, height, width, channels):
        same = [k for k, one in enumerate(self.shapes) if one == (height, width, channels)]
        beside = [k for k, one in enumerate(self.shapes) if one[:2] == (height, width)]
        other = self.choose(same)
        kind = self.choose(["add", "mul", "maximum", "concat", "concat", "stack", "constant"])
        if kind == "concat" and channels < 12:
            other = self.choose(beside)
            self.add(lambda t, v: tf.concat([t[i], t[other]], -1), (height, width, channels + self.shapes[other][-1]))
        elif kind == "stack":
            self.add(lambda t, v: tf.reduce_max(tf.stack([t[i], t[other]], 1), 1), (height, width, channels))
        elif kind == "constant":
            value = np.where(self.random.uniform(size=channels) < 0.5, 0, 1).astype("float32")
            self.add(lambda t, v: t[i] * value, (height, width, channels))
        else:
            function = {"add": tf.add, "mul": tf.multiply, "maximum": tf.maximum}.get(kind, tf.subtract)
            self.add(lambda t, v: function(t[i], t[other]), (height, width, channels))

    def parts(self, i, height, width, channels):
        kind = self.choose(["split", "slice", "pad", "turn", "shuffle"])
        if kind == "split" and channels % 2 == 0:
            self.add(lambda t, v: tf.subtract(*tf.split(t[i], 2, -1)), (height, width, channels // 2))
        elif kind == "slice" and channels > 1:
            first = self.choose(range(channels - 1))
            self.add(lambda t, v: t[i][..., first : first + 2], (height, width, 2))
        elif kind == "pad" and channels < 12:
            self.add(lambda t, v: tf.pad(t[i], [[0, 0], [0, 0], [0, 0], [1, 2]]), (height, width, channels + 3))
        elif kind == "turn":
            self.add(lambda t, v: tf.transpose(t[i], [0, 2, 1, 3]), (width, height, channels))
        elif kind == "shuffle" and channels % 2 == 0:

            def step(t, v):
                groups = tf.reshape(t[i], [-1, height, width, 2, channels // 2])
                return tf.reshape(tf.transpose(groups, [0, 1, 2, 4, 3]), [-1, height, width, channels])

            self.add(step, (height, width, channels))

    def function(self, batch_size):
        """A function that answers with a convolution of the last tensor, and with one of before."""
        second = self.choose(range(len(self.shapes)))
        head = self.weight((1, 1, self.shapes[-1][-1], 2))

        def compute(x, variables):
            tensors = [x]
            for step in self.steps:
                tensors.append(step(tensors, variables))
            return [tf.nn.conv2d(tensors[-1], variables[head], 1, "SAME"), tf.reduce_sum(tensors[second], -1)]

        return frozen(compute, self.shapes[0], self.weights, batch_size)


KINDS = [
    *("conv", "conv", "conv", "transposed", "depthwise", "norm", "fused_norm", "activation", "activation", "space"),
    *("together", "together", "parts", "called", "gate", "flat", "mixed"),
]
