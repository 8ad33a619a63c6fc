"""Data sets of TensorFlow Datasets, built from local files: read as the files are, and every fault is told."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import flags
from segopt_callbacks.compat import keras, read
from tests.train_unet.test_train import KILLED, ROOT, SMALL, command, run_here
from train_unet import color_lookup, data, train
from train_unet.data import datasets, load, load_whole
from train_unet.folder import SPLITS, DataFolderError
from train_unet.reading import Reading, Scaling
from train_unet.tfds_builder import choose_splits
from train_unet.tfds_folder import open_tfds

NAMES = ["land", "water", "road"]
COUNTS = {"train": 12, "validation": 3, "test": 3}
SIZE = (64, 64)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Where data sets are prepared; TFDS_DATA_DIR says so to this process and those that it starts."""
    pytest.importorskip("tensorflow_datasets").disable_progress_bar()
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(folder))
        yield folder


def build(root, name, examples, **features):
    """Builds a data set as any other is built; `examples` are those of each split, by key."""
    import tensorflow_datasets as tfds

    spec = tfds.features.FeaturesDict({"name": tfds.features.Text(), **features})
    numbered = {
        split: [(index, {"name": f"{split} {index}", **one}) for index, one in enumerate(rows)]
        for split, rows in examples.items()
    }
    builder = tfds.dataset_builders.AdhocBuilder(
        name=name, version="1.0.0", features=spec, split_datasets=numbered, data_dir=root
    )
    builder.download_and_prepare()
    return builder


def kind(channels=3, dtype=np.uint8, labels=False):
    """An image feature of any size; with `labels`, a labelled one."""
    import tensorflow_datasets as tfds

    if labels is not False:
        return tfds.features.LabeledImage(labels=labels)
    return tfds.features.Image(shape=(None, None, channels), dtype=dtype, encoding_format="png")


def write_pair(folder, name, size, classes=3):
    """Files of an image whose colours follow the classes, and of its mask."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    coarse = random.integers(0, classes, (-(-size[0] // 8), -(-size[1] // 8)))
    ids = np.kron(coarse, np.ones((8, 8), int))[: size[0], : size[1]].astype("uint8")
    pixels = (80 * ids[..., None] + random.integers(0, 8, (*size, 3))).astype("uint8")
    paths = folder / f"{name}.png", folder / f"{name}_mask.png"
    for path, content in zip(paths, (pixels, ids), strict=True):
        Image.fromarray(content).save(path)
    return dict(zip(("image", "segmentation_mask"), map(str, paths), strict=True))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Pairs of one size, by split."""
    folder = tmp_path_factory.mktemp("files")
    return {
        split: [write_pair(folder, f"{split}{number}", SIZE) for number in range(count)]
        for split, count in COUNTS.items()
    }


@pytest.fixture(scope="module")
def patches(root, files):
    """The name of a data set of RGB images, and masks that name their classes."""
    build(root, "patches", files, image=kind(), segmentation_mask=kind(labels=NAMES))
    return "patches"


@pytest.fixture(scope="module")
def uneven(root, tmp_path_factory):
    """The name of a data set with one split, of several sizes, whose classes have no names and of which 255 is void."""
    folder, rows = tmp_path_factory.mktemp("uneven"), []
    for number, size in enumerate(
        [(40, 24), (16, 16), (9, 50), (33, 17), (20, 70), (32, 32), (16, 48), (8, 8), (24, 24)]
    ):
        rows.append(write_pair(folder, f"p{number}", size))
        path = Path(rows[-1]["segmentation_mask"])
        Image.fromarray(np.array([1, 4, 255], np.uint8)[np.asarray(Image.open(path))]).save(path)
    build(root, "uneven", {"train": rows}, image=kind(), segmentation_mask=kind(channels=1))
    return "uneven"


def arrays(dataset):
    return list(dataset.as_numpy_iterator())


def as_written(rows):
    """Ids by the pixels of their image: TFDS writes examples in an order of its own."""
    pairs = [[np.asarray(Image.open(row[key])) for key in ("image", "segmentation_mask")] for row in rows]
    return {pixels.tobytes(): ids for pixels, ids in pairs}


