"""`segopt-predict`, in this process, on one small file of floats and one of integers."""

import os
import pathlib
import re
import warnings

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from segopt_callbacks import export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.predict import main
from tests.predict.test_pictures import geo, write_tiff

PALETTE = [[90, 90, 90], [30, 140, 60], [120, 180, 255]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An export of a model that answers each pixel with the channel that is largest: its own oracle is `argmax`."""
    place = tmp_path_factory.mktemp("predict")
    image = keras.Input((16, 24, 3), name="image", dtype="uint8")
    model = keras.Model(image, keras.layers.Conv2D(3, 1, name="logits")(keras.layers.Rescaling(1 / 255)(image)))
    model.layers[-1].set_weights([np.eye(3)[None, None], np.zeros(3)])
    metadata = {"classes": ["red", "green", "blue"], "palette": PALETTE}
    export_model(model, place / "exported", ["float32"], metadata=metadata, verbose=0)
    several = keras.Input((None, None, 2), name="bands")
    answers = {
        "mask": keras.layers.Conv2D(1, 1, name="mask")(several),
        "ids": keras.layers.Lambda(lambda x: keras.ops.cast(x[..., 0] > 0.5, "int32"), name="ids")(several),
    }
    model = keras.Model(several, answers)
    model.get_layer("mask").set_weights([np.array([1.0, -1.0])[None, None, :, None], np.zeros(1)])
    spec = tf.TensorSpec((1, None, None, 2))
    data = np.random.default_rng(3).random((1, 8, 8, 2), "float32")
    export_model(
        model,
        place / "open",
        ["float32"],
        representative_dataset=lambda: iter([[data]]),
        input_signature=spec,
        metadata={"bands": [1, 3], "scale": 0.00392157, "offset": [0.5, 0]},
        verbose=0,
    )
    return place


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (50, 61, 3)).astype("uint8")


def ids_of(path):
    return np.asarray(Image.open(path))


def predict(*arguments):
    return main([str(one) for one in arguments])


def test_masks_are_those_of_the_whole_image_in_the_colours_of_the_file(folder, pixels, tmp_path, capsys):
    (tmp_path / "in" / "north").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "in" / "large.png")
    Image.fromarray(pixels[:5, :7]).save(tmp_path / "in" / "north" / "small.png")
    (tmp_path / "in" / "notes.txt").touch()
    out = tmp_path / "in" / "masks"  # what lies in it is no image, the next time
    for again in (), ("--overwrite",):
        assert predict(folder / "exported" / "float32.tflite", tmp_path / "in", f"--out={out}", *again) == 0
    np.testing.assert_array_equal(ids_of(out / "large.png"), pixels.argmax(-1))
    np.testing.assert_array_equal(ids_of(out / "north" / "small.png"), pixels[:5, :7].argmax(-1))
    with Image.open(out / "large.png") as mask:
        assert mask.mode == "P"
        np.testing.assert_array_equal(mask.convert("RGB"), np.array(PALETTE, "uint8")[pixels.argmax(-1)])
    assert sorted(path.name for path in out.rglob("*")) == ["large.png", "north", "small.png"]
    told = capsys.readouterr().out
    assert "tiles of 16x24 (height x width), 3 bands of uint8, pixels as they stand in the images, 3 classes" in told
    share = (pixels.argmax(-1) == 0).sum() + (pixels[:5, :7].argmax(-1) == 0).sum()
    assert f"Fraction of pixels: red {share / (50 * 61 + 35):.3f}, green" in told
    assert re.search(r"^2 images, 0.0 megapixels in .* images/s, .* megapixels/s", told, re.MULTILINE)


def test_an_image_that_fails_does_not_stop_the_others(folder, pixels, tmp_path, capsys):
    for name in ("a", "b", "c"):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:999])
    paths = [tmp_path / f"{name}.png" for name in ("a", "b", "c")]
    assert predict(folder / "exported" / "float32.json", *paths, f"--out={tmp_path / 'out'}") == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]
    told = capsys.readouterr()
    assert "b.png: decoding it raised" in told.err
    assert told.err.splitlines()[-1].startswith("segopt-predict: 1 of 3 images have no mask: ")
    assert "2 images, " in told.out


def test_masks_that_are_there_are_left_alone_unless_told(folder, pixels, tmp_path, capsys):
    for name in ("a", "b"):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_text("mine")
    arguments = [folder / "exported" / "float32.tflite", tmp_path / "a.png", tmp_path / "b.png"]
    arguments.append(f"--out={tmp_path / 'out'}")
    assert predict(*arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert os.listdir(tmp_path / "out") == ["a.png"]
    assert predict(*arguments, "--skip_existing") == 0
    assert (tmp_path / "out" / "a.png").read_text() == "mine"
    np.testing.assert_array_equal(ids_of(tmp_path / "out" / "b.png"), pixels.argmax(-1))
    assert predict(*arguments, "--overwrite") == 0
    np.testing.assert_array_equal(ids_of(tmp_path / "out" / "a.png"), pixels.argmax(-1))


def test_a_mask_is_complete_or_not_there(folder, pixels, tmp_path, monkeypatch, capsys):
    Image.fromarray(pixels).save(tmp_path / "a.png")

    def full(self, path, **options):
        pathlib.Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Image.Image, "save", full)
    assert predict(folder / "exported" / "float32.tflite", tmp_path / "a.png", f"--out={tmp_path / 'out'}") == 1
    assert list((tmp_path / "out").iterdir()) == []
    assert "No space left on device" in capsys.readouterr().err


def test_a_file_of_open_size_several_outputs_and_one_channel(folder, tmp_path, pixels, capsys):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    arguments = [folder / "open" / "float32.tflite", tmp_path / "a.png", f"--out={tmp_path / 'out'}", "--overwrite"]
    arguments += ["--tile=32", "--bands=1,3", "--scale=0.00392157", "--offset=0.5,0"]
    assert predict(*arguments) == 2
    assert "`--output` must be one of " in capsys.readouterr().err
    assert predict(*arguments, "--output=mask", "--threshold=0.4") == 0
    difference = (pixels[..., 0].astype(int) - pixels[..., 2]) * 0.00392157 + 0.5
    np.testing.assert_array_equal(ids_of(tmp_path / "out" / "a.png"), difference > 0.4)
    assert "tiles of 32x32 (height x width), 2 bands of float32, pixels scaled" in capsys.readouterr().out
    without = [one for one in arguments if not str(one).startswith(("--bands", "--scale", "--offset"))]
    assert predict(*without, "--output=ids") == 0  # the file tells them
    np.testing.assert_array_equal(ids_of(tmp_path / "out" / "a.png"), pixels[..., 0] * 0.00392157 + 0.5 > 0.5)


def test_numbers_beyond_bytes_must_be_scaled_for_a_file_of_bytes(folder, pixels, tmp_path, capsys):
    deep = np.random.default_rng(1).integers(0, 65536, (20, 20)).astype("uint16")
    Image.fromarray(deep).save(tmp_path / "a.png")
    arguments = [folder / "exported" / "float32.tflite", tmp_path / "a.png", f"--out={tmp_path / 'out'}"]
    assert predict(*arguments) == 1
    assert "--scale=0.00389105" in capsys.readouterr().err
    assert predict(*arguments, "--scale=0.004,0.002,0.001") == 0
    np.testing.assert_array_equal(ids_of(tmp_path / "out" / "a.png"), np.zeros((20, 20)))
    assert predict(*arguments, "--scale=0.004,0.002,0.001", "--offset=0,300,0", "--overwrite") == 0
    np.testing.assert_array_equal(ids_of(tmp_path / "out" / "a.png"), np.round(deep * np.float32(0.004)) < 255)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.tflite", "a.png"), "nowhere.tflite: No such file"),
        (("{float}", "nowhere.png"), "An image must exist"),
        (("{float}", "empty"), "A folder must hold images"),
        (("{float}", "a.png", "a.jpg"), "names of their own"),
        (("a.png", "a.png"), "must be whole"),
        (("{float}", "a.png", "--tile=64"), "takes 16x24 pixels"),
        (("{float}", "a.png", "--tile=0"), "`--tile` must be at least 1"),
        (("{float}", "a.png", "--overlap=1"), "`--overlap` must be from 0 to 0.9"),
        (("{float}", "a.png", "--bands=0"), "`--bands` must be numbers from 1"),
        (("{float}", "a.png", "--scale=1,2"), "`--scale` must be one number, or 3"),
        (("{float}", "a.png", "--output=mask"), "`--output` must be one of logits"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_written(
    folder, pixels, tmp_path, arguments, message, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "a.jpg"):
        Image.fromarray(pixels).save(name)
    os.mkdir("empty")
    known = {"float": folder / "exported" / "float32.tflite"}
    assert predict(*(one.format(**known) for one in arguments), "--out=out") == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not os.path.exists("out")


@geo
def test_a_geotiff_keeps_its_place_on_the_map(folder, pixels, tmp_path):
    import rasterio

    deep = pixels.astype("uint16") * 16
    deep[:20, :10] = 7
    path = write_tiff(tmp_path / "a.TIF", deep[..., ::-1], nodata=7)
    arguments = [folder / "exported" / "float32.tflite", path, f"--out={tmp_path / 'out'}"]
    assert predict(*arguments, "--bands=3,2,1", "--scale=0.0625") == 0
    with rasterio.open(path) as image, rasterio.open(tmp_path / "out" / "a.tif") as mask:
        assert (mask.crs, mask.transform, mask.shape) == (image.crs, image.transform, image.shape)
        assert (mask.count, mask.dtypes, mask.nodata) == (1, ("uint8",), 255)
        assert [mask.colormap(1)[index][:3] for index in range(3)] == [tuple(colour) for colour in PALETTE]
        expected = pixels.argmax(-1)
        expected[:20, :10] = 255
        np.testing.assert_array_equal(mask.read(1), expected)


@geo
def test_a_tiff_that_is_placed_by_points_and_one_without_a_place(folder, pixels, tmp_path):
    import rasterio

    points = [rasterio.control.GroundControlPoint(row, 0, 10.0 + row, 50.0, id=str(row)) for row in (0, 10, 20)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)  # there is none when it is opened
        write_tiff(tmp_path / "points.tif", pixels, crs=None, transform=None, gcps=(points, 4326))
    Image.fromarray(pixels).save(tmp_path / "plain.tif")
    paths = [tmp_path / "points.tif", tmp_path / "plain.tif"]
    assert predict(folder / "exported" / "float32.tflite", *paths, f"--out={tmp_path / 'out'}") == 0
    with rasterio.open(tmp_path / "out" / "points.tif") as mask:
        assert [(one.row, one.x) for one in mask.gcps[0]] == [(0, 10), (10, 20), (20, 30)]
        assert mask.gcps[1].to_epsg() == 4326
    np.testing.assert_array_equal(ids_of(tmp_path / "out" / "plain.tif"), pixels.argmax(-1))
