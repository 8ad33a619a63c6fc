"""TensorBoard's pages and our own on what a real fit wrote, in a real browser."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from segopt_callbacks import (
    ClusterOnTrainEndCallback,
    CompressionSummaries,
    ExportQuantizedCallback,
    PolynomialDecay,
    PruningScheduleCallback,
)
from segopt_callbacks.summaries.writing import State, write_state
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
    """A log directory, the model whose fit wrote it, and the report of its export."""
    log_dir = tmp_path_factory.mktemp("logs")
    model = compiled(Segmenter())
    ramp = PolynomialDecay(0.2, 0.75, 0, EPOCHS * STEPS - 1, frequency=1)
    export = ExportQuantizedCallback(tmp_path_factory.mktemp("files"), "int8", latency=False, verbose=0)
    fit(
        model,
        CompressionSummaries(log_dir, update_freq=1),
        export,
        PruningScheduleCallback(ramp),
        ClusterOnTrainEndCallback(8),
    )
    return log_dir, model, export.report


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


# --- our own page ----------------------------------------------------------------------------------------------------

ROWS = "main .run [role=option]"
HOSTILE = "<img id=hostile src=x onerror=alert(1)>/kernel"
# Red, green, blue and opacity of a row's strip, in the middle of each of so many columns.
COLOURS = """
const canvas = arguments[0].querySelector("canvas"), columns = arguments[1];
const at = (column) => Math.floor(canvas.width * (column + 0.5) / columns);
return [...Array(columns).keys()].map((one) => [...canvas.getContext("2d").getImageData(at(one), 0, 1, 1).data]);
"""


@pytest.fixture
def board_page(page):
    """The browser inside the plugin's frame, at 1400 pixels and in light."""
    driver, address = page
    tensorboard_page.show_compression(driver, address)
    tensorboard_page.wait_for(lambda: text_of(driver, ".panel h2"), "a weight in detail")
    yield driver
    driver.switch_to.default_content()
    driver.set_window_size(1400, 1000)


def rows(driver):
    """Path -> row."""
    return {row.get_attribute("data-path"): row for row in driver.find_elements("css selector", ROWS)}


def text_of(driver, selector):
    """In one call: between two, the page may draw the element anew."""
    text = driver.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector)
    return " ".join(text.split())


def get(page, route, **arguments):
    return tensorboard_page.answer(page[1], route, **arguments)


def test_the_server_finds_the_plugin_and_answers_what_the_fit_was(page, fitted):
    _, model, report = fitted
    listed = get(page, "plugins_listing")["segopt"]
    assert (listed["enabled"], listed["tab_name"]) == (True, "Compression")
    told = get(page, "plugin/segopt/run", run="compression")
    assert told["steps"] == list(range(1, EPOCHS * STEPS + 1))
    assert told["is_finished"]
    values = {path.partition("/")[2]: value for path, value in kernels(model).items()}
    assert [one["path"] for one in told["weights"]] == list(values)
    for one in told["weights"]:
        value = values[one["path"]]
        assert one["sparsity"][-1] == pytest.approx(np.mean(value == 0))
        assert one["values"] == pytest.approx(np.unique(value), rel=1e-3)
        buckets = get(page, "plugin/segopt/weight", run="compression", path=one["path"])["buckets"]
        counts, edges = np.histogram(value, 30)
        np.testing.assert_allclose(buckets, np.stack([edges[:-1], edges[1:], counts], axis=1), atol=1e-6)
    stored = {row["weight"]: row for row in report["formats"]["int8"]["weights"]}
    file = told["results"]["formats"]["int8"]
    assert (file["bytes"], file["gzip_bytes"]) == tuple(
        report["formats"]["int8"][key] for key in ("bytes", "gzip_bytes")
    )
    assert {path: one["scale_range"] for path, one in file["weights"].items()} == {
        path: row["scale_range"] for path, row in stored.items()
    }
    assert set(stored) == set(values)


def test_results_are_a_row_of_hparams(fitted):
    log_dir, _, report = fitted
    events = EventAccumulator(str(log_dir / "results")).Reload()
    content = events.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
    settings = metadata.parse_session_start_info_plugin_data(content).hparams
    assert settings["PruningSchedule.schedule"].string_value == "PolynomialDecay"
    assert settings["PruningSchedule.schedule.final_sparsity"].number_value == 0.75
    assert settings["ClusterOnTrainEnd.number_of_clusters"].number_value == 8
    assert settings["ExportQuantized.formats"].string_value == "int8"
    assert not any("dir" in name for name in settings)
    figures = {tag: tf.make_ndarray(events.Tensors(tag)[-1].tensor_proto) for tag in events.Tags()["tensors"]}
    assert figures["export/int8/bytes"] == report["formats"]["int8"]["bytes"]
    assert figures["finished/sparsity"] == pytest.approx(0.75, abs=0.01)
    assert "epoch/loss" in figures


