"""`report.html` and the comparison page, as parsers and a browser that we did not write see them."""

from __future__ import annotations

import base64
import copy
import hashlib
import io
import itertools
import os
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from segopt_callbacks import pages
from segopt_callbacks.pages import style
from segopt_callbacks.pages.gallery import kept_pictures
from segopt_callbacks.pages.labels import Box, free_places
from segopt_callbacks.pages.page import page
from segopt_callbacks.pages.palette import class_colours
from segopt_callbacks.pages.scales import scale
from tests.pages.report_samples import renamed, report, runs_below

HOSTILE = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>\u202e\ud800"
PNG = "data:image/png;base64,iVBORw0KGgo="


class Seen(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.texts.append(data)


def svgs(content):
    return [ElementTree.fromstring(one) for one in re.findall(r"<svg[^>]*viewBox=\"0 0 \d{3}.*?</svg>", content)]


def cells_of(content, name):
    """The cells of a table's row."""
    row = next(one for one in re.findall(r"<tr.*?</tr>", content) if f'class="name">{name}</span>' in one)
    return re.findall(r"<td[^>]*>(.*?)</td>", row)


def row_of(content, name):
    """The same, without what stands below a figure."""
    return [re.sub(r"<small>.*?</small>|</?b>", "", one) for one in cells_of(content, name)]


def test_every_row_and_figure_of_the_report_is_there():
    given = report()
    content = page(given)
    for name, entry in given["formats"].items():
        cells = row_of(content, name)
        if entry["status"] == "failed":
            assert cells == ["failed: the converter refuses the model"]
        else:
            assert cells[:2] == [f"{entry['metrics']['mIoU']:.4f}", f"{entry['bytes']:,}"]
            assert f"{entry['gzip_bytes']:,}" in cells
            digits = f"{entry['latency_ms']['one_thread']['median']:#.3g}".rstrip(".")
            assert digits in cells
    assert row_of(content, "dense float32")[:2] == ["0.7452", "-"]
    assert "0.6617" in content  # the score of a class, in the table of all metrics
    assert "Failed: 1 of 13 formats" in content


def first_sentence(given):
    return re.search('<p class="headline">(.*?)</p>', page(given))[1]


def test_the_first_sentence_names_the_best_file():
    given = report()
    assert first_sentence(given) == (
        "openvino_int8: 0.64 MB (0.16 MB after gzip), 3.1 times smaller than the dense float32 weights, 8.0 times as "
        "fast as float32; mIoU 0.760 (dense float32 0.745)"
    )
    given["formats"]["int8"]["latency_ms"]["one_thread"]["median"] = 2.3  # as fast, within a tenth, and smaller
    assert first_sentence(given).startswith("int8.tflite: 0.52 MB")
    given["formats"]["int8"]["metrics"]["mIoU"] = 0.73  # 2% below
    assert first_sentence(given).startswith("openvino_int8: ")
    for entry in given["formats"].values():
        entry.pop("latency_ms", None)
    assert first_sentence(given) == (  # untimed, the smallest
        "int4.tflite: 0.31 MB (0.10 MB after gzip), 6.3 times smaller than the dense float32 weights; mIoU 0.752 "
        "(dense float32 0.745)"
    )


def test_where_all_files_lose_the_first_sentence_names_the_one_that_loses_least():
    given = report()
    for entry in given["formats"].values():
        if entry["status"] == "ok":
            entry["metrics"] = {"loss": 2.0}
    given["formats"]["tvm"]["metrics"] = {"loss": 1.0}
    given["model"]["metrics"], given["baselines"] = {"loss": 0.5}, {}
    assert first_sentence(given).startswith("tvm.so: ")
    assert first_sentence(given).endswith("; loss 1.000 (model 0.500)")


def test_where_all_files_lose_as_much_the_first_sentence_names_the_smallest():
    given = report()
    written = {name: entry for name, entry in given["formats"].items() if entry["status"] == "ok"}
    for entry in written.values():
        entry["metrics"] = {"loss": 2.0}
        entry.pop("latency_ms", None)
    given["model"]["metrics"], given["baselines"] = {"loss": 0.5}, {}
    smallest = min(written, key=lambda name: written[name]["bytes"])
    assert smallest != next(iter(written))
    assert first_sentence(given).startswith(f"{smallest}.")


def test_a_file_may_be_larger_than_its_weights_and_without_files_there_is_no_sentence():
    given = report()
    given["model"]["parameters"] = 2_000
    assert "times as large as the dense float32 weights" in first_sentence(given)
    given["formats"] = {"tensorrt": given["formats"]["tensorrt"]}
    assert "headline" not in page(given).partition("<body>")[2]


def test_the_best_figures_of_files_are_marked():
    given = report()
    given["model"]["metrics"]["mIoU"] = 0.99  # no file
    table = re.search("<table>.*?</table>", page(given), re.DOTALL)[0]
    head, *rows = [re.findall(r"<t[hd].*?</t[hd]>", one) for one in re.findall(r"<tr.*?</tr>", table)]
    marked = {
        re.sub("<.*?>", "", row[0]): {number for number, one in enumerate(row) if 'class="best"' in one} for row in rows
    }
    columns = {re.sub("<.*?>", "", one): number for number, one in enumerate(head)}
    assert {name: cells for name, cells in marked.items() if cells} == {
        "dynamic_int8": {columns["mIoU"]},
        "int4": {columns[one] for one in ("bytes", "gzip bytes", "entropy bound")},
        "openvino_int8": {columns["ms, 1 thread"], columns["ms, all threads"]},
    }  # where all are equal there is no best


def test_figures_stand_beside_the_dense_model():
    given = report()
    below = [re.findall("<small>(.*?)</small>", one) for one in cells_of(page(given), "int8")]
    assert below[:3] == [["+0.0160"], ["0.266 of dense"], ["0.0738 of dense"]]
    given["baselines"] = {}
    assert re.findall("<small>(.*?)</small>", cells_of(page(given), "int8")[0]) == ["-0.0005"]
    del given["model"]["parameters"]
    assert "of dense" not in page(given)
    assert "times smaller" not in first_sentence(given)


def test_a_page_tells_when_by_what_and_how_it_was_made():
    content = page(report())
    told = "2026-01-31 12:00 UTC, segopt-callbacks 1.2.3, TensorFlow 2.21.0, Keras 3.15.1, Z80 with 2 CPUs"
    assert f">{told}</p>" in content
    assert row_of(content, "PruningScheduleCallback") == ["schedule=0.8, distribution=&#x27;erk&#x27;"]
    assert row_of(content, "EarlyStopping") == ["-"]
    assert row_of(content, "optimizer") == ["Adam"]
    assert row_of(content, "steps") == ["1,234"]
    given = report()
    del given["made"]
    assert "How it was made" not in page(given)


def test_files_of_an_earlier_export_are_named():
    assert "earlier export" not in page(report())
    content = page({**report(), "earlier_files": ["tvm.so", "old.onnx"]})
    assert "<li>of an earlier export, and still in the folder: tvm.so, old.onnx</li>" in content


def test_every_output_has_its_figures_where_there_are_several():
    given = report()
    told = [
        [cell for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)] for row in re.findall(r"<tr.*?</tr>", page(given))
    ]
    figures = ["2.50e-01", "1.25e-02", "1.00e-03"]
    assert ["mask", *figures, "0.9876"] in told
    assert ["boxes", *figures, "-"] in told
    assert ["boxes, channel 0 (up to 6.4e+02)", "-", "5.00e-01", "-", "-"] in told
    del given["formats"]["int8"]["outputs"][1]
    assert "<h2>Outputs</h2>" in page(report())
    assert "<h2>Outputs</h2>" not in page(given)  # the table of results has the same


