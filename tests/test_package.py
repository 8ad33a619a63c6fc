"""What the package promises as a whole."""

import os
import pathlib
import subprocess
import sys

import pytest

import segopt_callbacks

ROOT = pathlib.Path(__file__).parent.parent


def run(code, **environment):
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip().splitlines()


def test_the_public_names_are_sorted_and_there():
    assert segopt_callbacks.__all__ == sorted(segopt_callbacks.__all__)
    for name in segopt_callbacks.__all__:
        assert getattr(segopt_callbacks, name).__doc__


@pytest.mark.parametrize(("legacy", "version"), [(None, "keras."), ("0", "keras."), ("1", "tf_keras.")])
def test_importing_changes_neither_keras_nor_the_environment(legacy, version):
    """tfmot sets TF_USE_LEGACY_KERAS=1 when it is imported, which can turn tf.keras into Keras 2."""
    environment = {} if legacy is None else {"TF_USE_LEGACY_KERAS": legacy}
    unset = "os.environ.pop('TF_USE_LEGACY_KERAS', None)" if legacy is None else "pass"
    lines = run(
        f"import os; {unset}; import segopt_callbacks; segopt_callbacks.PolynomialDecay\n"
        "import tensorflow as tf; print(os.environ.get('TF_USE_LEGACY_KERAS')); print(tf.keras.Model.__module__)",
        **environment,
    )
    assert lines[0] == str(legacy)
    assert lines[1].startswith(version)


def test_a_tf_keras_model_in_a_process_of_keras_3():
    lines = run(
        "import numpy as np, tf_keras, segopt_callbacks as s\n"
        "model = tf_keras.Sequential([tf_keras.layers.Dense(10)])\n"
        "model.compile('sgd', 'mse')\n"
        "data = np.ones((8, 10), 'float32'), np.ones((8, 10), 'float32')\n"
        "history = model.fit(*data, verbose=0, epochs=2, callbacks=[s.ClusterOnTrainEndCallback(4),\n"
        "    s.PruningScheduleCallback(0.5)])\n"
        "kernel = model.weights[0].numpy()\n"
        "print((kernel == 0).sum(), len(np.unique(kernel)), history.history['sparsity'])"
    )
    assert lines[-1] == "50 4 [0.5, 0.5]"


def test_tfmot_and_scipy_are_imported_for_who_uses_them():
    """Seconds, and 200 MB, that no other callback needs."""
    lines = run(
        "import sys, tempfile, numpy as np, tensorflow as tf\n"
        "tf.keras.Model; before = 'scipy' in sys.modules\n"  # Keras imports it itself where it is installed
        "import segopt_callbacks as s\n"
        "model = tf.keras.Sequential([tf.keras.layers.Dense(4), tf.keras.layers.BatchNormalization()])\n"
        "model.compile('sgd', 'mse')\n"
        "x = np.ones((8, 4), 'float32')\n"
        "model.fit(x, x, verbose=0, epochs=2, callbacks=[s.PruningScheduleCallback(s.ramp_by_fraction(0.5)),\n"
        "    s.ClusterOnTrainEndCallback(4), s.QuantizationAwareTrainingCallback(), s.ReestimateBatchNormCallback(x),\n"
        "    s.CompressionSummaries(tempfile.mkdtemp())])\n"
        "print('tensorflow_model_optimization' in sys.modules, before == ('scipy' in sys.modules))\n"
        "s.PruningScheduleCallback(s.PolynomialDecay(0.0, 0.5, 0, 4))\n"
        "print('tensorflow_model_optimization' in sys.modules)"
    )
    assert lines[-2:] == ["False True", "True"]


def test_another_backend_is_refused_in_words(monkeypatch):
    """No other backend is a dependency; Keras is asked for its name, and nothing else happens before that."""
    import keras

    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    with pytest.raises(RuntimeError, match="set KERAS_BACKEND=tensorflow.*'jax'"):
        segopt_callbacks.PruningScheduleCallback(0.5).set_model(model)
