"""A random sample of the inputs of a fit, and int8 files that are calibrated on it. Oracles: SciPy, NumPy, LiteRT."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from scipy import stats

from segopt_callbacks import ExportQuantizedCallback, QuantizationAwareTrainingCallback, compat
from segopt_callbacks.compat import keras
from segopt_callbacks.data.reservoir import Reservoir
from segopt_callbacks.data.training_sample import TrainingSample
from segopt_callbacks.export import ExportError
from tests.export_models import IMAGES, LABELS, Segmenter
from tests.fit.test_strategy import results, start

X = np.random.default_rng(0).uniform(-1, 3, size=(40, 6)).astype("float32")
Y = X[:, :2].copy()


# --- the reservoir ---------------------------------------------------------------------------------------------------


def inclusions(trials, length, **settings):
    """How often each example of a stream is held, and how many are."""
    counts = np.zeros(length)
    for seed in range(trials):
        reservoir = Reservoir(seed=seed, **settings)
        for first in range(0, length, 7):
            reservoir.add([np.arange(first, min(first + 7, length))])
        counts[[int(one) for (one,) in reservoir.examples]] += 1
    return counts, len(reservoir.examples)


@pytest.mark.either_keras
@pytest.mark.parametrize("settings", [{"capacity": 6}, {"capacity": 20, "max_bytes": 50, "fewest": 2}])
def test_every_example_is_held_equally_often(settings):
    trials, length = 2000, 30
    counts, held = inclusions(trials, length, **settings)
    assert held == 6  # 50 bytes of int64
    assert counts.sum() == trials * held
    share = held / length
    # Inclusions of one trial sum up to `held`, so that the variance is that of drawing without replacement.
    statistic = ((counts - trials * share) ** 2).sum() / (trials * share * (1 - share)) * (length - 1) / length
    assert 0.001 < stats.chi2.sf(statistic, length - 1) < 0.999


@pytest.mark.either_keras
@pytest.mark.parametrize(("shape", "held"), [((4,), 2000), ((100,), 1000), ((16, 64, 3), 128)])
def test_more_examples_are_held_where_one_has_few_values(shape, held):
    reservoir = Reservoir()
    reservoir.add([np.zeros((0, *shape))])
    reservoir.add([np.zeros((3000, *shape))])
    assert len(reservoir.examples) == held


@pytest.mark.either_keras
def test_memory_is_bounded_and_examples_are_copies():
    reservoir = Reservoir(max_bytes=1000, fewest=2)
    batch = np.ones((64, 5, 5), np.float32)  # 100 bytes each
    reservoir.add([batch])
    batch[:] = 0
    assert reservoir.seen == 64
    assert len(reservoir.examples) == 10
    assert all((one == 1).all() for (one,) in reservoir.examples)
    for _ in range(50):
        reservoir.add([np.ones((64, 20, 20), np.float32)])  # 1600 bytes each: larger than all of them
    assert len(reservoir.examples) == 2


@pytest.mark.either_keras
def test_equal_streams_give_equal_samples_and_leave_the_global_generator_alone():
    before = np.random.get_state()[1].copy()
    samples = []
    for _ in range(2):
        reservoir = Reservoir(4)
        reservoir.add([np.arange(100), np.arange(100) * 2])
        assert all(two == 2 * one for one, two in reservoir.examples)
        samples.append(reservoir.examples)
    assert samples[0] == samples[1]
    assert (np.random.get_state()[1] == before).all()
    with pytest.raises(ValueError, match="above 0; pass 1 or more. Received: capacity=0"):
        Reservoir(0)


@pytest.mark.either_keras
def test_what_need_not_be_shown_leaves_the_sample_the_same():
    shown, spared = Reservoir(5, seed=1), Reservoir(5, seed=1)
    wait, passed, looks = 0, 0, 0
    for first in range(0, 3000, 7):
        batch = [np.arange(first, first + 7)]
        shown.add(batch)
        if passed + 7 <= wait:
            passed += 7
        else:
            wait, passed, looks = spared.add(batch, passed), 0, looks + 1
    assert shown.examples == spared.examples
    assert looks < 3000 / 7 / 8
    assert shown.seen == 3003 == spared.seen + passed


# --- in a fit --------------------------------------------------------------------------------------------------------


class Sampling(compat.Callback):
    def on_train_begin(self, logs=None):
        self.sample = TrainingSample(self.model)


def dense(**options):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.layers.Dense(4, activation="relu"), keras.layers.Dense(2)])
    model.compile("adam", "mse", **options)
    return model


def batches(*, repeat=False):
    data = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(40).batch(8)
    return data.repeat() if repeat else data.prefetch(2)


def generator():
    random = np.random.default_rng(0)
    while True:
        chosen = random.integers(0, 40, 8)
        yield X[chosen], Y[chosen]


FITS = {
    "arrays": ({}, lambda: {"x": X, "y": Y, "batch_size": 8, "sample_weight": np.ones(40)}),
    "several steps at a time, by XLA": (
        {"jit_compile": True, "steps_per_execution": 2},
        lambda: {"x": batches(repeat=True), "steps_per_epoch": 6, "shuffle": False},
    ),
    "eagerly": ({"run_eagerly": True}, lambda: {"x": batches(), "shuffle": False}),
    "generator": ({}, lambda: {"x": generator(), "steps_per_epoch": 5, "shuffle": False}),
}


@pytest.mark.parametrize("name", FITS)
def test_the_fit_stays_the_same_to_the_bit_and_the_sample_is_what_it_was_trained_on(name):
    options, data = FITS[name]
    weights = []
    sampling = Sampling()
    for callbacks in ([], [sampling]):
        model = dense(**options)
        model.fit(**data(), epochs=2, verbose=0, callbacks=callbacks)
        weights.append(model.get_weights())
    assert all(np.array_equal(one, other) for one, other in zip(*weights, strict=True))
    examples = np.concatenate(sampling.sample.examples())
    count = 96 if "several" in name else 80  # fewer than a sample may have: all of them
    assert examples.shape == (count, 6)
    assert sampling.sample.told(5) == "5 examples sampled from what the model was trained on"
    shown, rows = {row.tobytes() for row in examples}, {row.tobytes() for row in X}
    assert shown <= rows if name == "generator" else shown == rows


def test_few_batches_of_a_long_fit_are_looked_at_and_the_sample_is_uniform():
    looks = []

    class Small(Sampling):
        def on_train_begin(self, logs=None):
            super().on_train_begin(logs)
            self.sample._reservoir = reservoir = Reservoir(10)
            add = reservoir.add
            reservoir.add = lambda batch, passed: looks.append(passed) or add(batch, passed)

    rows = np.repeat(np.arange(4000, dtype=np.float32)[:, None], 6, axis=1)
    data = tf.data.Dataset.from_tensor_slices((rows, rows[:, :2])).batch(5)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    sampling = Small()
    model.fit(data, epochs=2, shuffle=False, verbose=0, callbacks=[sampling])
    assert 10 < len(looks) < 160
    assert sum(looks) > 0.8 * 8000
    reference = Reservoir(10)
    for _ in range(2):
        for first in range(0, 4000, 5):
            reference.add([rows[first : first + 5]])
    assert np.array_equal(sampling.sample.examples(), [[one] for (one,) in reference.examples])


def test_a_sample_can_not_be_taken_of_what_is_no_number_and_the_fit_goes_on():
    words = tf.data.Dataset.from_tensor_slices((np.array(["a", "b", "a", "b"]), Y[:4])).batch(2)
    lookup = keras.layers.StringLookup(vocabulary=["a", "b"])
    model = keras.Sequential([lookup, keras.layers.Embedding(3, 2)])
    model.compile("sgd", "mse")
    sampling = Sampling()
    model.fit(words, verbose=0, shuffle=False, callbacks=[sampling])
    assert sampling.sample.examples() == []
    assert "since inputs are not numbers in dense batches" in sampling.sample.told(0)


@pytest.mark.either_keras
def test_what_is_no_batch_of_examples_is_told_and_ends_no_fit():
    sample = TrainingSample(dense())
    assert sample.problem == "the model does not train by fit"
    sample.problem = ""
    assert sample._look(0, X, X[:2]) > 2**60
    assert sample.problem == "inputs are not batches of the same examples: (40, 6), (2, 6)"
    assert sample.examples() == []


def test_two_replicas_show_their_parts_of_every_batch():
    (seen,) = results([start("sampling")])
    assert seen == {"replicas": 2, "same": True, "shapes": [[1, 8, 8, 3]], "all": True, "seen": 64}


# --- files -----------------------------------------------------------------------------------------------------------


def files(model, folder, data, formats=("int8",), callbacks=(), fit=None, **options):
    """The report of a fit that exports without representative data."""
    export = ExportQuantizedCallback(folder, formats, verbose=0, **options)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*data, verbose=0, callbacks=[*callbacks, export], **(fit or {"batch_size": 5}))
    return export.report


def input_range(path, index=0):
    """Lowest and highest value that an input of a file can hold, by LiteRT's own interpreter."""
    details = sorted(Interpreter(str(path)).get_input_details(), key=lambda one: one["name"])[index]
    scale, zero = details["quantization"]
    return scale * (-128 - zero), scale * (127 - zero)


