"""What benchmarks are judged by."""

import csv

import pytest

from benchmarks.aerial import LANDCOVER
from benchmarks.regions import REGIONS, TILE, write_region


@pytest.mark.either_keras
@pytest.mark.parametrize("columns", REGIONS)
def test_no_pixel_of_a_region_is_trained_on_or_judged_twice(columns, tmp_path):
    write_region(tmp_path, columns)
    with (tmp_path / "split.csv").open(newline="") as handle:
        split = {row["name"]: row["split"] for row in csv.DictReader(handle)}
    places = {
        part: [(int(name[1:5]), int(name[7:])) for name, one in split.items() if one == part]
        for part in ("train", "val", "test")
    }
    assert len(places["train"]) > 240
    assert len(places["test"]) > 30
    for top, left in places["test"]:
        assert left // TILE in columns
        others = [place for part in places.values() for place in part if place != (top, left)]
        assert all(abs(top - other[0]) >= TILE or abs(left - other[1]) >= TILE for other in others)
    with (LANDCOVER / "split.csv").open(newline="") as handle:
        embedded = {row["name"]: row["split"] for row in csv.DictReader(handle)}
    assert all(embedded[name] == "train" for name, part in split.items() if part != "val")