def test_what_is_not_in_the_report_is_not_on_the_page():
    given = report(latency=False)
    for entry in given["formats"].values():
        entry.pop("ledger", None)
        entry.pop("weights", None)
    del given["model"]["weights"]
    content = page(given)
    for word in ("1 thread", "milliseconds", "What the bytes are", "Weights", "disagree"):
        assert word in page(report()) or word == "disagree"
        assert word not in content


def test_a_report_of_nothing_but_failures_has_a_page():
    given = report()
    given["formats"] = {"tensorrt": given["formats"]["tensorrt"]}
    content = page(given)
    assert "Failed: 1 of 1 formats" in content
    assert svgs(content) == []


def test_what_a_format_tells_of_itself_is_there():
    given = report()
    assert "tell of themselves" not in page(given)
    given["formats"]["int8"]["notes"] = {"encoding": "sparse", "dense_bytes": 12345, "opset": [17, "<b>"], "ok": True}
    told = "encoding: sparse; dense_bytes: 12,345; opset: [17, &quot;&lt;b&gt;&quot;]; ok: true"
    assert f"<b>int8</b>: {told}</li>" in page(given)


def test_data_of_noise_is_a_warning():
    given = report()
    assert "say little" not in page(given)
    given["verification"]["data"] = "noise"
    assert "figures of agreement say little" in page(given)


