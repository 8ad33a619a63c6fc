"""Seeds, and a quiet TensorFlow."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest


@pytest.fixture(autouse=True)
def _seed():
    from segopt_callbacks.compat import keras

    keras.utils.set_random_seed(7)
    yield
    keras.backend.clear_session()
