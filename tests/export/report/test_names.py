"""Names that mean no good, in `report.md` and on the terminal; rendered by a library that we did not write."""

import re

import markdown as renderer
import pytest

from segopt_callbacks.errors import ExportError, FormatError, first_line
from segopt_callbacks.export.report.report import markdown
from segopt_callbacks.export.report.text import table
from segopt_callbacks.sizes.markdown import code, plain, prose
from tests.export.report.test_report import REPORT, WEIGHT

EVIL = [
    "<script>alert(1)</script>",
    "a|b|c",
    "`a` | <b>",
    "``|`",
    "\x1b[2J\x1b]0;title\x07",
    "a\n\n# heading\n\n| a |",
    "[link](http://example.org)",
    "![image](http://example.org/a.png)",
    "**bold** _slanted_ ~~gone~~",
    "\\",
    "a\\|b",
    "\u202egnp.exe",
    "&lt;",
    "<!-- ",
]


def hostile(name):
    weight = {**WEIGHT, "weight": name, "dtype": name}
    int8 = {**REPORT["formats"]["int8"], "metrics": {name: 0.5}, "weights": [weight], "notes": {name: name}}
    failed = {"status": "failed", "error": f"it says {name}", "earlier_file_kept": False}
    sensitivity = {
        "monitor": name,
        "untreated": 0.5,
        "higher_is_better": True,
        "examples": 3,
        "treatments": ["int8"],
        "weights": [{"weight": name, "elements": 3, "metrics": {}, "change": {"int8": 0.1}}],
    }
    return {
        **REPORT,
        "model": {"name": name, "metrics": {name: 0.75}},
        "formats": {"int8": int8, "float16": failed},
        "baselines": {name: {"metrics": {name: 0.5}}},
        "verification": {"examples": 2, "data": name},
        "warnings": [name],
        "sensitivity": sensitivity,
    }


def shape(page):
    """What a rendered page consists of, without its text."""
    kinds = re.findall(r"<(/?\w+)", renderer.markdown(page, extensions=["tables"]))
    return [kind for kind in kinds if kind.strip("/") != "code"]


@pytest.mark.parametrize("name", EVIL)
def test_a_name_adds_nothing_to_the_page_but_its_text(name):
    page = markdown(hostile(name))
    assert shape(page) == shape(markdown(hostile("name")))
    assert page.count("\n") == markdown(hostile("name")).count("\n")
    assert all(one.isprintable() for one in page if one != "\n")


@pytest.mark.parametrize("name", EVIL)
def test_a_name_is_text_in_every_place(name):
    for written in (plain(name), code(name), prose(f"{name}")):
        page = f"| a | b |\n| --- | --- |\n| {written} | c |\n"
        assert [one for one in shape(page) if "td" in one] == ["td", "/td"] * 2
        assert not set(shape(page)) & {"script", "a", "img", "strong", "em", "h1", "b"}


@pytest.mark.parametrize("name", EVIL)
def test_the_terminal_gets_the_same_lines(name):
    shown = table(hostile(name))
    assert shown.count("\n") == table(hostile("name")).count("\n")
    assert all(one.isprintable() for one in shown if one != "\n")
    told = str(ExportError({"int8": first_line(FormatError(name))}, {}))
    assert told.isprintable()


def test_plain_names_stay_as_they_are():
    assert plain("mean_io_u") == prose("mean_io_u") == "mean_io_u"
    assert code("net/conv_1/kernel:0") == "`net/conv_1/kernel:0`"
    assert prose("pass `a_b` or `c`, at most 3") == "pass `a_b` or `c`, at most 3"
