"""The story of a small `saved_model.pb` beside a large `.tflite`, with a U-Net of 7.8M parameters.

Saves one untrained model in every way that people do, then runs `segopt-sizes` on the results:

    python benchmarks/size_story.py story

With `TF_USE_LEGACY_KERAS=1` the SavedModel is the one that `model.save` of Keras 2 writes, as in the story.
About one minute and 1 GB of memory.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.compat import keras
from train_unet.unet import UNet

BASE_FILTERS = 64  # 7.8M parameters
IMAGE_SIZE = 128


def make_model() -> keras.Model:
    """The U-Net after one training step, so that its optimizer has state to save."""
    model = UNet(4, base_filters=BASE_FILTERS)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images = np.zeros((1, IMAGE_SIZE, IMAGE_SIZE, 3), "uint8")
    model.fit(images, images[..., 0].astype("int32"), verbose=0)
    return model


def save(model: keras.Model, folder: Path) -> None:
    """Writes every file of the story into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "unet.keras")
    model.save(folder / "unet.h5") if not compat.is_keras_2(model) else model.save_weights(folder / "unet.weights.h5")
    if compat.is_keras_2(model):
        model.save(folder / "saved_model", save_format="tf")
    else:
        model.export(folder / "saved_model", verbose=False)
    module = tf.Module()
    module.variables_of_model = [compat.raw_variable(one) for one in model.weights]
    serve = model.serving_function((IMAGE_SIZE, IMAGE_SIZE)).get_concrete_function()
    for name, optimizations in (("float32", []), ("dynamic_int8", [tf.lite.Optimize.DEFAULT])):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([serve], module)
        converter.optimizations = optimizations
        (folder / f"unet_{name}.tflite").write_bytes(converter.convert())


def main() -> int:
    """Makes the files, weighs them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).parents[1] / "runs" / "size_story"
    parser.add_argument("folder", type=Path, nargs="?", default=default, help="where to write about 220 MB")
    folder = parser.parse_args().folder
    model = make_model()
    print(f"{model.count_params():,} parameters, {4 * model.count_params():,} bytes of float32")
    save(model, folder)
    command = ["segopt-sizes", "saved_model/saved_model.pb", "unet_float32.tflite", "."]
    print("$", *command, flush=True)
    weigh = [sys.executable, "-c", "import sys; from segopt_callbacks.sizes import main; sys.exit(main())"]
    return subprocess.run([*weigh, *command[1:]], cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