def convolutional(size=16):
    return keras.Sequential([keras.Input((size, size, 3)), keras.layers.Conv2D(3, 3, padding="same")])


FLOATS = np.random.default_rng(0).uniform(-1, 2, size=IMAGES.shape).astype("float32")


def test_int8_needs_no_data_and_has_the_ranges_of_training(tmp_path):
    dull = (FLOATS[:2] * 0.01, LABELS[:2])
    report = files(convolutional(), tmp_path, (FLOATS, LABELS), evaluation_data=dull)
    told = "10 examples sampled from what the model was trained on"
    assert report["formats"]["int8"]["notes"]["calibrated on"] == told
    assert report["verification"].items() >= {"examples": 2, "data": "evaluation data"}.items()
    np.testing.assert_allclose(input_range(tmp_path / "int8.tflite"), (FLOATS.min(), FLOATS.max()), atol=0.02)
    assert all(told in (tmp_path / name).read_text() for name in ("report.md", "report.html"))
    report = files(
        convolutional(), tmp_path, (FLOATS, LABELS), representative_dataset=lambda: ([one[None]] for one in dull[0])
    )
    assert report["formats"]["int8"]["notes"]["calibrated on"] == "representative data"
    assert input_range(tmp_path / "int8.tflite")[1] < 0.05