@pytest.mark.parametrize("make", [lambda given: page(given, {f"file/{HOSTILE}": PNG, "file/int8": PNG})], ids=["page"])
def test_no_name_becomes_markup(make):
    given = renamed(report(), HOSTILE)
    for part in ("formats", "baselines"):
        given[part] = {name + HOSTILE: entry for name, entry in given[part].items()} | given[part]
    given["formats"]["int8"]["worst_example"] = {"example": 3, "equal_argmax": 0.5, "classes": 3}
    given["metadata"] = {"classes": [HOSTILE] * 3}
    given["warnings"] = [HOSTILE]
    given["formats"]["int8"]["metrics"][HOSTILE] = 0.5
    content = make(given)
    content.encode("utf-8")
    seen, plain = Seen(content), Seen(page(report()))
    assert set(seen.tags) <= {*plain.tags, "img"}
    assert seen.tags.count("script") == 1
    assert {name for name, _ in seen.attributes} <= {
        *(name for name, _ in plain.attributes),
        "src",
        "alt",
        "data-picture",
    }
    assert [value for name, value in seen.attributes if name == "src"] == [PNG]
    assert "<script>alert('x')</script>" in "".join(seen.texts)  # shown as what it is


def test_the_page_loads_nothing_and_runs_one_script_of_ours():
    content = page(report())
    seen = Seen(content)
    assert not {"link", "iframe", "object", "base"} & set(seen.tags)
    assert not [value for name, value in seen.attributes if name in ("src", "href", "srcset", "xlink:href", "action")]
    assert not re.search(r"url\(|@import", style.STYLE)
    policy = next(value for name, value in seen.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'")
    (script,) = re.findall(r"<script>(.*?)</script>", content, re.DOTALL)
    (allowed,) = re.findall(r"script-src (\S+)$", policy)
    assert allowed == f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
    assert [name for name, _ in seen.attributes if name.startswith("on")] == []


def test_an_address_that_is_no_picture_is_left_out():
    given = report()
    given["formats"]["int8"]["worst_example"] = {"example": 3, "equal_argmax": 0.5, "classes": 3}
    for address in ("https://example.org/x.png", 'data:image/png;base64,AA"onload="x', "data:text/html,x"):
        assert "<img" not in page(given, {"file/int8": address})
    assert "<img" in page(given, {"file/int8": PNG})


def test_pictures_survive_being_read_back(tmp_path):
    given = report()
    given["formats"]["int8"]["worst_example"] = {"example": 3, "equal_argmax": 0.5, "classes": 3}
    keys = {"input/3": PNG, "truth/3": PNG, "model/3": PNG + "=", "file/int8": PNG, "difference/int8": PNG}
    (tmp_path / "report.html").write_text(page(given, keys))
    assert kept_pictures(tmp_path / "report.html") == keys
    assert kept_pictures(tmp_path / "absent.html") == {}


# --- plots -----------------------------------------------------------------------------------------------------------


def marks(svg):
    """Title -> x of the filled mark and of the hollow one, and y."""
    found = {}
    for group in svg.iter("g"):
        if group.get("class") == "mark":
            spots = {one.get("class"): (float(one.get("cx")), float(one.get("cy"))) for one in group.iter("circle")}
            found[group.find("title").text.partition(":")[0]] = spots
    return found


def test_marks_stand_where_their_logarithms_are():
    given = report()
    drawn = marks(svgs(page(given))[0])
    names = [name for name, entry in given["formats"].items() if entry["status"] == "ok"]
    assert set(drawn) == set(names)
    for key, css in (("bytes", "group0"), ("gzip_bytes", "group0 hollow")):
        sizes = np.log10([given["formats"][name][key] for name in names])
        x = np.array([drawn[name][css][0] for name in names])
        slope, offset = np.polyfit(sizes, x, 1)
        assert slope > 10
        np.testing.assert_allclose(x, slope * sizes + offset, atol=0.1)
    scores = np.array([given["formats"][name]["metrics"]["mIoU"] for name in names])
    y = np.array([drawn[name]["group0"][1] for name in names])
    slope, offset = np.polyfit(scores, y, 1)
    assert slope < 0  # up is better
    np.testing.assert_allclose(y, slope * scores + offset, atol=0.1)


def test_ticks_stand_at_their_values():
    svg = svgs(page(report()))[0]
    texts = [(float(one.get("x")), one.text) for one in svg.iter("text") if one.text.endswith(("kB", "MB"))]
    drawn = marks(svg)
    sizes = np.log10([float(text.split()[0]) * {"kB": 1e3, "MB": 1e6}[text.split()[1]] for _, text in texts])
    ends = {name: drawn[name]["group0"][0] for name in ("int4", "tvm")}
    per_decade = (ends["tvm"] - ends["int4"]) / np.log10(2_641_328 / 313_576)
    expected = ends["int4"] + (sizes - np.log10(313_576)) * per_decade
    assert len(texts) >= 3
    np.testing.assert_allclose([x for x, _ in texts[:-1]], expected[:-1], atol=1)


def test_axes_say_what_they_show_and_in_what_unit():
    texts = [{one.text for one in svg.iter("text")} for svg in svgs(page(report()))]
    assert [texts[0] >= {"mIoU", "bytes of the file"}, texts[2] >= {"mIoU", "milliseconds of one inference"}] == [
        True
    ] * 2


def test_a_narrow_range_has_a_linear_axis():
    assert scale([10, 50], 0, 1, may_be_log=True).is_log is False
    assert scale([10, 500], 0, 1, may_be_log=True).is_log is True
    assert scale([0, 500], 0, 1, may_be_log=True).is_log is False


numbers = st.floats(-1e100, 1e100, allow_nan=False)


@settings(max_examples=200, deadline=None)
@given(values=st.lists(numbers, min_size=1, max_size=5), most=st.integers(2, 9), may_be_log=st.booleans())
@example(values=[3.039058501174201e48], most=9, may_be_log=False)
def test_every_value_has_room_and_every_tick_too(values, most, may_be_log):
    axis = scale(values, 10, 90, may_be_log=may_be_log)
    assert all(10 <= axis(value) <= 90 for value in values)
    ticks = axis.ticks(most)
    assert len(ticks) <= most + 1
    assert all(9.99 <= axis(tick) <= 90.01 for tick in ticks)
    assert ticks == sorted(ticks)


places = st.tuples(st.integers(60, 480), st.integers(30, 290), st.sampled_from(["int8", "weight_only_int8", "模型"]))


@settings(max_examples=100, deadline=None)
@given(anchors=st.lists(places, min_size=1, max_size=25))
def test_labels_overlap_neither_each_other_nor_marks(anchors):
    frame = Box(50, 20, 500, 300)
    own = [Box(x - 6, y - 6, x + 6, y + 6) for x, y, _ in anchors]
    found = [box for box in free_places(anchors, frame, list(own), []) if box is not None]
    assert found
    assert all(frame.holds(box) for box in found)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(found, 2))
    assert not any(box.overlaps(mark) for box in found for mark in own)


