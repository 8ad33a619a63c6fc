"""What notebooks show: HTML whose style reaches nothing else, of objects that stay what they are."""

from __future__ import annotations

import copy
import json
import pickle
import re

import pytest

from segopt_callbacks.export.report import ShownReport, table
from segopt_callbacks.records import Sensitivity, Treated
from tests.pages.report_samples import renamed, report
from tests.pages.test_page import HOSTILE, Seen, browser, cells_of, row_of, shown  # noqa: F401

ROWS = (Treated("net/a", 8, "int8", {"iou": 0.5}, -0.25), Treated("net/b", 9, "int8", {"iou": 0.8}, 0.05))
SENSITIVITY = Sensitivity("iou", True, {"iou": 0.75}, ROWS, 4, 0.8, 8)
SHOWN = {"report": ShownReport(report()), "sensitivity": SENSITIVITY}


def test_a_report_is_the_dict_that_it_was():
    given = report()
    made = ShownReport(given)
    assert isinstance(made, dict)
    assert made == given
    assert json.loads(json.dumps(made)) == given
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == given
    assert {**made} == given
    assert list(made) == list(given)


def test_what_is_printed_is_short():
    made = ShownReport(report())
    assert repr(made).startswith("Report(model='u_net', files=['saved_model', 'float32.tflite', ")
    assert repr(made).endswith("'tvm.so'], failed=['tensorrt'])")
    assert str(made) == table(made)
    del made["model"]
    assert repr(made) == repr(dict(made))
    assert repr(SENSITIVITY) == "Sensitivity(monitor='iou', treatments=('int8',), weights=2, examples=4)"


def test_a_notebook_shows_what_files_are_judged_by():
    content = SHOWN["report"]._repr_html_()
    assert row_of(content, "int8") == ["0.7612", "521,328", "144,690", "8.10"]
    assert row_of(content, "tensorrt") == ["failed: the converter refuses the model"]
    assert "openvino_int8: 0.64 MB (0.16 MB after gzip), 3.1 times smaller" in content
    without = report()
    without["model"]["metrics"], without["baselines"] = {}, {}
    for entry in without["formats"].values():
        entry.pop("metrics", None)
    assert row_of(ShownReport(without)._repr_html_(), "int8") == ["521,328", "144,690", "3.12e-02", "0.9876", "8.10"]


def test_a_notebook_shows_losses_as_bars():
    content = SENSITIVITY._repr_html_()
    cells = cells_of(content, "net/<wbr>a"), cells_of(content, "net/<wbr>b")
    assert [re.match("[^<]*", one[1])[0] for one in cells] == ["-0.2500", "+0.0500"]
    assert re.findall(r"width:([\d.]+)%", content) == ["100.0", "0.0"]


@pytest.mark.parametrize("kind", SHOWN)
def test_the_style_of_ours_takes_nothing_else(kind):
    content = SHOWN[kind]._repr_html_()
    (style,) = re.findall("<style>(.*?)</style>", content, re.DOTALL)
    selectors = [one for rule in re.findall(r"([^{}]+)\{", style) for one in rule.split(",")]
    assert len(selectors) > 10
    assert [one for one in selectors if not one.strip().startswith(".segopt-shown ")] == []
    assert re.findall('^<div class="(.*?)">', content) == ["segopt-shown"]
    seen = Seen(content)
    assert not {"script", "link", "iframe", "svg"} & set(seen.tags)
    assert not {"id", "src", "href", "srcset", "onerror"} & {name for name, _ in seen.attributes}


def test_no_name_becomes_markup():
    given = ShownReport(renamed(report(), HOSTILE))
    other = Sensitivity(HOSTILE, True, {HOSTILE: 0.5}, (Treated(HOSTILE, 1, "int8", {HOSTILE: 0.5}, 0.1),), 1, 0.8, 8)
    for one in (given, other):
        assert not {"script", "img"} & set(Seen(one._repr_html_()).tags)


LOOKS = """
const other = document.querySelector('#other td');
const ours = [...document.querySelectorAll('.segopt-shown th, .segopt-shown td')];
const style = one => getComputedStyle(one), each = name => [...new Set(ours.map(one => style(one)[name]))];
return [style(other).padding, style(other).borderBottomWidth, each('padding'), each('color'), each('backgroundColor'),
        document.documentElement.scrollWidth];
"""


@pytest.mark.parametrize(("paper", "ink"), [("white", "rgb(1, 2, 3)"), ("black", "rgb(250, 251, 252)")])
def test_ours_takes_the_colours_of_the_notebook_and_leaves_its_tables_alone(browser, tmp_path, paper, ink):  # noqa: F811
    path = tmp_path / "page.html"
    other = "<table id=other><tr><td>theirs</td></tr></table>"
    path.write_text(
        "<!doctype html><meta name=viewport content='width=device-width'>"
        f"<body style='background:{paper};color:{ink}'>{other}{SHOWN['report']._repr_html_()}"
    )
    shown(browser, path, 400, "light")
    theirs, border, padding, colours, grounds, width = browser.execute_script(LOOKS)
    assert (theirs, border) == ("1px", "0px")
    assert (padding, colours, grounds) == (["4px 10px"], [ink], ["rgba(0, 0, 0, 0)"])
    assert width <= 400