def test_pixels_and_classes_are_those_of_the_files(patches, files):
    found = open_tfds(patches, size_multiple=8)
    assert str(found.root) == "tfds:patches/1.0.0"
    assert (found.classes, found.image_size) == (tuple(NAMES), SIZE)
    assert {split: len(pairs) for split, pairs in found.pairs.items()} == {"train": 12, "val": 3, "test": 3}
    for split, rows in zip(SPLITS, files.values(), strict=True):
        written = as_written(rows)
        for image, mask in arrays(load(found, split)):
            assert image.tobytes() in written
            np.testing.assert_array_equal(mask, written.pop(image.tobytes()))
        assert not written
    everything = np.concatenate([ids.ravel() for ids in as_written(files["train"]).values()])
    np.testing.assert_array_equal(found.counts, np.bincount(everything))
    assert color_lookup.score(found) == 1.0


@pytest.mark.parametrize("kept", [1 << 30, 0], ids=["in memory", "read anew"])
def test_the_order_of_each_epoch_is_another_and_the_seed_repeats_it(patches, monkeypatch, kept):
    monkeypatch.setattr(data, "CACHED_BYTES", kept)

    def two_epochs(seed):
        batches = datasets(open_tfds(patches), batch_size=4, seed=seed)["train"]
        return [[image.tobytes() for image, _ in arrays(batches)] for _ in range(2)]

    first, again, other = two_epochs(1), two_epochs(1), two_epochs(2)
    assert [len(epoch) for epoch in first] == [3, 3]
    assert first == again
    assert first != other
    assert first[0] != first[1]