def test_each_weight_is_a_row_that_darkens_as_it_is_pruned(board_page):
    assert len(rows(board_page)) == 5
    for row in rows(board_page).values():
        assert row.find_element("css selector", ".value").text == "0.750"
        colours = np.array(board_page.execute_script(COLOURS, row, EPOCHS * STEPS))
        assert (colours[:, 3] == 255).all()
        brightness = colours[:, :3].sum(axis=1)
        assert brightness[0] - brightness[-1] > 100
        assert (np.diff(brightness) <= 0).all()
    curves = board_page.find_elements("css selector", ".curve path.actual, .curve path.target")
    assert len(curves) == 2
    for curve in curves:
        assert curve.size["width"] > 300
        assert curve.size["height"] > 30


def test_a_click_and_the_keyboard_choose_a_weight(board_page, page, fitted):
    from selenium.webdriver.common.keys import Keys

    stored = {row["weight"]: row for row in fitted[2]["formats"]["int8"]["weights"]}
    first, second, *_ = rows(board_page)

    def shown(path):
        tensorboard_page.wait_for(lambda: text_of(board_page, ".panel h2") == path, f"{path} in detail")
        assert rows(board_page)[path].get_attribute("aria-selected") == "true"
        assert len(board_page.find_elements("css selector", f"{ROWS}[aria-selected=true]")) == 1
        assert f"in int8 int8, {stored[path]['scales']} scales, " in text_of(board_page, ".panel dl")
        assert len(board_page.find_elements("css selector", ".panel path.shared")) == 8
        drawn = "return document.querySelector('.panel .mask img')?.naturalWidth"
        tensorboard_page.wait_for(lambda: board_page.execute_script(drawn), "the mask")

    rows(board_page)[second].click()
    shown(second)
    board_page.switch_to.active_element.send_keys(Keys.ARROW_UP)
    shown(first)
    assert board_page.switch_to.active_element.get_attribute("data-path") == first
    for column in (0, 1, 0):  # the pointer has left the mark somewhere
        key = Keys.ARROW_RIGHT if column else Keys.ARROW_LEFT * EPOCHS * STEPS
        board_page.switch_to.active_element.send_keys(key)
        sparsity = get(page, "plugin/segopt/run", run="compression")["weights"][0]["sparsity"][column]
        assert text_of(board_page, ".readout").startswith(f"Step {column + 1} · all weights 0.")
        assert f"{first.split('/', 1)[1]} {sparsity:.3f} (target" in text_of(board_page, ".readout")
    board_page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not board_page.find_element("css selector", ".panel").is_displayed()


def test_a_phone_shows_the_page_without_scrolling_sideways_and_dark_is_dark(page):
    driver, address = page
    driver.set_window_size(500, 900)  # no window is narrower; the frame is
    try:
        tensorboard_page.show_compression(driver, address, theme="dark", frame_width=400)
        width = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        scrolled, visible = driver.execute_script(width)
        assert scrolled <= visible <= 400
        assert all(row.size["width"] > 300 for row in rows(driver).values())
        assert driver.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
        list(rows(driver).values())[-1].click()
        tensorboard_page.wait_for(lambda: text_of(driver, ".panel h2"), "a weight in detail")
        above = """
            const [row, panel] = arguments[0].map((one) => document.querySelector(one).getBoundingClientRect());
            return row.top >= 0 && row.bottom <= panel.top;
        """
        seen = [f"{ROWS}[aria-selected=true]", ".panel"]
        tensorboard_page.wait_for(lambda: driver.execute_script(above, seen), "the row above its details")
    finally:
        driver.switch_to.default_content()
        driver.set_window_size(1400, 1000)


def test_a_live_run_is_followed_beside_another_and_names_are_no_markup(board_page, fitted):
    def headline(step):
        return f"step {step} · in training" in text_of(board_page, "main")

    state = State({HOSTILE: np.eye(3, dtype="float32"), "other/kernel": np.eye(3, dtype="float32")})
    with tf.summary.create_file_writer(str(fitted[0] / "live" / "compression")).as_default() as writer:
        write_state(state, step=20)
        writer.flush()
        tensorboard_page.wait_for(lambda: "live" in text_of(board_page, ".picker"), "a choice of runs")
        board_page.find_elements("css selector", ".picker label")[1].click()
        tensorboard_page.wait_for(lambda: headline(20), "the new run")
        paths = "return [...document.querySelectorAll(arguments[0])].map((row) => row.dataset.path)"
        assert HOSTILE in board_page.execute_script(paths, ROWS)
        assert "<img id=hostile" in text_of(board_page, "main")
        write_state(state, step=40)
        writer.flush()
        tensorboard_page.wait_for(lambda: headline(40), "its next step")
    assert len(board_page.find_elements("css selector", "main .run")) == 2
    assert board_page.find_elements("css selector", "#hostile") == []
    broken = [one for one in board_page.get_log("browser") if one["level"] == "SEVERE" and "segopt" in one["message"]]
    assert broken == []
