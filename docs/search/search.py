"""One process of a search, for one machine or many: each that runs this works on the same study.

STORAGE=postgresql+psycopg://search:password@host/search OUTPUT_DIR=/shared/search python search.py
"""

import os

import keras

from segopt_callbacks import search_compression

EPOCHS = 20
CLASSES = 10


def build_model(width: float = 1.0) -> keras.Model:
    """A compiled model. Put yours here; `width` is a factor, leave it out if yours has none."""
    filters = round(32 * width)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(filters, 3, strides=2, activation="relu"),
            keras.layers.Conv2D(2 * filters, 3, strides=2, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(CLASSES),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    return model


def main() -> None:
    """Works on the study until there is an answer."""
    (x, y), _ = keras.datasets.mnist.load_data()  # put your data here
    x = x[..., None]
    result = search_compression(
        build_model,
        {"train": (x[:50_000], y[:50_000]), "val": (x[50_000:], y[50_000:])},
        epochs=EPOCHS,
        max_bytes=20_000,
        trials=40,
        storage=os.environ.get("STORAGE"),
        output_dir=os.environ.get("OUTPUT_DIR", "search"),
        stale_after=300,
    )
    raise SystemExit(0 if result.found else 1)


if __name__ == "__main__":
    main()
