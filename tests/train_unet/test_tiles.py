"""Images of several sizes, cut into tiles; classes left out and weighed; bands and depths beyond RGB of 8 bits."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.metrics import confusion_matrix, log_loss
from sklearn.utils.class_weight import compute_class_weight

import flags
from tests.predict.test_pictures import geo, write_tiff
from train_unet import color_lookup, data, train
from train_unet.class_weights import class_weights
from train_unet.data import datasets, load, load_whole
from train_unet.evaluating import whole_images_miou
from train_unet.folder import DataFolderError, open_folder
from train_unet.losses import SegmentationLoss, cross_entropy, soft_dice
from train_unet.reading import Reading, Scaling
from train_unet.tiles import cut

SIZES = [(40, 24), (16, 16), (9, 50), (33, 17), (20, 70), (5, 7)]  # two of each split
TILE = 16
RANDOM = np.random.default_rng(6)


def write(root: Path, save) -> Path:
    """Six pairs of several sizes and three classes; `save(path without ending, pixels)` writes an image."""
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    rows = [("name", "split")]
    for number, size in enumerate(SIZES):
        save(root / "images" / f"p{number}", RANDOM.integers(0, 256, (*size, 3)).astype("uint8"))
        Image.fromarray(RANDOM.choice(3, size, p=[0.7, 0.2, 0.1]).astype("uint8")).save(
            root / "masks" / f"p{number}.png"
        )
        rows.append((f"p{number}", ("train", "val", "test")[number // 2]))
    with (root / "split.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)
    (root / "classes.json").write_text(json.dumps({"classes": ["land", "water", "road"]}))
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write(
        tmp_path_factory.mktemp("sizes") / "set", lambda path, pixels: Image.fromarray(pixels).save(f"{path}.png")
    )


@pytest.fixture(scope="module")
def folder(root):
    return open_folder(root, tile=TILE, size_multiple=8)


def arrays(dataset):
    return list(dataset.as_numpy_iterator())


def pixels_of(folder, split):
    return [(np.asarray(Image.open(image)), np.asarray(Image.open(mask))) for image, mask in folder.pairs[split]]


def test_images_of_several_sizes_need_tiles(root):
    with pytest.raises(DataFolderError, match="with --tile images may have any size"):
        open_folder(root)
    with pytest.raises(DataFolderError, match="--tile must be multiples of 8; crop. Received: 20x20"):
        open_folder(root, tile=20, size_multiple=8)


def test_tiles_side_by_side_have_every_pixel_once(folder):
    tiles = iter(arrays(load(folder, "val")))
    for image, mask in pixels_of(folder, "val"):
        height, width = mask.shape
        rows, columns = -(-height // TILE), -(-width // TILE)
        parts = [[next(tiles) for _ in range(columns)] for _ in range(rows)]
        whole = np.block([[part[1] for part in row] for row in parts])
        np.testing.assert_array_equal(whole[:height, :width], mask)
        assert (whole[height:] == 3).all()
        assert (whole[:, width:] == 3).all()
        pixels = np.concatenate([np.concatenate([part[0] for part in row], axis=1) for row in parts])
        missing = [(0, pixels.shape[0] - height), (0, pixels.shape[1] - width), (0, 0)]
        np.testing.assert_array_equal(pixels, np.pad(image, missing, mode="symmetric"))
    assert next(tiles, None) is None


def test_tiles_of_an_epoch_lie_at_random_places_that_a_seed_repeats():
    places = np.stack(np.meshgrid(np.arange(40), np.arange(90), indexing="ij"), axis=-1).astype("uint8")  # itself
    images = tf.data.Dataset.from_tensors((places, np.zeros((40, 90), "uint8"))).repeat(20)
    train = cut(images, TILE, 3, seed=5)
    first, second, again = arrays(train), arrays(train), arrays(cut(images, TILE, 3, seed=5))
    assert len(first) == 20 * 3 * 6
    corners, others, repeated = ([tuple(image[0, 0]) for image, _ in one] for one in (first, second, again))
    assert corners == repeated
    assert corners != others
    tops, lefts = zip(*corners, strict=True)
    assert (min(tops), max(tops)) == (0, 40 - TILE)
    assert (min(lefts), max(lefts)) == (0, 90 - TILE)
    for (image, _), (top, left) in zip(first, corners, strict=True):
        np.testing.assert_array_equal(image, places[top : top + TILE, left : left + TILE])


def test_a_dataset_is_as_long_as_it_says(folder):
    assert folder.tiles("train") == 3 * 2 + 1
    for split, batches in datasets(folder, batch_size=2).items():
        shapes = [image.shape for image, _ in arrays(batches)]
        assert len(shapes) == len(batches), split
        assert {shape[1:] for shape in shapes} == {(TILE, TILE, 3)}
    train = datasets(folder, batch_size=99)["train"]
    assert [len(image) for image, _ in arrays(train)] == [7]


def test_what_does_not_fit_into_memory_is_the_same(folder, monkeypatch):
    kept = arrays(load(folder, "val"))
    monkeypatch.setattr(data, "CACHED_BYTES", 0)
    for one, other in zip(kept, arrays(load(folder, "val")), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
    assert len(arrays(datasets(folder, batch_size=1)["train"])) == folder.tiles("train")


def test_whole_images_are_judged_by_blended_tiles(folder):
    class Colour:
        """Answers each pixel by its own red: the same with and without tiles."""

        def predict_on_batch(self, pixels):
            assert pixels.shape == (1, TILE, TILE, 3)
            return np.eye(3)[pixels[..., 0] // 86]

    pairs = pixels_of(folder, "test")
    truth = np.concatenate([mask.ravel() for _, mask in pairs])
    predicted = np.concatenate([image[..., 0].ravel() // 86 for image, _ in pairs])
    confusion = confusion_matrix(truth, predicted)
    expected = np.mean(np.diag(confusion) / (confusion.sum(0) + confusion.sum(1) - np.diag(confusion)))
    assert whole_images_miou(Colour(), folder, "test") == pytest.approx(expected)


def test_another_class_is_left_out(root):
    for given in ("water", "1"):
        found = open_folder(root, tile=TILE, ignore_class=given)
        assert found.classes == ("land", "road")
        for (_, mask), (_, ids) in zip(arrays(load_whole(found, "test")), pixels_of(found, "test"), strict=True):
            np.testing.assert_array_equal(mask, np.array([0, 2, 1], "uint8")[ids])
    with pytest.raises(DataFolderError, match="--ignore_class must be a class, by name or id: land, water, road"):
        open_folder(root, tile=TILE, ignore_class="wat")


def test_balanced_weights_are_those_of_sklearn(folder):
    ids = np.concatenate([mask.ravel() for _, mask in pixels_of(folder, "train")])
    np.testing.assert_array_equal(folder.counts, np.bincount(ids))
    expected = compute_class_weight("balanced", classes=np.arange(3), y=ids)
    np.testing.assert_allclose(class_weights(["balanced"], folder.counts), expected)


@pytest.mark.parametrize("given", [["1", "2"], ["a", "b", "c"], ["1", "-1", "1"], ["0", "0", "0"], ["nan", "1", "1"]])
def test_weights_are_one_for_each_class(given, folder):
    with pytest.raises(ValueError, match="for each of the 3 classes"):
        class_weights(given, folder.counts)


def test_weighted_losses_are_those_of_sklearn_and_of_the_formula():
    ids, logits = RANDOM.integers(0, 4, (2, 5, 6)), RANDOM.normal(size=(2, 5, 6, 3)).astype("float32")
    weights = [0.5, 3.0, 1.0]
    known = ids < 3
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = log_loss(ids[known], probabilities[known], sample_weight=np.take(weights, ids[known]), labels=[0, 1, 2])
    loss = float(cross_entropy(tf.constant(ids), tf.constant(logits), 3, weights))
    assert loss == pytest.approx(expected, rel=1e-5)
    truth, guess = np.eye(4)[ids][..., :3], probabilities * known[..., None]
    dice = 2 * (truth * guess).sum((0, 1, 2)) / (truth.sum((0, 1, 2)) + guess.sum((0, 1, 2)))
    assert float(soft_dice(tf.constant(ids), tf.constant(logits), 3, weights)) == pytest.approx(
        np.average(1 - dice, weights=weights), rel=1e-5
    )
    again = SegmentationLoss.from_config(SegmentationLoss("dice", ignore_class=3, class_weights=weights).get_config())
    assert float(again(tf.constant(ids), tf.constant(logits))) == pytest.approx(np.average(1 - dice, weights=weights))


def test_the_command_hands_its_flags_on(root):
    arguments = ["--tile=16", "--ignore_class=road", "--class_weights=1,4", "--base_filters=2", "--bands=3,1"]
    values = flags.parse(["train.py", f"--data_dir={root}", *arguments, "--levels=2", "--scale=0.5", "--offset=10"])
    folder, found = train.open_data(values)
    (image, _), *_ = arrays(found["test"])
    first = pixels_of(folder, "test")[0][0][:TILE, :TILE, [2, 0]]
    np.testing.assert_array_equal(image[0], np.round(first * np.float32(0.5) + 10))
    model = train.build_model(values, folder, steps=1)
    assert model(image).shape == (len(image), TILE, TILE, 2)
    assert model.loss.class_weights == [1.0, 4.0]
    assert 0 < color_lookup.score(folder) < 1
    values = flags.parse(["train.py", "--class_weights=1,2,3"])
    with pytest.raises(flags.FlagError, match="--class_weights must be balanced, or a number"):
        train.build_model(values, folder, steps=1)


@geo
def test_deep_images_of_many_bands_become_bytes(tmp_path):
    written = {}

    def save(path, pixels):
        deep = np.concatenate([pixels, 255 - pixels], axis=-1).astype("uint16") * 40
        written[path.name] = deep
        write_tiff(path.with_suffix(".tif"), deep)

    root = write(tmp_path / "set", save)
    with pytest.raises(DataFolderError, match=r"images/p0.tif: it must have 3 bands; name them with --bands"):
        open_folder(root, tile=TILE)
    with pytest.raises(DataFolderError, match=r"images/p0.tif: numbers beyond bytes must be scaled"):
        open_folder(root, tile=TILE, reading=Reading(4, (5, 1, 2, 6)))
    found = open_folder(root, tile=TILE, reading=Reading(4, (5, 1, 2, 6), Scaling((0.025,))))
    for (image, _), (path, _) in zip(arrays(load_whole(found, "val")), found.pairs["val"], strict=True):
        np.testing.assert_array_equal(image, written[path.stem][..., [4, 0, 1, 5]] // 40)
    assert {image.shape for image, _ in arrays(datasets(found, batch_size=1)["train"])} == {(1, TILE, TILE, 4)}


def example(**features):
    made = {name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for name, value in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()


@pytest.fixture
def shards(root, folder, tmp_path):
    """The pairs of the folder in TFRecord files, of which training has two."""
    (tmp_path / "classes.json").write_text((root / "classes.json").read_text())
    names = {"train": ["train-0.tfrecord", "train-1.tfrecord"], "val": ["val.tfrecord"], "test": ["test.tfrecord"]}
    for split, files in names.items():
        for number, file in enumerate(files):
            with tf.io.TFRecordWriter(str(tmp_path / file)) as writer:
                for image, mask in folder.pairs[split][number :: len(files)]:
                    writer.write(example(image=image.read_bytes(), mask=mask.read_bytes()))
    return tmp_path


def test_records_hold_the_same_as_files(shards, folder, monkeypatch):
    found = open_folder(shards, tile=TILE, size_multiple=8)
    assert {split: found.tiles(split) for split in found.pairs} == {
        split: folder.tiles(split) for split in folder.pairs
    }
    np.testing.assert_array_equal(found.counts, folder.counts)
    for split in ("train", "test"):
        for one, other in zip(arrays(load_whole(found, split)), pixels_of(folder, split), strict=True):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])
    monkeypatch.setattr(data, "CACHED_BYTES", 0)
    assert len(arrays(datasets(found, batch_size=1)["train"])) == folder.tiles("train")


def test_faults_of_records_are_told_by_their_places(shards, folder):
    image, mask = (path.read_bytes() for path in folder.pairs["train"][0])
    with tf.io.TFRecordWriter(str(shards / "train-0.tfrecord")) as writer:
        for record in (
            {"image": image, "mask": mask},
            {"image": image[:60], "mask": mask},
            {"image": mask, "mask": image},
        ):
            writer.write(example(**record))
    with tf.io.TFRecordWriter(str(shards / "val.tfrecord")) as writer:
        writer.write(example(picture=image))
    content = (shards / "test.tfrecord").read_bytes()
    (shards / "test.tfrecord").write_bytes(content[:-9])
    with pytest.raises(DataFolderError) as error:
        open_folder(shards, tile=TILE, reading=Reading(2, (1, 2)))
    told = sorted(error.value.faults)
    starts = [
        "--bands, --scale and --offset are for files",
        "test.tfrecord: is damaged behind record 1",
        "train-0.tfrecord/1: cannot be decoded",
        "train-0.tfrecord/2: must be RGB",
        "train-0.tfrecord/2: must be an 8-bit grey PNG",
        "val*.tfrecord: must hold at least one record",
        "val.tfrecord/0: must be an Example",
    ]
    assert len(told) == len(starts)
    for fault, start in zip(told, starts, strict=True):
        assert fault.startswith(start)
