"""Models of every kind of layer with a kernel, for what reads kernels out of files."""

from segopt_callbacks.compat import keras


def zoo():
    """Every kind of layer with a kernel, and what resizes, pools and moves between them."""
    layers = keras.layers
    inputs = keras.Input((16, 16, 3))
    hidden = layers.Conv2D(8, 3, padding="same", activation="relu", name="plain")(inputs)
    hidden = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="depthwise")(hidden)
    hidden = layers.Conv2D(12, 3, groups=2, padding="same", activation="swish", name="grouped")(hidden)
    hidden = layers.SeparableConv2D(10, 3, padding="same", name="separable")(layers.MaxPooling2D()(hidden))
    hidden = layers.Conv2D(10, 3, dilation_rate=2, padding="same", name="dilated")(hidden)
    skip = layers.Conv2DTranspose(6, 2, strides=2, name="transposed")(layers.AveragePooling2D(2)(hidden))
    hidden = layers.Conv2D(6, 1, name="joined")(layers.Concatenate()([skip, hidden]))
    hidden = layers.UpSampling2D(interpolation="bilinear")(hidden)
    hidden = layers.Conv2D(5, 3, padding="same", name="resized")(layers.ZeroPadding2D(2)(hidden))
    hidden = layers.Add()([layers.Dense(5, name="dense")(hidden), hidden])
    return keras.Model(inputs, layers.Conv2D(4, 1, activation="softmax", name="head")(layers.UpSampling2D()(hidden)))


def attention():
    """Self-attention over four places of six numbers."""
    inputs = keras.Input((4, 6))
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.MultiHeadAttention(2, 8)(inputs, inputs)))
