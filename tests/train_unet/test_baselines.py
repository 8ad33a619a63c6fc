"""What the files of a run are compared with."""

import json

import numpy as np
import pytest

import flags
from train_unet import baselines, color_lookup
from train_unet.folder import open_folder


@pytest.fixture(scope="module")
def folder():
    return open_folder(flags.parse(["train.py"]).data_dir, size_multiple=8)


def test_the_default_network_stands_beside_its_plain_trainings_and_colour_alone(folder):
    rows = map(json.loads, baselines.RESULTS.read_text().splitlines())
    mious = [row["float32_metric"] for row in rows if (row["study"], row.get("way")) == ("main_job", "plain training")]
    known = baselines.known_baselines(flags.parse(["train.py", "--prune", "--seed=3"]), {}, folder)
    (dense, miou), (lookup, score) = known.items()
    assert dense.startswith(f"dense float32, {len(mious)} seed")
    assert miou == {"mIoU": pytest.approx(np.mean(mious))}
    assert (lookup, score) == ("colour lookup", {"mIoU": color_lookup.score(folder)})


def test_a_dense_model_that_was_trained_beside_it_takes_their_place(folder):
    values = flags.parse(["train.py", "--baseline"])
    known = baselines.known_baselines(values, {"baseline": 0.75}, folder)
    assert list(known) == ["dense float32", "colour lookup"]
    assert known["dense float32"] == {"mIoU": 0.75}


@pytest.mark.parametrize("flag", ["--epochs=2", "--base_filters=8", "--loss=dice", "--class_weights=balanced"])
def test_another_training_is_compared_with_nothing_that_was_not_measured(flag, folder):
    assert baselines.known_baselines(flags.parse(["train.py", flag]), {}, folder) == {}
