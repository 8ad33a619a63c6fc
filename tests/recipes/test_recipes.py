"""A goal becomes callbacks that keep its promises, in any model's fit."""

import dataclasses
import pathlib

import numpy as np
import pytest

from segopt_callbacks import PruningScheduleCallback, compat, ramp_by_fraction, recipe
from segopt_callbacks.compat import keras
from segopt_callbacks.recipes import GOALS, Recipe, goal_formats
from tests.conformance import compiled

IMAGES = np.random.default_rng(0).uniform(size=(32, 12, 12, 4)).astype("float32")
LABELS = (IMAGES.mean(-1) > 0.5).astype("int32")


class Net(keras.Model):
    """Subclassed, and without weights before its first step."""

    def __init__(self):
        super().__init__()
        self.hidden = keras.layers.Conv2D(32, 3, padding="same", use_bias=False)
        self.normalize = keras.layers.BatchNormalization()
        self.relu = keras.layers.ReLU()
        self.head = keras.layers.Conv2D(2, 1)

    def call(self, inputs, training=None):
        return self.head(self.relu(self.normalize(self.hidden(inputs), training=training)))


def fitted(callbacks):
    model = compiled(Net())
    model.fit(IMAGES, LABELS, batch_size=8, epochs=5, verbose=0, callbacks=callbacks)
    return model


@pytest.mark.parametrize("goal", GOALS)
def test_zeros_and_values_are_as_promised_and_every_file_is_delivered(goal, tmp_path, capsys, clock):
    sparsity = 0.99 if GOALS[goal].in_channels else 0.9
    callbacks = recipe(goal, export_dir=tmp_path, evaluation_data=(IMAGES, LABELS), latency=False, sparsity=sparsity)
    said = capsys.readouterr().out
    model = fitted(callbacks[::-1])
    kernels = [compat.read(weight) for weight in (model.hidden.kernel, model.head.kernel)]
    report = callbacks[-1].report
    if GOALS[goal].in_channels:  # at least a multiple of 8 stays
        assert (kernels[0] != 0).any((0, 1, 2)).sum() == 8
        assert list(report["channels"]["removed"].values()) == [24]
        assert "99.0% of the time that channels can save" in said
        assert "recipe fastest: 74.2% of the time of all layers, of 75.0% that" in capsys.readouterr().out
    else:
        zeros = sum((one == 0).sum() for one in kernels)
        assert zeros / sum(one.size for one in kernels) == pytest.approx(0.9, abs=0.01)
        assert max(len(np.unique(channel)) for one in kernels for channel in one.reshape(-1, one.shape[-1]).T) <= 15
        assert "90.0% zeros" in said
    assert {name: entry["status"] for name, entry in report["formats"].items()} == dict.fromkeys(
        goal_formats(goal), "ok"
    )
    assert str(tmp_path) in said
    if GOALS[goal].in_pairs:  # each zero has a zero beside it, in the kernel's input channels
        zeros = kernels[0] == 0
        assert (zeros[:, :, ::2] == zeros[:, :, 1::2]).all()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"goal": "tiny"}, "`goal` must be one of balanced, smallest, fastest.*'tiny'"),
        ({"sparsty": 0.9}, "Did you mean 'sparsity'"),
        ({"latencies": False, "export_dir": "x"}, "Did you mean 'latency'"),
        ({"zzz": 0}, "Its own are .*sparsity"),
        ({"evaluation_data": (IMAGES, LABELS)}, "Files need `export_dir`"),
        ({"metrics": {}}, "Files need `export_dir`.*metrics"),
        ({"latency": False}, "Files need `export_dir`.*latency"),
        ({"sparsity": 1.5}, r"in \[0, 1\)"),
        ({"kept": 0.1, "sparsity": 0.5}, "leave one of the two out.*kept=0.1, sparsity=0.5"),
        ({"goal": "fastest", "kept": 0.1}, "leave one of the two out"),
        ({"in_channels": True}, "give `in_pairs=False` and a `sparsity`"),
        ({"kept": 0}, r"fraction of the weights, in \(0, 1\]"),
        ({"num_bits": 3}, "8 or 4"),
        ({"round_begin": 2}, r"in \[0, 1\]"),
        ({"in_channels": 1}, "`in_channels` must be True or False"),
        ({"goal": "smallest", "in_channels": True}, "Whole channels are no pairs.*in_pairs=True, sparsity=None"),
    ],
)
def test_what_is_wrong_is_said_before_training(arguments, line):
    with pytest.raises(ValueError, match=line):
        recipe(**arguments)


@pytest.mark.parametrize("page", ["api.md", "recipes.md"])
def test_every_setting_is_on_the_page(page):
    text = (pathlib.Path(__file__).parents[2] / "docs" / page).read_text()
    row = next(line for line in text.splitlines() if "`in_pairs`" in line) if page == "api.md" else text
    assert not [one.name for one in dataclasses.fields(Recipe) if f"`{one.name}`" not in row]


def test_without_sparsity_nothing_is_pruned(capsys):
    (only,) = recipe("balanced", sparsity=0, verbose=0)
    assert type(only).__name__ == "QuantizationAwareTrainingCallback"
    assert recipe("fastest", sparsity=0) == []
    assert "nothing but the export" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("goal", "settings", "zeros"),
    [
        ("smallest", {}, {500_000: 0.965, 31_000: 0.894}),
        ("balanced", {}, {500_000: 0.8, 38_000: 0.444, 1_000: 0.0}),
        ("balanced", {"kept": 0.1}, {500_000: 0.9}),
    ],
)
def test_how_many_zeros_a_model_bears_is_told_when_it_is_known(goal, settings, zeros, capsys):
    schedule = recipe(goal, **settings)[0].schedule
    assert "as many as the number of weights allows" in capsys.readouterr().out
    for weights, sparsity in zeros.items():
        assert schedule.of_model(weights).final_sparsity == pytest.approx(sparsity, abs=5e-4)
        assert f"recipe {goal}: {sparsity:.1%} zeros, for {weights:,} weights" in capsys.readouterr().out


def test_a_ramp_knows_how_many_weights_its_model_has():
    model = fitted([PruningScheduleCallback(ramp_by_fraction(lambda weights: 0.5 if weights == 1216 else 0.1))])
    assert sum((compat.read(one) == 0).sum() for one in (model.hidden.kernel, model.head.kernel)) == 1216 // 2


def test_a_model_whose_channels_take_no_time_is_refused_before_its_first_step(monkeypatch):
    monkeypatch.setattr("segopt_callbacks.pruning.timed._in_a_process", lambda shapes: [1.0] * len(shapes))
    with pytest.raises(ValueError, match=r'save less than 1% here; use recipe\("balanced"\)'):
        fitted(recipe("fastest", verbose=0))


def test_a_model_without_channels_to_prune_is_refused_before_its_first_step():
    model = keras.Sequential([keras.Input((5, 4)), keras.layers.LSTM(3), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"another layer reads; use another pattern or recipe.*Received: .*lstm"):
        model.fit(np.zeros((8, 5, 4)), np.zeros((8, 2)), verbose=0, callbacks=recipe("fastest", verbose=0))
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
