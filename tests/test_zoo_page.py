"""docs/zoo.md is what tests/zoo has found; the rows themselves are run by `make zoo`."""

from collections import Counter

import pytest

from tests.zoo import page
from tests.zoo.architectures import ARCHITECTURES, CLUSTER, PRUNE, Architecture

pytestmark = pytest.mark.either_keras
ROW = Architecture("one", "package", 3, 64, (PRUNE, CLUSTER), lambda size: None)
KEPT = {"zeros": 0.8, "distinct": 16, "relative_difference": 1e-6, "equal_argmax": 1.0, "warnings": []}


def test_the_page_is_that_of_the_results():
    assert page.table(page.results()) in page.PAGE.read_text(), "run `python -m tests.zoo.run --table`"


def test_there_are_thirty_of_four_packages_under_both_kerases():
    assert len({one.name for one in ARCHITECTURES}) == len(ARCHITECTURES) == 30
    assert set(page.results()) <= {one.name for one in ARCHITECTURES}
    assert {one.package for one in ARCHITECTURES} == {
        "keras.applications",
        "keras-hub",
        "segmentation-models",
        "keras-unet-collection",
    }
    assert min(Counter(one.keras for one in ARCHITECTURES).values()) >= 10
    assert all(64 <= one.size <= 128 for one in ARCHITECTURES if not one.of_words)


@pytest.mark.parametrize(
    ("float32", "int8", "outcome"),
    [
        ({}, {}, "ok"),
        ({"zeros": 0.79}, {}, "float32: zeros below 0.8"),
        ({}, {"distinct": 17}, "int8: more than 16 values"),
        ({"relative_difference": 0.02}, {"relative_difference": 0.02}, "float32: differs from the model"),
        ({"distinct": 17}, {"error": "no room"}, "float32: more than 16 values; int8: no room"),
    ],
)
def test_a_row_tells_each_promise_that_was_not_kept(float32, int8, outcome):
    files = {"float32": {**KEPT, **float32}, "int8": int8 if "error" in int8 else {**KEPT, **int8}}
    assert page.told(ROW, {"files": files}) == outcome


def test_a_row_that_did_not_run_says_why():
    assert page.line(ROW, {"error": "ValueError: a | b"})[-1] == "failed: ValueError: a / b"
    assert page.line(ROW, None)[-1] == "not run yet"
    assert len(page.line(ROW, None)) == len(page.line(ROW, {"error": "none"})) == len(page.HEAD)
