"""What is written, read back with TensorBoard's own reader and compared with the model in memory."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator

from segopt_callbacks import (
    ClusterOnTrainEndCallback,
    ClusterScheduleCallback,
    CompressionSummaries,
    PolynomialDecay,
    PruningScheduleCallback,
)
from segopt_callbacks.compat import keras, read
from segopt_callbacks.records import Density, board
from segopt_callbacks.summaries.pictures import density_picture, mask_picture
from segopt_callbacks.summaries.writing import State, write_state
from tests.conformance import EPOCHS, SITUATIONS, STEPS, Bypassing, Segmenter, built, compiled, fit, functional, kernels

# The layout of Custom Scalars, and what the page `segopt` reads.
RECORDS = ("custom_scalars__config__", board.SETTINGS_TAG, board.WEIGHTS_TAG, board.RESULTS_TAG)
RAMP = PolynomialDecay(0.2, 0.75, 0, EPOCHS * STEPS - 1, frequency=1)


def written(log_dir, tag=None):
    """Tag -> [(step, value)], of the run `compression`."""
    reader = EventAccumulator(str(log_dir / "compression"), size_guidance={TENSORS: 0})
    reader.Reload()
    assert set(os.listdir(log_dir)) <= {"compression", "results"}
    tags = [tag] if tag else reader.Tags()["tensors"]
    return {one: [(event.step, tf.make_ndarray(event.tensor_proto)) for event in reader.Tensors(one)] for one in tags}


def steps(log_dir, tag="all_weights/sparsity"):
    return [step for step, _ in written(log_dir, tag)[tag]]


def picture(value):
    """Height, width and pixels of the image in a summary."""
    return tf.io.decode_png(value[2]).numpy()[..., 0]


@pytest.mark.parametrize("situation", SITUATIONS, ids=str)
def test_the_last_values_are_those_of_the_finished_model(situation, tmp_path):
    model = compiled(situation.make(), **situation.compile_args)
    for _ in range(situation.fits_before):
        fit(model)
    for _ in range(situation.fits):
        fit(model, CompressionSummaries(tmp_path), ClusterOnTrainEndCallback(4), PruningScheduleCallback(RAMP))
    log = written(tmp_path)
    weights = {re.sub("^[0-9]+/", "", path): value for path, value in kernels(model).items()}
    record = board.decoded(log[board.WEIGHTS_TAG][-1][1].item())
    zeros = {path: np.mean(value == 0) for path, value in weights.items()}
    for path, value in weights.items():
        assert log[f"pruning/sparsity/{path}"][-1][1] == pytest.approx(zeros[path])
        assert log[f"clustering/unique_weights/{path}"][-1][1] == np.unique(value).size <= 4
        assert log[f"pruning/target_sparsity/{path}"][-1][1] == pytest.approx(0.75)
        assert log[f"weights/{path}"][-1][1][:, 2].sum() == value.size
        assert np.array_equal(picture(log[f"pruning/mask/{path}"][-1][1]), mask_picture(value != 0))
        assert set(log[f"clustering/codebook/{path}"][-1][1][:, 2]) <= set(range(5))
        assert log[f"clustering/codebook/{path}"][-1][1][:, 2].sum() == np.unique(value).size
        sizes = np.unique(value, return_counts=True)[1]
        assert np.array_equal(log[f"clustering/cluster_sizes/{path}"][-1][1][:, 2], sizes)
        assert 0 <= record[path]["error"] < 1
        assert record[path]["values"] == pytest.approx(np.unique(value), rel=1e-3)
        assert picture(log[f"clustering/density/{path}"][-1][1]).shape == (128, 512)
    total = sum(value.size for value in weights.values())
    assert log["all_weights/sparsity"][-1][1] == pytest.approx(
        sum(zeros[p] * v.size for p, v in weights.items()) / total
    )
    assert len(log) == 3 + 4 + 8 * len(weights)
    fits = situation.fits_before + situation.fits
    expected = range(STEPS * (EPOCHS * situation.fits_before + 1), STEPS * EPOCHS * fits + 1, STEPS)
    assert steps(tmp_path) == list(expected)


def test_sparsity_follows_the_schedule_whatever_the_order_of_the_callbacks(tmp_path):
    logs = []
    for name, order in (("first", 1), ("last", -1)):
        keras.backend.clear_session()  # the same names
        keras.utils.set_random_seed(1)
        callbacks = [CompressionSummaries(tmp_path / name, 1), PruningScheduleCallback(RAMP)][::order]
        history = fit(compiled(functional()), *callbacks).history
        logs.append(written(tmp_path / name))
    assert logs[0].keys() == logs[1].keys()
    for tag, events in logs[0].items():
        for one, other in zip(events, logs[1][tag], strict=True):
            assert one[0] == other[0]
            np.testing.assert_array_equal(one[1], other[1])
    overall = dict(logs[0]["all_weights/sparsity"])
    assert list(overall) == list(range(1, 9))
    assert [overall[STEPS], overall[2 * STEPS]] == pytest.approx(history["sparsity"])
    targets = [value for _, value in logs[0][next(tag for tag in logs[0] if tag.startswith("pruning/target"))]]
    assert targets == pytest.approx([RAMP(min(step, 7))[1].numpy() for step in range(1, 9)])


@pytest.mark.parametrize(
    ("update_freq", "compile_args", "expected"),
    [(3, {}, [3, 6, 8]), (3, {"steps_per_execution": 2}, [4, 6, 8]), (100, {}, [8]), ("epoch", {}, [4, 8])],
)
def test_update_freq(tmp_path, update_freq, compile_args, expected):
    fit(compiled(functional(), **compile_args), CompressionSummaries(str(tmp_path), update_freq))
    assert steps(tmp_path) == expected


def test_steps_increase_over_fits_on_any_model(tmp_path):
    callback = CompressionSummaries(tmp_path)
    model = compiled(Segmenter())
    fit(model, callback)
    fit(model, callback, epochs=4, initial_epoch=2)
    assert steps(tmp_path) == [4, 8, 12, 16]
    fit(compiled(Segmenter()), callback)
    assert steps(tmp_path) == [4, 8, 12, 16, 20, 24]


@pytest.mark.filterwarnings("ignore:The training step runs no constraint")
def test_batches_count_where_no_optimizer_does(tmp_path):
    fit(compiled(Bypassing(), metrics=None), CompressionSummaries(tmp_path, 2), PruningScheduleCallback(0.5))
    log = written(tmp_path)
    assert [step for step, _ in log["all_weights/sparsity"]] == [2, 4, 6, 8]
    assert [float(value) for _, value in log["all_weights/sparsity"]] == pytest.approx([0.5] * 4, abs=0.01)


def test_without_pruning_there_are_statistics_and_no_masks(tmp_path):
    model = compiled(Segmenter())
    fit(model, CompressionSummaries(tmp_path))
    log = written(tmp_path)
    of_weights = [tag for tag in log if tag.endswith("kernel")]
    shown = {"pruning/sparsity", "clustering/unique_weights", "weights"}
    assert {tag.partition("/segmenter")[0] for tag in of_weights} == shown
    assert len(of_weights) == 3 * len(kernels(model))
    assert set(log) - set(of_weights) == {"all_weights/sparsity", *RECORDS}


def test_only_what_the_others_selected_is_shown(tmp_path):
    model = compiled(built(Segmenter)())
    fit(model, PruningScheduleCallback(0.5, r"segmenter\w*/conv2d\w*/kernel$"), CompressionSummaries(tmp_path))
    log = written(tmp_path)
    of_weights = {tag for tag in log if tag.endswith("kernel")}
    masks = {tag.removeprefix("pruning/mask/") for tag in log if tag.startswith("pruning/mask/")}
    assert {re.search("segmenter.*", tag)[0] for tag in of_weights} == masks
    assert len(of_weights) == 5 * 2
    assert set(log) - of_weights == {"all_weights/sparsity", "all_weights/target_sparsity", *RECORDS}
    for layer in (model.decoder, model.head):
        assert log["all_weights/sparsity"][-1][1] == np.mean(read(layer.kernel) == 0) == 0.5


class Interrupting(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        raise KeyboardInterrupt


def test_an_interrupted_fit_leaves_nothing_in_the_way_of_the_next(tmp_path):
    model, callback = compiled(functional()), CompressionSummaries(tmp_path, 1)
    with pytest.raises(KeyboardInterrupt):
        fit(model, callback, Interrupting())
    fit(model, callback, epochs=1)
    assert steps(tmp_path) == [2, 3, 4, 5]


def test_values_that_are_no_numbers_are_left_out_of_the_histogram(tmp_path):
    with tf.summary.create_file_writer(str(tmp_path / "compression")).as_default():
        write_state(State({"w": np.array([[0, 1, np.nan, np.inf]], "float32")}), step=3)
        write_state(State({"w": np.full((2, 2), np.nan, "float32")}), step=4)
    log = written(tmp_path)
    assert [value[:, 2].sum() for _, value in log["weights/w"]] == [2, 0]
    assert [float(value) for _, value in log["pruning/sparsity/w"]] == [0.25, 0]
    records = [board.decoded(value.item())["w"] for _, value in log[board.WEIGHTS_TAG]]
    assert [(one["low"], one["high"]) for one in records] == [(0, 1), (None, None)]


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "batch", None])
def test_update_freq_is_checked(value):
    with pytest.raises(ValueError, match=f"`update_freq` must be .* Received: update_freq={value!r}"):
        CompressionSummaries("logs", value)


@pytest.mark.parametrize("value", ["", None, 3])
def test_log_dir_is_checked(value):
    with pytest.raises(ValueError, match=f"`log_dir` must be .* Received: log_dir={value!r}"):
        CompressionSummaries(value)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5, 4), (3, 2, 5, 4), (2, 3, 2, 5, 4)])
def test_a_column_of_the_picture_is_an_output_channel(shape):
    mask = np.random.default_rng(3).random(shape) > 0.5
    drawn = mask_picture(mask)
    rows, columns = int(np.prod(shape[:-1])), shape[-1]
    assert drawn.dtype == np.uint8
    height, width = 256 // rows, 256 // columns
    assert drawn.shape == (rows * height, columns * width)
    for column in range(columns):
        kept = drawn[height // 2 :: height, column * width] == 0
        by_channel = [mask[..., channel, column].ravel() for channel in range(shape[-2])]
        assert np.array_equal(kept, np.concatenate(by_channel))


def test_a_large_mask_is_drawn_by_the_share_that_is_kept():
    mask = np.random.default_rng(3).random((3, 3, 128, 1030)) > 0.8
    drawn = mask_picture(mask)
    assert drawn.shape == (384, 344)  # 1152 rows by 3, 1030 columns by 3, of which the last group has one
    matrix = mask.transpose(2, 0, 1, 3).reshape(1152, 1030)
    assert drawn[10, 20] == round(255 * (1 - matrix[30:33, 60:63].mean()))
    assert drawn[10, 343] == round(255 * (1 - matrix[30:33, 1029].mean()))
    assert drawn.mean() / 255 == pytest.approx(1 - mask.mean(), abs=0.01)


def test_the_codebook_moves_while_it_trains_and_the_error_stays(tmp_path):
    model = compiled(functional())
    fit(model, ClusterScheduleCallback(4, begin_step=2), CompressionSummaries(tmp_path, 1))
    log = written(tmp_path)
    tags = [tag for tag in log if tag.startswith("clustering/codebook/")]
    assert len(tags) == 2
    for tag in tags:
        assert [step for step, _ in log[tag]] == list(range(2, 9))
        assert not np.array_equal(log[tag][0][1], log[tag][-2][1])
        records = [
            board.decoded(value.item())[tag.removeprefix("clustering/codebook/")] for _, value in log[RECORDS[2]]
        ]
        errors = [one["error"] for one in records if "error" in one]
        assert 0 < errors[0] == errors[-1]
        assert [step for step, _ in log[tag.replace("codebook", "density")]] == [
            2,
            4,
            8,
        ]  # pictures are drawn less often
    errors = [value for _, value in log["all_weights/cluster_error"]]
    assert len(errors) == 7
    assert 0 < errors[0] == pytest.approx(errors[-1])


def test_a_density_shows_where_weights_lay_and_lines_at_the_values():
    values = np.repeat([-1.0, 0.0, 1.0], [1, 98, 1])
    drawn = density_picture(Density.of(values), np.array([0.0, 5.0]))
    assert drawn.shape == (128, 512)
    assert (drawn[:, 255] == 0).all()
    assert (drawn[:, 511] == 0).all()  # where the second is drawn, which lies outside
    heights = (drawn == 190).sum(axis=0)
    assert 0 < heights[0] < heights[256] == 128
    assert heights[100] == 0


@pytest.mark.parametrize("values", [np.zeros(0), np.full(5, 3.0)])
def test_densities_of_nothing_and_of_one_value(values):
    assert density_picture(Density.of(values), values[:1]).shape == (128, 512)
