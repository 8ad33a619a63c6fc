"""The folder format: what is read is what other decoders read, and every fault is told by name."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.aerial import LANDCOVER
from train_unet import color_lookup
from train_unet.data import augment, datasets, load, relight
from train_unet.folder import SPLITS, DataFolderError, open_folder

SIZE = 32
CLASSES = {"classes": ["water", "land", "unlabelled"], "ignore": 2, "tile": SIZE}


@pytest.fixture
def folder(tmp_path):
    """Twelve random pairs in a folder without fault; images of both file formats."""
    return write_folder(tmp_path / "set")


def write_folder(root: Path, *, count: int = 12, classes: dict | None = None, size=(SIZE, SIZE)) -> Path:
    random = np.random.default_rng(3)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    rows = [("name", "split", "remark")]
    for index in range(count):
        image = random.integers(0, 256, (*size, 3), np.uint8)
        ending = "png" if index % 3 else "jpg"
        Image.fromarray(image).save(root / "images" / f"p{index}.{ending}")
        Image.fromarray(random.integers(0, 3, size, np.uint8)).save(root / "masks" / f"p{index}.png")
        rows.append((f"p{index}", SPLITS[min(index // 4, 2)], "x"))
    with (root / "split.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)
    (root / "classes.json").write_text(json.dumps(classes or CLASSES))
    return root


def faults_of(root: Path, **arguments) -> list[str]:
    with pytest.raises(DataFolderError) as error:
        open_folder(root, **arguments)
    assert all(fault in str(error.value) for fault in error.value.faults)
    return error.value.faults


def test_a_good_folder(folder):
    found = open_folder(folder, size_multiple=8)
    assert found.classes == ("water", "land")
    assert found.image_size == (SIZE, SIZE)
    assert {split: len(pairs) for split, pairs in found.pairs.items()} == {"train": 4, "val": 4, "test": 4}


def test_pixels_are_those_of_pillow(folder):
    found = open_folder(folder)
    for split in SPLITS:
        pairs = found.pairs[split]
        for (image, mask), (image_path, mask_path) in zip(load(found, split).as_numpy_iterator(), pairs, strict=True):
            np.testing.assert_array_equal(image, np.asarray(Image.open(image_path)))
            np.testing.assert_array_equal(mask, np.asarray(Image.open(mask_path)))


def test_an_ignored_class_in_the_middle_becomes_the_last(tmp_path):
    root = write_folder(tmp_path / "set", classes={"classes": ["a", "nothing", "b"], "ignore": 1})
    found = open_folder(root)
    assert found.classes == ("a", "b")
    for (_, mask), (_, path) in zip(load(found, "val").as_numpy_iterator(), found.pairs["val"], strict=True):
        np.testing.assert_array_equal(mask, np.array([0, 2, 1], np.uint8)[np.asarray(Image.open(path))])


def change(root: Path, kind: str) -> None:
    """Spoils the folder in one way."""
    if kind == "image missing":
        (root / "images" / "p1.png").unlink()
    elif kind == "mask missing":
        (root / "masks" / "p2.png").unlink()
    elif kind == "truncated JPEG":
        file = root / "images" / "p3.jpg"
        file.write_bytes(file.read_bytes()[:-200])
    elif kind == "truncated mask":
        file = root / "masks" / "p4.png"
        file.write_bytes(file.read_bytes()[:100])
    elif kind == "mask of another size":
        Image.fromarray(np.zeros((SIZE, SIZE // 2), np.uint8)).save(root / "masks" / "p5.png")
    elif kind == "class id out of range":
        Image.fromarray(np.full((SIZE, SIZE), 7, np.uint8)).save(root / "masks" / "p6.png")
    elif kind == "palette":
        Image.fromarray(np.zeros((SIZE, SIZE), np.uint8)).convert("P").save(root / "masks" / "p7.png")
    elif kind == "one bit":
        Image.fromarray(np.eye(SIZE, dtype=bool)).save(root / "masks" / "p8.png")
    elif kind == "image of another size":
        for name in ("images", "masks"):
            file = root / name / "p10.png"
            Image.open(file).resize((SIZE, 2 * SIZE)).save(file)
    elif kind == "grey image":
        Image.fromarray(np.zeros((SIZE, SIZE), np.uint8)).save(root / "images" / "p11.png")


FAULTS = {
    "image missing": ("images/p1", "is missing"),
    "mask missing": ("masks/p2.png", "is missing"),
    "truncated JPEG": ("images/p3.jpg", "truncated"),
    "truncated mask": ("masks/p4.png", "truncated"),
    "mask of another size": ("masks/p5.png", "as large as its image"),
    "class id out of range": ("masks/p6.png", "0 to 2. Received: 7"),
    "palette": ("masks/p7.png", "8-bit grey"),
    "one bit": ("masks/p8.png", "8-bit grey"),
    "image of another size": ("images/p10.png", "32x32"),
    "grey image": ("images/p11", "RGB"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_alone(folder, kind):
    change(folder, kind)
    (fault,) = faults_of(folder)
    assert fault.startswith(FAULTS[kind][0])
    assert FAULTS[kind][1] in fault


def test_all_faults_at_once(folder):
    for kind in FAULTS:
        change(folder, kind)
    (folder / "classes.json").write_text(json.dumps({**CLASSES, "palette": [[1, 2, 3]], "tile": SIZE}))
    faults = faults_of(folder)
    for name, word in [pair for kind, pair in FAULTS.items() if kind != "class id out of range"]:
        assert any(fault.startswith(name) and word in fault for fault in faults), name
    assert any("palette" in fault and fault.startswith("classes.json") for fault in faults)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "missing"),
        ("{", "JSON"),
        ('{"classes": "water"}', "classes"),
        ('{"classes": ["only"]}', "classes"),
        ('{"classes": ["a", "b", "c"], "ignore": 9}', "ignore"),
        ('{"classes": ["a", "b", "c"], "tile": -1}', "tile"),
        ('{"classes": ["a", "b", "c"], "palette": [[0, 0, 256], [0, 0, 0], [0, 0, 0]]}', "palette"),
        ("[]", "classes"),
    ],
)
def test_bad_classes(folder, content, word):
    path = folder / "classes.json"
    path.unlink() if content is None else path.write_text(content)
    (fault,) = faults_of(folder)
    assert fault.startswith("classes.json")
    assert word in fault


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("name,", "file,", "columns"),
        ("p11,test", "p11,exam", "p11,exam"),
        ("p11,test", "p10,test", "p10 2 times"),
        ("p11,test", "../p11,test", "../p11"),
    ],
)
def test_bad_split_file(folder, old, new, word):
    path = folder / "split.csv"
    path.write_text(path.read_text().replace(old, new))
    faults = faults_of(folder)
    assert faults[0].startswith("split.csv")
    assert any(word in fault for fault in faults)


def test_empty_split_and_missing_split_file(folder):
    path = folder / "split.csv"
    path.write_text(path.read_text().replace(",val", ",train"))
    (fault,) = faults_of(folder)
    assert "val is empty" in fault
    path.write_bytes(b"name,split\n\xff,train\n")
    assert "UTF-8" in faults_of(folder)[0]
    path.unlink()
    assert "split.csv: is missing" in faults_of(folder)[0]


def test_no_folder_and_sizes_that_do_not_halve(folder, tmp_path):
    assert "must be a folder" in faults_of(tmp_path / "nowhere")[0]
    assert faults_of(folder, size_multiple=5)[0].startswith("images: height and width must be multiples of 5")


def test_the_same_seed_gives_the_same_epochs(folder):
    def two_epochs(seed):
        train = datasets(open_folder(folder), batch_size=2, seed=seed)["train"]
        return [[image.tobytes() for image, _ in train.as_numpy_iterator()] for _ in range(2)]

    first, again, other = two_epochs(1), two_epochs(1), two_epochs(2)
    assert first == again
    assert first != other
    assert first[0] != first[1]


def test_training_batches_are_full_and_others_complete(folder):
    data = datasets(open_folder(folder), batch_size=3)
    assert [len(image) for image, _ in data["train"]] == [3]
    assert [len(image) for image, _ in data["test"]] == [3, 1]
    assert [len(image) for image, _ in datasets(open_folder(folder), batch_size=99)["train"]] == [4]


def test_augmentation_makes_the_eight_symmetries_and_keeps_masks_with_their_images(folder):
    found = open_folder(folder)
    image, mask = next(load(found, "train").as_numpy_iterator())
    symmetries = {np.rot90(one, k).tobytes() for one in (image, image[::-1]) for k in range(4)}
    masks = {
        np.rot90(one, k).tobytes(): np.rot90(ids, k).tobytes()
        for one, ids in ((image, mask), (image[::-1], mask[::-1]))
        for k in range(4)
    }
    seen = set()
    for turned, ids in augment(load(found, "train").take(1).repeat(100), seed=5).as_numpy_iterator():
        seen.add(turned.tobytes())
        assert masks[turned.tobytes()] == ids.tobytes()
    assert seen == symmetries


def test_other_light_is_a_factor_for_each_channel_and_leaves_masks_alone(folder):
    found = open_folder(folder)
    image, mask = next(load(found, "train").as_numpy_iterator())
    one = load(found, "train").take(1)
    factors = []
    for relit, ids in relight(one.repeat(50), seed=5, gain=0.2).as_numpy_iterator():
        np.testing.assert_array_equal(ids, mask)
        dark = (image > 20) & (image < 150)  # neither rounded much nor cut off
        ratio = np.where(dark, relit / np.maximum(image, 1), np.nan)
        factors.append(np.nanmean(ratio, axis=(0, 1)))
        assert np.nanmax(np.abs(ratio - factors[-1])) < 0.03
    factors = np.array(factors)
    assert 0.64 < factors.min() < 0.85
    assert 1.15 < factors.max() < 1.44
    assert np.abs(factors[:, 0] - factors[:, 1]).max() > 0.05
    (same, _) = next(relight(one, seed=5, gain=0.0).as_numpy_iterator())
    np.testing.assert_array_equal(same, image)


def test_images_that_are_no_squares_keep_their_shape(tmp_path):
    root = write_folder(tmp_path / "set", classes={"classes": ["a", "b", "c"]}, size=(16, 32))
    found = open_folder(root, size_multiple=8)
    assert found.image_size == (16, 32)
    assert {image.shape for image, _ in datasets(found, batch_size=2)["train"].as_numpy_iterator()} == {(2, 16, 32, 3)}


def test_the_embedded_images_and_their_colour_lookup():
    found = open_folder(LANDCOVER, size_multiple=8)
    assert {split: len(pairs) for split, pairs in found.pairs.items()} == {"train": 408, "val": 20, "test": 42}
    assert (LANDCOVER / "NOTICE.txt").is_file()
    assert 0.7435 <= color_lookup.score(found) < 0.7445


def test_the_colour_lookup_of_a_set_that_colour_decides(folder, tmp_path):
    root = tmp_path / "decided"
    shutil.copytree(folder, root)
    for path in (root / "images").iterdir():
        ids = np.asarray(Image.open(root / "masks" / f"{path.stem}.png"))
        path.unlink()
        Image.fromarray(np.repeat(ids[..., None] * 100, 3, axis=2)).save(path.with_suffix(".png"))
    assert color_lookup.score(open_folder(root)) == 1.0
