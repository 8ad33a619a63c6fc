"""The fraction of an epoch that training waits for its input."""

import time

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks.compat import keras
from train_unet.waiting import InputWait


class Clock:
    """Seconds that pass where the test says, in place of the system's."""

    now = 0.0


def test_the_fraction_is_that_of_the_clock(monkeypatch):
    wait = InputWait()
    monkeypatch.setattr("train_unet.waiting.time.monotonic", lambda: Clock.now)
    for waited, fraction in ((1.0, 0.1), (5.0, 0.3)):  # of 10 and of 20 seconds
        Clock.now = 100.0
        wait.on_epoch_begin(0)
        wait._count(np.float64(waited))
        Clock.now = 110.0
        wait.on_train_batch_end(0)
        Clock.now = 200.0  # validation
        wait.on_epoch_end(0)
        assert wait.fraction == pytest.approx(fraction)


def test_a_fit_that_must_wait_for_its_input_says_so_and_gets_the_same_batches():
    def late(number):
        if number == 3:
            time.sleep(0.2)
        return np.float32(number)

    def batch(number):
        value = tf.ensure_shape(tf.numpy_function(late, [number], tf.float32), ())
        return tf.fill((1, 2), value), tf.fill((1, 1), value)

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    seen, plain = [], model.train_step
    model.train_step = lambda data: seen.append(float(data[0][0, 0])) or plain(data)
    wait, slow = InputWait(), tf.data.Dataset.range(4).map(batch)  # made when it is asked for
    watched = wait.watch(slow)
    assert len(watched) == 4
    model.fit(watched, callbacks=[wait], epochs=2, shuffle=False, verbose=0)
    assert seen == [0.0, 1.0, 2.0, 3.0] * 2
    assert wait._waited >= 0.2
    assert 0 < wait.fraction <= 1
