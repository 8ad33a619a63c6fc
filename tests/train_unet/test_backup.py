"""A training that is broken off goes on from its backup; what becomes of one that cannot be written, or read."""

import errno
import os
import resource

import numpy as np
import pytest
import tensorflow as tf

from flags import FlagError
from segopt_callbacks import compat
from segopt_callbacks.compat import keras
from train_unet.backup import Backup, read_backup, write_backup
from train_unet.fitting import fit
from train_unet.full_disk import until_full

EPOCHS, STEPS = 3, 4
IS_KERAS_2 = os.environ.get("TF_USE_LEGACY_KERAS") == "1"


def small_net():
    keras.utils.set_random_seed(5)
    inputs = keras.Input((6,))
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(8)(inputs))
    net = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.ReLU()(hidden)))
    net.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    return net


def shuffled():
    """Batches in another order in each epoch."""
    keras.utils.set_random_seed(5)
    draw = np.random.default_rng(0)
    inputs, outputs = (draw.normal(size=(4 * STEPS, width)).astype("float32") for width in (6, 2))
    data = tf.data.Dataset.from_tensor_slices((inputs, outputs))
    return {"train": data.shuffle(16, seed=1).batch(4), "val": data.batch(8)}


class Killed(Exception):
    pass


class Backups(Backup):
    """Ends the training behind one of its backups."""

    until = None

    def save(self, epoch, batch):
        super().save(epoch, batch)
        if (epoch, batch) == self.until:
            raise Killed


def train(data, path, until=None, **options):
    """Weights, optimizer and the last epoch's logs at the end."""
    net, backup = small_net(), Backups(path, **options)
    backup.until = until
    fit(net, data, EPOCHS, [], backup)
    logs = {} if IS_KERAS_2 else net.history.history  # Keras 2 tells what the last batch has told
    return [*map(compat.read, compat.state_variables(net)), *(np.array(logs[name][-1]) for name in sorted(logs))]


def test_a_training_that_is_broken_off_three_times_ends_as_if_it_had_not_been(tmp_path, capsys):
    """Weights, optimizer, metrics, and the order of the data, which another fit has read before."""
    data = shuffled()
    train(data, tmp_path / "other.npz")
    whole = train(data, tmp_path / "whole.npz")
    path = tmp_path / "backup.npz"
    for place, minutes in (((1, 0), 1e9), ((1, 2), 0.0), ((2, STEPS - 1), 1e9)):
        with pytest.raises(Killed):
            train(shuffled(), path, place, minutes=minutes, fits_before=1)
        assert read_backup(path)[1] == {"epoch": place[0], "batch": place[1], "kept": []}
    resumed = train(shuffled(), path, fits_before=1)
    assert "Going on in epoch 3, behind 3 of its steps." in capsys.readouterr().out
    for one, other in zip(resumed, whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)


@pytest.mark.either_keras
@pytest.mark.parametrize(
    ("epoch", "batch", "minutes", "is_asked", "expected"),
    [
        (0, 0, 1e9, False, None),
        (0, 0, 0.0, False, (0, 1)),
        (0, 0, 1e9, True, (0, 1)),
        (0, 3, 0.0, False, None),
        (0, 3, 1e9, True, (1, 0)),
        (1, 2, 1e9, False, (1, 3)),
        (1, 3, 0.0, True, None),
    ],
)
def test_backups_inside_an_epoch(epoch, batch, minutes, is_asked, expected, tmp_path):
    """After some minutes, when asked to end, before the last step; the end of an epoch brings its own."""
    left = []
    backup = Backup(
        tmp_path / "backup.npz", minutes=minutes, interrupted=lambda: is_asked, leave=lambda: left.append(True)
    )
    backup.set_model(small_net())
    backup.set_params({"steps": STEPS, "epochs": 2})
    backup.on_epoch_begin(epoch)
    backup.on_train_batch_end(batch)
    found = read_backup(backup.path)
    assert (found and (found[1]["epoch"], found[1]["batch"])) == expected
    assert left == [True] * is_asked


@pytest.fixture
def full_disk():
    """Files of more than 4096 bytes cannot be written: the system says so, as it does of a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(is_full):
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096 if is_full else before[0], before[1]))

    yield fill
    fill(False)


@pytest.mark.either_keras
def test_a_full_disk_ends_no_training_and_leaves_the_older_backup(full_disk, tmp_path, capsys):
    net, backup = small_net(), Backup(tmp_path / "backup.npz")
    backup.set_model(net)
    backup.save(0, 1)
    full_disk(True)
    backup.save(0, 2)
    full_disk(False)
    assert read_backup(backup.path)[1]["batch"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["backup.npz"]
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "No backup could be written (File too large); training goes on" in told


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        tf.errors.ResourceExhaustedError(None, None, "logs/train/events; No space left on device"),
    ],
    ids=["Python", "TensorFlow"],
)
def test_a_full_disk_costs_the_log_and_says_so_once(error, capsys):
    class Log(keras.callbacks.Callback):
        """Writes a log."""

        error, written = None, 0

        def on_epoch_end(self, epoch, logs=None):
            if self.error:
                raise self.error
            self.written += 1

    log = until_full(Log())
    log.on_epoch_end(0)
    log.error = error
    log.on_epoch_end(1)
    log.on_epoch_end(2)
    log.error = ValueError("another")
    with pytest.raises(ValueError, match="another"):
        log.on_epoch_end(3)
    log.error = None
    log.on_epoch_end(4)
    assert log.written == 2
    assert capsys.readouterr().err == "The disk is full: Log leaves out what it cannot write.\n"
    if IS_KERAS_2:  # which looks for hooks that do nothing, once an epoch
        assert not log._implements_train_batch_hooks()


@pytest.mark.either_keras
def test_a_backup_that_is_damaged_is_told(tmp_path):
    path = tmp_path / "backup.npz"
    assert read_backup(path) is None
    values = [np.array([-0.0, 0.0], "float32"), np.arange(3)]
    write_backup(path, values, {"epoch": 1})
    arrays, about = read_backup(path)
    assert about == {"epoch": 1}
    assert [one.tobytes() for one in arrays] == [one.tobytes() for one in values]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(FlagError, match="begin anew with --overwrite"):
        read_backup(path)


@pytest.mark.either_keras
def test_who_does_not_write_leaves_no_backup(tmp_path):
    backup = Backup(tmp_path / "backup.npz", writes=False)
    backup.set_model(small_net())
    backup.save(0, 1)
    assert not list(tmp_path.iterdir())