def test_images_of_several_sizes_are_cut_and_void_is_left_out(uneven):
    with pytest.raises(
        DataFolderError, match="must have one size; with --tile=128 they may have any. Received: 9 sizes"
    ):
        open_tfds(uneven)
    whole = open_tfds(uneven, tile=16)
    assert whole.classes == ("1", "4", "255")
    found = open_tfds(uneven, tile=16, ignore_class="255", size_multiple=8)
    assert found.classes == ("1", "4")
    assert {split: len(pairs) for split, pairs in found.pairs.items()} == {"train": 7, "val": 1, "test": 1}
    for split in SPLITS:
        pairs = arrays(load_whole(found, split))
        assert [mask.shape for _, mask in pairs] == found.sizes[split]
        for image, mask in pairs:  # colours follow the classes; void is the last
            np.testing.assert_array_equal(mask, image[..., 0] // 80)
    assert [sum(len(image) for image, _ in arrays(one)) for one in datasets(found, batch_size=1).values()] == [
        found.tiles(split) for split in SPLITS
    ]


def test_deep_images_of_many_bands_and_chosen_features(root):
    random = np.random.default_rng(1)
    deep = random.integers(0, 1 << 16, (5, 16, 16, 4), np.uint16)
    ids = random.integers(0, 3, (5, 16, 16, 1), np.uint16)
    rows = [{"sat": one, "land": mask, "other": mask.astype("uint8")} for one, mask in zip(deep, ids, strict=True)]
    build(root, "deep", {"full": rows}, sat=kind(4, np.uint16), land=kind(1, np.uint16), other=kind(1))
    splits = ["full[:3]", "full[3:4]", "full[4:]"]
    with pytest.raises(flags.FlagError, match=r"--tfds_splits=full\[:80%\],.* Received: full"):
        open_tfds("deep", keys=["sat", "land"])
    with pytest.raises(flags.FlagError, match="the mask must be an Image or .*; choose from "):
        open_tfds("deep", splits=splits)
    with pytest.raises(DataFolderError) as error:
        open_tfds("deep", splits=splits, keys=["sat", "land"])
    assert [fault.partition(" must")[0] for fault in error.value.faults] == ["--bands", "--scale"]
    reading = Reading(3, (4, 1, 2), Scaling((1 / 257,)))
    found = open_tfds("deep", splits=splits, keys=["sat", "land"], reading=reading)
    read_back = {mask.tobytes(): image for split in SPLITS for image, mask in arrays(load(found, split))}
    for pixels, mask in zip(deep, ids, strict=True):
        expected = np.round(pixels[..., [3, 0, 1]].astype("float32") * np.float32(1 / 257))
        np.testing.assert_array_equal(read_back[mask[..., 0].astype("uint8").tobytes()], expected)


def test_splits_that_a_data_set_lacks_are_cut_from_its_training_images():
    assert choose_splits(["test", "train", "validation"], []) == ("train", "validation", "test")
    assert choose_splits(["train", "dev"], []) == ("train[:90%]", "dev", "train[90%:100%]")
    assert choose_splits(["train"], ["a", "b", "c"]) == ("a", "b", "c")


def test_the_program_trains_exports_and_reports(patches, tmp_path):
    options = ["--baseline", "--class_weights=balanced", "--ignore_class=road", "--export_formats=float32,int8"]
    where = (f"--data_dir=tfds:{patches}", f"--output_dir={tmp_path}")
    done = command(*SMALL, *options, *where, run=subprocess.run)  # what importing prints is part of what it prints
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "tfds:patches/1.0.0: 12 train, 3 val, 3 test images, 2 classes" in done.stdout
    assert "colour lookup 1.000" in done.stdout.splitlines()[-1]
    report = json.loads((tmp_path / "export" / "report.json").read_text())
    assert set(report["baselines"]) == {"dense float32", "colour lookup"}
    page = (tmp_path / "export" / "report.html").read_text()
    assert "land" in page
    assert "<img" in page


def test_several_sizes_are_evaluated_whole(uneven, tmp_path):
    options = ["--tile=16", "--ignore_class=255", "--levels=2", "--export_formats="]
    done = command(*SMALL, *options, f"--data_dir=tfds:{uneven}", f"--output_dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "Test mIoU of whole images, tiles blended: 0." in done.stdout


def test_a_run_that_is_killed_goes_on_with_the_same_images(patches, tmp_path, capsys):
    options = (*SMALL, "--seed=3", "--export_formats=", f"--data_dir=tfds:{patches}")
    code, captured = run_here(capsys, *options, f"--output_dir={tmp_path / 'whole'}")
    assert code == 0, captured.err
    killed = f"--output_dir={tmp_path / 'killed'}"
    done = command(*options, killed, cwd=ROOT, script=("-c", KILLED))
    assert done.returncode == -signal.SIGKILL, done.stderr
    code, captured = run_here(capsys, "--resume", killed)
    assert code == 0, captured.err
    assert "Going on in epoch 1, behind 2 of its steps." in captured.out
    models = [keras.models.load_model(tmp_path / name / "model.keras") for name in ("whole", "killed")]
    for one, other in zip(*(map(read, model.weights) for model in models), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)


def test_a_data_set_that_is_not_there_is_told_with_the_command_that_prepares_it(root, capsys):
    code, captured = run_here(capsys, "--data_dir=tfds:oxford_iiit_pet", f"--output_dir={root / 'out'}")
    assert (code, captured.out) == (2, "")
    assert captured.err == (
        f"--data_dir=tfds:NAME must be a data set that is prepared in {root}; run `tfds build oxford_iiit_pet`, or set "
        "TFDS_DATA_DIR to where it is. Received: --data_dir=tfds:oxford_iiit_pet.\n"
    )
    for name, told in {
        "oxford_iit_pet": "in the folder of its code, .*Did you mean 'oxford_iiit_pet'",
        "oxford_iiit_pet:9.9.9": "run `tfds build oxford_iiit_pet:9.9.9`, or",
        "../other": r"Received: --data_dir=tfds:\.\./other",
        "": "Received: --data_dir=tfds:.",
    }.items():
        with pytest.raises(flags.FlagError, match=told):
            open_tfds(name)


def test_without_the_package_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(flags.FlagError, match=r"run `pip install 'segopt-callbacks\[tfds\]'`. Received: .*without"):
        train.open_data(flags.parse(["train.py", "--data_dir=tfds:patches"]))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            {"splits": ["train", "val", "test"]},
            "splits with examples; choose from train, validation, test.*Received: val",
        ),
        ({"splits": ["train[:200%]", "test", "test"]}, r"Received: train\[:200%\]"),
        ({"splits": ["train[", "test", "test"]}, r"Received: train\["),
        ({"splits": ["train[:0]", "test", "test"]}, r"Received: train\[:0\]"),
        ({"keys": ["image", "masks"]}, "the mask must be .*; choose from segmentation_mask. Received: masks"),
        ({"keys": ["name", "segmentation_mask"]}, "the image must be .*; choose from image. Received: name: Text"),
    ],
    ids=lambda value: None if isinstance(value, str) else ",".join(*value.values()),
)
def test_splits_and_keys_that_are_none(arguments, told, patches):
    with pytest.raises(flags.FlagError, match=told):
        open_tfds(patches, **arguments)


