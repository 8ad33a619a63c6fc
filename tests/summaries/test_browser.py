"""TensorBoard's own page on what a real fit wrote, in a real browser."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from PIL import Image

from segopt_callbacks import ClusterOnTrainEndCallback, CompressionSummaries, PolynomialDecay, PruningScheduleCallback
from tests.conformance import EPOCHS, STEPS, Segmenter, compiled, fit, kernels
from tests.summaries import tensorboard_page

# Share of dark pixels of a picture on the page, as the browser decodes it.
DARK = """
const picture = arguments[0], canvas = document.createElement('canvas');
canvas.width = picture.naturalWidth; canvas.height = picture.naturalHeight;
const context = canvas.getContext('2d');
context.drawImage(picture, 0, 0);
const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
let dark = 0;
for (let i = 0; i < pixels.length; i += 4) dark += pixels[i] < 128;
return 4 * dark / pixels.length;
"""


@pytest.fixture(scope="module")
def installed():
    """Skips without a browser; fails without one in CI."""
    if tensorboard_page.browser_program() is None:
        reason = "no chromium with its chromedriver; Debian: apt-get install chromium chromium-driver"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A log directory, and the model whose fit wrote it."""
    log_dir = tmp_path_factory.mktemp("logs")
    model = compiled(Segmenter())
    ramp = PolynomialDecay(0.2, 0.75, 0, EPOCHS * STEPS - 1, frequency=1)
    fit(
        model,
        CompressionSummaries(log_dir, update_freq=1),
        PruningScheduleCallback(ramp),
        ClusterOnTrainEndCallback(8),
    )
    return log_dir, model


@pytest.fixture(scope="module")
def page(installed, fitted, tmp_path_factory):
    """The browser, and the page's address."""
    folder = tmp_path_factory.mktemp("page")
    with (
        tensorboard_page.served(fitted[0], folder / "tensorboard.txt") as address,
        tensorboard_page.opened(folder / "profile") as driver,
    ):
        yield driver, address


def cards(page, tags: str, selector: str):
    """Tag -> card, of the time series that `tags` takes."""
    driver, address = page
    tensorboard_page.show_time_series(driver, address, tags)
    tensorboard_page.wait_for(lambda: tensorboard_page.is_drawn(driver), f"cards of {tags}")
    found = tensorboard_page.elements(driver, selector)
    # A long tag is broken into lines.
    return {card.find_element("css selector", ".tag").text.replace("\n", ""): card for card in found}


def coloured_pixels(element) -> np.ndarray:
    """Row and column of each pixel of a run's colour; axes, grid and text are grey."""
    pixels = np.asarray(Image.open(io.BytesIO(element.screenshot_as_png)).convert("HSV"))
    return np.argwhere(pixels[..., 1] > 60)


def test_sparsity_is_drawn_as_a_rising_line(page):
    found = cards(page, "(^all_weights|^pruning)/sparsity", "scalar-card")
    assert len(found) > 1
    area = found["all_weights/sparsity"].find_element("css selector", ".series-view")

    tensorboard_page.wait_for(lambda: len(coloured_pixels(area)) > 100, "the line of all_weights/sparsity")
    rows, columns = coloured_pixels(area).T
    assert np.ptp(columns) > area.size["width"] / 2
    left, right = rows[columns < columns.min() + 10].mean(), rows[columns > columns.max() - 10].mean()
    assert right < left - 20  # the first row is the top


def test_what_was_never_written_has_no_card(page):
    driver, address = page
    tensorboard_page.show_time_series(driver, address, "^nothing-of-that-name")
    with pytest.raises(TimeoutError, match="a card"):
        tensorboard_page.wait_for(lambda: tensorboard_page.is_drawn(driver), "a card", seconds=4)


def test_masks_are_drawn_as_dark_as_they_keep_weights(page, fitted):
    driver, _ = page
    found = cards(page, "^pruning/mask/.*conv2d.*/kernel$", "image-card")
    assert found
    kept = {path.partition("/")[2]: np.mean(value != 0) for path, value in kernels(fitted[1]).items()}
    for tag, card in found.items():
        share = driver.execute_script(DARK, card.find_element("css selector", "img"))
        assert share == pytest.approx(kept[tag.removeprefix("pruning/mask/")], abs=0.01)
        assert 0 < share < 0.5
