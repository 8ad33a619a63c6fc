"""Images of every depth and number of bands: what is read is what Pillow and GDAL give, and what is not is refused."""

import importlib
import importlib.util

import numpy as np
import pytest
from PIL import Image

from segopt_callbacks.errors import FormatError
from segopt_callbacks.predict import PictureError, open_picture

HAS_RASTERIO = importlib.util.find_spec("rasterio") is not None
RANDOM = np.random.default_rng(4)
BYTES = RANDOM.integers(0, 256, (9, 12, 4)).astype("uint8")
DEEP = RANDOM.integers(0, 65536, (9, 12, 6)).astype("uint16")
geo = pytest.mark.skipif(not HAS_RASTERIO, reason="needs rasterio, the extra [geo]")


def read(path, count=None, bands=()):
    with open_picture(path, count=count, bands=bands) as picture:
        height, width = picture.size
        part = picture.read(slice(2, 5), slice(1, 7))
        every = picture.read(slice(0, height), slice(0, width))
        np.testing.assert_array_equal(part, every[2:5, 1:7])
        assert every.dtype == picture.dtype
        return every


def write_tiff(path, pixels, gcps=None, **profile):
    import rasterio

    height, width, count = pixels.shape
    profile = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 6e6)} | profile
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=count, dtype=pixels.dtype, **profile
    ) as made:
        if gcps:
            made.gcps = gcps[0], rasterio.CRS.from_epsg(gcps[1])
        made.write(np.moveaxis(pixels, -1, 0))
    return path


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1", "I;16", "CMYK"])
def test_what_a_file_without_a_map_holds_comes_as_red_green_and_blue(tmp_path, mode):
    image = Image.fromarray(DEEP[..., 0]) if mode == "I;16" else Image.fromarray(BYTES[..., :3]).convert(mode)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image.save(path)
    deep = np.repeat(DEEP[..., :1], 3, axis=-1)
    expected = deep if mode == "I;16" else np.asarray(Image.open(path).convert("RGB"))
    np.testing.assert_array_equal(read(path, 3), expected)


def test_an_image_with_transparency_gives_its_four_bands_where_four_are_wanted(tmp_path):
    Image.fromarray(BYTES).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png", 4), BYTES)
    np.testing.assert_array_equal(read(tmp_path / "a.png", 2, (3, 1)), BYTES[..., [2, 0]])


def test_an_image_is_read_whatever_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    Image.fromarray(BYTES[..., :3]).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png", 3).shape == (9, 12, 3)
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize(
    ("count", "bands", "message"),
    [
        (5, (), "must have 5 bands; use another image"),
        (2, (), "--bands=3,2,1"),
        (3, (1, 2, 9), "1 to 4"),
        (3, (1,), "3"),
    ],
)
def test_bands_that_do_not_fit_are_refused(tmp_path, count, bands, message):
    Image.fromarray(BYTES).save(tmp_path / "a.png")
    with pytest.raises(PictureError, match=message):
        read(tmp_path / "a.png", count, bands)


def test_damage_is_told(tmp_path):
    Image.fromarray(BYTES).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError, match="the file is damaged"):
        read(tmp_path / "a.png", 3)


@pytest.mark.parametrize(("name", "package"), [("a.tif", "rasterio"), ("a.png", "PIL.Image")])
def test_without_a_package_the_message_says_what_to_install(tmp_path, monkeypatch, name, package):
    (tmp_path / name).write_bytes(b"nothing yet")
    plain = importlib.import_module

    def without(wanted):
        if wanted == package:
            raise ModuleNotFoundError(wanted)
        return plain(wanted)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(PictureError, match=r"pip install (pillow|'segopt-callbacks\[geo\]')`. Received: a"):
        read(tmp_path / name)


@geo
def test_deep_images_of_many_bands(tmp_path):
    path = write_tiff(tmp_path / "a.tif", DEEP)
    np.testing.assert_array_equal(read(path), DEEP)
    np.testing.assert_array_equal(read(path, 3, (5, 3, 2)), DEEP[..., [4, 2, 1]])


@geo
def test_a_png_of_16_bits_and_colours_keeps_them(tmp_path):
    import rasterio

    place = {"transform": rasterio.Affine.scale(2)}  # rasterio warns of an image without one
    with rasterio.open(
        tmp_path / "a.png", "w", driver="PNG", height=9, width=12, count=3, dtype="uint16", **place
    ) as made:
        made.write(np.moveaxis(DEEP[..., :3], -1, 0))
    np.testing.assert_array_equal(read(tmp_path / "a.png", 3), DEEP[..., :3])


@geo
def test_pixels_without_a_value_are_zero_and_told(tmp_path):
    floats = RANDOM.random((9, 12, 2)).astype("float32") + 1
    floats[0, 0, 0], floats[1, 1] = np.nan, -9999
    with open_picture(write_tiff(tmp_path / "a.tif", floats, nodata=-9999), count=2) as picture:
        valid = picture.valid(slice(0, 2))
        pixels = picture.read(slice(0, 2), slice(0, 12))
    expected = np.ones((2, 12), bool)
    expected[0, 0] = expected[1, 1] = False
    np.testing.assert_array_equal(valid, expected)
    assert pixels[0, 0, 0] == 0
    assert (pixels[1, 1] == 0).all()
    np.testing.assert_array_equal(pixels[expected], floats[:2][expected])