def test_a_label_without_room_becomes_a_number_that_is_explained():
    given = report()
    for number in range(40):
        given["formats"][f"quite_a_long_name_{number}"] = copy.deepcopy(given["formats"]["int8"])
    content = page(given)
    keys = re.search(r"gzip -9\. (1: quite_a_long_name[^<]*)\.</figcaption>", content)[1]
    texts = [one.text for one in svgs(content)[0].iter("text")]
    assert texts.count("1") == 1
    assert {key.split(":")[0] for key in keys.split("; ")} & set(texts)


# --- strips ----------------------------------------------------------------------------------------------------------


def test_cells_are_as_wide_as_weights_are_large_and_as_dark_as_they_have_zeros():
    given = report()
    cells = re.findall(
        r'<span class="cell (\w+)" style="flex-grow:(\d+)" title="(.*?)"><i style="opacity:([\d.]+)">', page(given)
    )
    assert len(cells) == 13 * len(given["model"]["weights"])
    kinds = {"float32": "f32", "float16": "f16", "int8": "i8", "uint8": "i8", "int4": "i4"}
    rows = [row for entry in [given["model"], *given["formats"].values()] for row in entry.get("weights", [])]
    for (kind, grow, title, opacity), row in zip(cells, rows, strict=True):
        assert kind == kinds[row["dtype"]]
        assert int(grow) == round(np.sqrt(row["elements"]))
        assert float(opacity) == pytest.approx(row["zeros"] / row["elements"], abs=6e-4)
        assert title.startswith(f"{row['weight']}: 3x3x")


