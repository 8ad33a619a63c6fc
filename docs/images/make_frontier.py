"""Draws `frontier.png`: time of one inference against mIoU, of what `benchmarks/frontier.py` has measured.

    python docs/images/make_frontier.py

Needs chromium, its driver (Debian: `apt-get install chromium chromium-driver`), selenium and Pillow.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import frontier  # noqa: E402
from docs.images.photograph import legend, photograph  # noqa: E402
from segopt_callbacks.markup import Markup, element  # noqa: E402
from segopt_callbacks.pages.plots import Axis, Mark, Place, scatter  # noqa: E402

TITLES = {"int8": "int8 in LiteRT", "openvino_int8": "int8 in OpenVINO"}
ACROSS, DOWN = 640, 440  # CSS pixels of one plot
KINDS = (
    "dense, fewer filters",
    "dense, one width (Lean)",
    "channels pruned for time",
    "of each layer",
    "of all weights",
)


def kind(way: frontier.Way) -> int:
    """The number of a way's kind."""
    if way.sparsity:
        return 2 + ("latency", "layer", "global").index(way.scope)
    return 1 if way.growth == 1 else 0


def plot(name: str, format_name: str, title: str) -> Markup | None:
    """A mark for each network of a set, a line where the tolerance ends; `None` without one that was pruned."""
    found = frontier.front(frontier.STUDY.results(), frontier.TIMES.results(), name)
    marks = []
    for named, row in found.items():
        file = row.files.get(format_name)
        if file is not None and file.ratio:
            label = named.removeprefix(f"{frontier.WIDE}, ")
            mean = sum(file.mious) / len(file.mious)
            marks.append(Mark(label, named, mean, (Place(file.ratio),), kind(frontier.WAYS[named])))
    if not any(mark.group > 1 for mark in marks):
        return None
    wide = found[frontier.WIDE].files[format_name]
    limit = sum(wide.mious) / len(wide.mious) + wide.below - frontier.TOLERANCE
    axes = Axis(f"time, LiteRT int8 of {frontier.WIDE} = 1", may_be_log=True), Axis("mIoU of the file", least=0.02)
    drawn = scatter(marks, [(f"{frontier.TOLERANCE} below dense", limit)], *axes, across=ACROSS, down=DOWN)
    return element("figure", element("h3", f"{name}, {title}"), drawn.svg if drawn else None)


def main() -> None:
    """Takes the photograph of all plots."""
    every = [plot(name, *one) for name in frontier.EPOCHS for one in TITLES.items()]
    plots = [drawn for drawn in every if drawn is not None]
    if not plots:
        sys.exit("there are no results; run benchmarks/frontier.py, and then with --time")
    ways = {way for _, way, _ in frontier.STUDY.results()}
    used = 1 + max(kind(frontier.WAYS[way]) for way in ways)
    photograph("frontier.png", plots, legend(KINDS[:used]), across=ACROSS, down=DOWN)


if __name__ == "__main__":
    main()
