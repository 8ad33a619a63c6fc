"""Numbers instead of classes: the mean absolute error of a small network's int8 files, beside tfmot's.

    python -m benchmarks.regression [--table]

A network of two hidden layers learns Friedman's first function (`sklearn.datasets.make_friedman1`) from 4,000 examples
of ten numbers, without noise, in 60 epochs of batches of 32; its files are run on 2,000 others. tfmot's is made by
`quantize_model` and TensorFlow's converter, of the same network in tf_keras, trained equally long.
Results are appended to benchmarks/results.jsonl, and what stands there is not measured again; all take four minutes.
The table goes into docs/results.md.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import itertools
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.datasets import make_friedman1

from benchmarks.aerial import LANDCOVER, SEEDS, Study, parser_of, run_study, spread
from segopt_callbacks import ExportQuantizedCallback, QuantizationAwareTrainingCallback
from segopt_callbacks.compat import keras

X, Y = (one.astype("float32") for one in make_friedman1(6000, noise=0.0, random_state=0))
TRAIN, TEST = (X[:4000], Y[:4000, None]), (X[4000:], Y[4000:, None])
PLAIN, TRAINED = "trained plainly", "trained against 8 bits"
PLAIN_2, TFMOT = "trained plainly, `tf_keras`", "tfmot's `quantize_model`, `tf_keras`"
WAYS = (PLAIN, TRAINED, PLAIN_2, TFMOT)


def network(library: Any) -> Any:
    hidden = [library.layers.Dense(64, activation="relu") for _ in range(2)]
    return library.Sequential([library.Input(X.shape[1:]), *hidden, library.layers.Dense(1)])


def fit(model: Any, *callbacks: Any) -> None:
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(*TRAIN, batch_size=32, epochs=60, verbose=0, callbacks=[*callbacks])


def ours(*callbacks: Any) -> dict[str, float]:
    """Of the model in memory and of its `int8` file."""
    with tempfile.TemporaryDirectory() as folder:
        export = ExportQuantizedCallback(folder, ("int8",), evaluation_data=TEST, latency=False, verbose=0)
        fit(network(keras), *callbacks, export)
    model, file = export.report["model"], export.report["formats"]["int8"]
    return {"model": model["metrics"]["mae"], "int8": file["metrics"]["mae"]}


def plain_2() -> dict[str, float]:
    import tf_keras

    model = network(tf_keras)
    fit(model)
    return {"model": error(model.predict(TEST[0], verbose=0))}


def tfmot() -> dict[str, float]:
    """Likewise, by tfmot and TensorFlow's converter; the model in memory rounds, too."""
    import tensorflow as tf
    import tf_keras
    from ai_edge_litert.interpreter import Interpreter
    from tensorflow_model_optimization.quantization import keras as quantization

    model = quantization.quantize_model(network(tf_keras))
    fit(model)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    interpreter = Interpreter(model_content=converter.convert())
    interpreter.resize_tensor_input(0, TEST[0].shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], TEST[0])
    interpreter.invoke()
    answers = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return {"model": error(model.predict(TEST[0], verbose=0)), "int8": error(answers)}


def error(answers: np.ndarray) -> float:
    """Mean absolute error on the test examples."""
    return float(np.abs(answers - TEST[1]).mean())


def measure(_: Any, one: tuple[str, int]) -> None:
    way, seed = one
    keras.utils.set_random_seed(seed)
    ways = {PLAIN: ours, TRAINED: lambda: ours(QuantizationAwareTrainingCallback()), PLAIN_2: plain_2, TFMOT: tfmot}
    found = ways[way]()
    STUDY.add(one, {key: round(value, 4) for key, value in found.items()})


def table(results: Mapping[tuple, dict[str, Any]]) -> str:
    """A row for each way: mean (lowest to highest) over the seeds."""
    columns = {"in memory": "model", "`int8` file": "int8"}
    lines = [f"| model | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for way in WAYS:
        rows = [results[way, seed] for seed in SEEDS if (way, seed) in results]
        lines.append(
            f"| {way} | {' | '.join(spread([row[key] for row in rows if key in row]) for key in columns.values())} |"
        )
    return "\n".join(lines)


STUDY = Study("regression", "results.md", keys=("way", "seed"), table=table)


def main() -> int:
    arguments = parser_of(__doc__).parse_args()
    missing = [one for one in itertools.product(WAYS, SEEDS) if one not in STUDY.results()]
    return run_study(STUDY, missing, measure, arguments, lambda one: LANDCOVER)


if __name__ == "__main__":
    sys.exit(main())