def test_strips_of_all_formats_have_one_order():
    given = report()
    given["formats"]["int8"]["weights"].reverse()
    titles = re.findall(r'title="(net/block_\d+)', page(given))
    by_row = [titles[start : start + 12] for start in range(0, len(titles), 12)]
    assert len(by_row) == 13
    assert all(names == by_row[0] for names in by_row)


# --- colours ---------------------------------------------------------------------------------------------------------


def luminance(colour):
    """WCAG 2.2."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    lower, higher = sorted([luminance(one), luminance(other)])
    return (higher + 0.05) / (lower + 0.05)


@pytest.mark.parametrize("colours", [style.LIGHT, style.DARK], ids=["light", "dark"])
def test_text_and_marks_can_be_read(colours):
    """WCAG AA: 4.5 for text, 3 for graphics."""
    for text, ground in [("ink", "paper"), ("ink", "panel"), ("muted", "paper"), ("bad", "paper"), ("group0", "paper")]:
        assert contrast(colours[text], colours[ground]) >= 4.5, text
    for text, ground in [("bad", "bad-panel"), ("ink", "bad-panel"), ("warn", "warn-panel"), ("ink", "warn-panel")]:
        assert contrast(colours[text], colours[ground]) >= 4.5, text
    for number in range(8):
        assert contrast(colours[f"group{number}"], colours["paper"]) >= 3, number


def test_both_themes_have_the_same_colours():
    assert set(style.LIGHT) == set(style.DARK)
    used = set(re.findall(r"var\(--([\w-]+)\)", style.STYLE))
    assert used <= set(style.LIGHT)


def test_classes_without_a_palette_have_colours_of_their_own():
    assert len(set(class_colours(24))) == 24
    assert class_colours(3, ((1, 2, 3),))[0] == (1, 2, 3)


# --- in a browser ----------------------------------------------------------------------------------------------------

# Boxes of all texts in each plot that is shown, of all marks, and what the page itself says.
MEASURE = """
const box = one => {
  const r = one.getBoundingClientRect();
  return [r.left, r.top, r.right, r.bottom, one.textContent];
};
const plots = [...document.querySelectorAll('figure svg')].filter(one => one.getBoundingClientRect().width > 0);
return {
  plots: plots.map(one => [...one.querySelectorAll('text')].map(box)),
  frames: plots.map(box),
  width: document.documentElement.scrollWidth,
  ground: getComputedStyle(document.body).backgroundColor,
  loaded: performance.getEntriesByType('resource').map(one => one.name),
  tables: [...document.querySelectorAll('.scroll')].map(one => [one.scrollWidth, one.clientWidth]),
};
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Skips without a browser; fails without one in CI."""
    from tests.summaries import tensorboard_page

    if tensorboard_page.browser_program() is None:
        reason = "no chromium with its chromedriver; Debian: apt-get install chromium chromium-driver"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    with tensorboard_page.opened(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def shown(browser, path, width, scheme):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(path.as_uri())
    return browser.execute_script(MEASURE)


def overlap(one, other):
    return min(one[2], other[2]) - max(one[0], other[0]) > 0.5 and min(one[3], other[3]) - max(one[1], other[1]) > 3


@pytest.mark.parametrize("width", [1280, 700, 400])
@pytest.mark.parametrize("kind", ["report", "comparison"])
def test_nothing_overlaps_and_nothing_sticks_out(browser, tmp_path, width, kind):
    path = tmp_path / "page.html"
    if kind == "report":
        path.write_text(page(report()))
    else:
        pages.main([str(runs_below(tmp_path / "runs")), "--output", str(path)])
    seen = shown(browser, path, width, "light")
    assert seen["width"] <= width
    assert len(seen["plots"]) == 2
    for texts, frame in zip(seen["plots"], seen["frames"], strict=True):
        assert len(texts) > 15
        assert not [(a[4], b[4]) for a, b in itertools.combinations(texts, 2) if overlap(a, b)]
        assert all(frame[0] - 1 <= box[0] and box[2] <= frame[2] + 1 for box in texts)
    assert seen["loaded"] == []


def test_long_and_hostile_names_do_not_widen_the_page(browser, tmp_path):
    given = renamed(report(), "x" * 3000)
    given["formats"] = {f"{name}{'y' * 3000}": entry for name, entry in given["formats"].items()}
    path = tmp_path / "page.html"
    path.write_text(page(given))
    for width in (1280, 400):
        assert shown(browser, path, width, "light")["width"] <= width


def test_it_is_dark_where_the_reader_wants_it(browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(page(report()))
    grounds = [shown(browser, path, 1280, scheme)["ground"] for scheme in ("light", "dark")]
    assert grounds == ["rgb(255, 255, 255)", "rgb(20, 23, 27)"]


def test_a_picture_is_drawn_by_the_browser(browser, tmp_path):
    stream = io.BytesIO()
    Image.new("RGB", (30, 20), (208, 0, 60)).save(stream, "png")
    address = f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
    given = report()
    given["formats"]["int8"]["worst_example"] = {"example": 3, "equal_argmax": 0.5, "classes": 3}
    path = tmp_path / "page.html"
    path.write_text(page(given, {"file/int8": address}))
    shown(browser, path, 1280, "light")
    sizes = browser.execute_script("return [...document.images].map(one => [one.naturalWidth, one.naturalHeight])")
    assert sizes == [[30, 20]]


COLUMN = """
const table = document.querySelector('table'), number = arguments[0];
return [
  table.tHead.rows[0].cells[number].getAttribute('aria-sort'),
  [...table.tBodies[0].rows].map(row => row.cells[0].textContent),
  document.activeElement.textContent,
];
"""


def test_tables_are_sorted_by_mouse_and_by_keyboard(browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(page(report()))
    shown(browser, path, 1280, "light")
    _, before, _ = browser.execute_script(COLUMN, 2)
    last = ["dense float32", "model", "tensorrt"]  # have no bytes
    by_bytes = sorted((name for name in before if name not in last), key=lambda name: sizes()[name])
    button = browser.find_elements("css selector", "thead button")[2]
    for press, state, expected in (
        (lambda: button.click(), "ascending", by_bytes + last),
        (lambda: button.send_keys("\ue007"), "descending", by_bytes[::-1] + last),
        (lambda: button.send_keys(" "), None, before),
    ):
        press()
        told, names, focus = browser.execute_script(COLUMN, 2)
        assert (told, names, focus) == (state, expected, "bytes")
    browser.find_elements("css selector", "thead button")[0].click()
    assert browser.execute_script(COLUMN, 0)[1] == sorted(before, key=str.lower)


def sizes():
    return {name: entry["bytes"] for name, entry in report()["formats"].items() if "bytes" in entry}


def test_the_bars_of_sensitivity_are_as_long_as_the_losses():
    given = report()
    content = page(given)
    cells = [cells_of(content, f"net/<wbr>sensitive_{number}/<wbr>kernel") for number in range(3)]
    widths = [[float(one) for one in re.findall(r"width:([\d.]+)%", "".join(row))] for row in cells]
    assert widths == [[100, 0], [0, 50], [0, 100]]  # what has no value any more has lost everything
    assert [re.match(r"[^<]*", row[2])[0] for row in cells] == ["+0.0000", "-0.0200", "-0.0400"]
    assert "Change of mIoU with one weight treated (0.7617 with none; higher is better; 42 examples)" in content
    given["sensitivity"]["higher_is_better"] = False
    assert set(re.findall(r"width:([\d.]+)%", page(given))) <= {"0.0", "100.0"}
    del given["sensitivity"]
    assert "Sensitivity" not in page(given)