def test_masks_that_are_none(root, files, tmp_path):
    rows = {split: [{"image": row["image"]} for row in files[split]] for split in files}
    build(root, "no_mask", rows, image=kind())
    with pytest.raises(
        flags.FlagError, match="the mask must be .*build a data set that has one. Received: .*image: Image"
    ):
        open_tfds("no_mask")
    deep = [{"image": row["image"], "depth": np.ones((*SIZE, 1), np.float32)} for row in files["test"]]
    build(root, "depth", {"train": deep}, image=kind(), depth=kind(1, np.float32))
    with pytest.raises(flags.FlagError, match=r"whole numbers, 1 channel.*depth: Image \(None, None, 1\) of float32"):
        open_tfds("depth", keys=["image", "depth"])


def test_masks_that_hold_something_else(root, files, tmp_path):
    rows = files["validation"]
    palette, small = tmp_path / "palette.png", tmp_path / "small.png"
    Image.fromarray(np.eye(64, dtype="uint8")).convert("P").save(palette)
    Image.fromarray(np.eye(32, dtype="uint8")).save(small)
    wrong = [{**rows[0], "segmentation_mask": str(palette)}, {**rows[1], "segmentation_mask": str(small)}]
    build(root, "wrong", {"train": rows, "test": wrong}, image=kind(), segmentation_mask=kind(channels=1))
    with pytest.raises(DataFolderError) as error:
        open_tfds("wrong", splits=["train", "test", "train"])
    told = sorted(fault.partition(" ")[2].partition(";")[0] for fault in error.value.faults)
    assert told == [
        "must have one size",
        "the mask must be a grey PNG of class ids",
        "the mask must be as large as its image. Received: image 64x64 (height x width), mask 32x32 (height x width).",
    ]
    build(root, "more", {"train": rows}, image=kind(), segmentation_mask=kind(labels=["a", "b"]))
    with pytest.raises(DataFolderError, match="must be 0 to 1; --ignore_class leaves another out. Received: 2"):
        open_tfds("more", splits=["train"] * 3)
    assert open_tfds("more", splits=["train"] * 3, ignore_class="2").classes == ("a", "b")
    blank = np.zeros((*SIZE, 1), np.uint8)
    build(root, "one", {"train": [{**rows[0], "segmentation_mask": blank}]}, image=kind(), segmentation_mask=kind(1))
    with pytest.raises(DataFolderError, match="must hold 2 to 255 classes; choose another mask. Received: 1"):
        open_tfds("one", splits=["train"] * 3)


def test_files_that_are_damaged(root, files):
    build(root, "damaged", files, image=kind(), segmentation_mask=kind(labels=NAMES))
    (path,) = (root / "damaged" / "1.0.0").glob("*test.tfrecord*")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataFolderError, match="test/2: is damaged; build the data set again"):
        open_tfds("damaged")


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("--tfds_keys=image", "--tfds_keys must be two keys"),
        ("--tfds_splits=train,test", "--tfds_splits must be three splits"),
        ("--tfds_splits=a,b,c", "--tfds_splits needs a data set of TFDS; add --data_dir=tfds:NAME"),
    ],
)
def test_flags_of_tfds(argument, told, capsys):
    with pytest.raises(SystemExit):
        flags.parse(["train.py", argument])
    assert told in capsys.readouterr().err