def test_subclassed_models_of_raw_images_of_which_only_the_size_of_the_files_counts(tmp_path):
    data = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(5)
    small = data.map(lambda images, labels: (images[:, :8, :8], labels[:, :8, :8])).take(1)
    fit = {"shuffle": False}
    report = files(Segmenter(), tmp_path, (data.concatenate(small),), calibration="percentile", fit=fit)
    entry = report["formats"]["int8"]
    assert entry["notes"]["calibrated on"] == "10 examples sampled from what the model was trained on"
    assert entry["ranges"]["method"] == "percentile"
    assert entry["equal_argmax"] >= 0.9
    assert report["verification"].items() >= {"examples": 10, "data": "training data"}.items()
    (given,) = Interpreter(str(tmp_path / "int8.tflite")).get_input_details()
    assert (given["dtype"], tuple(given["shape"])) == (np.uint8, (1, 16, 16, 3))


def test_inputs_by_name(tmp_path):
    wide, narrow = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    model = keras.Model({"a": wide, "b": narrow}, keras.layers.Dense(3)(wide + narrow))
    files(model, tmp_path, ({"a": X, "b": X / 100}, np.zeros(40, "int32")))
    for index, scale in enumerate((1, 100)):
        found = input_range(tmp_path / "int8.tflite", index)
        np.testing.assert_allclose(found, np.array([X.min(), X.max()]) / scale, atol=0.02 / scale)


def test_evaluation_data_are_taken_where_no_training_inputs_fit_and_the_report_tells(tmp_path):
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 3, padding="same")])
    cropped = (FLOATS[:, :8, :8], LABELS[:, :8, :8])
    report = files(model, tmp_path, cropped, evaluation_data=(FLOATS, LABELS))
    told = report["formats"]["int8"]["notes"]["calibrated on"]
    assert told.startswith("evaluation data, and no training inputs, since none of 10 examples has the structure, size")


def test_a_fit_that_reads_nothing_fails_the_integer_format_alone(tmp_path):
    fit = {"initial_epoch": 1, "epochs": 1}
    message = "int8: this format must see data.*pass `representative_dataset`.*since the fit read none"
    with pytest.raises(ExportError, match=message):
        files(convolutional(), tmp_path, (FLOATS, LABELS), ("float32", "int8"), fit=fit, calibration="mse")
    assert (tmp_path / "float32.tflite").exists()


def test_learned_ranges_come_first(tmp_path):
    training = QuantizationAwareTrainingCallback()
    report = files(convolutional(), tmp_path, (FLOATS, LABELS), callbacks=[training])
    assert report["formats"]["int8"]["ranges"]["calibrated"] == []
    assert "calibrated on" not in report["formats"]["int8"]["notes"]


def test_a_loop_without_fit_is_refused_before_its_first_step(tmp_path):
    model = dense()
    model.build((None, 6))
    before = [weight.copy() for weight in model.get_weights()]
    export = ExportQuantizedCallback(tmp_path, ("int16x8",), verbose=0)
    callbacks = keras.callbacks.CallbackList([export], model=model, epochs=1, steps=1)
    callbacks.on_train_begin()
    with pytest.raises(ValueError, match="see data.*Received: neither. .*sampled: the model does not train by fit"):
        callbacks.on_epoch_begin(0)
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))
