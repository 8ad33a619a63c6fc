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

ACROSS, DOWN = 640, 400  # CSS pixels of one plot
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


def plot(name: str) -> Markup | None:
    """One set's plot: a mark for each network, a line where the tolerance ends; `None` without one that was pruned."""
    found = frontier.front(frontier.STUDY.results(), frontier.TIMES.results(), name)
    marks = []
    for named, one in found.items():
        if one["ratio"]:
            mean = sum(one["mious"]) / len(one["mious"])
            label = named.removeprefix(f"{frontier.WIDE}, ")
            marks.append(Mark(label, named, mean, (Place(one["ratio"]),), kind(frontier.WAYS[named])))
    if not any(mark.group > 1 for mark in marks):
        return None
    wide = found[frontier.WIDE]
    limit = sum(wide["mious"]) / len(wide["mious"]) + wide["below"] - frontier.TOLERANCE
    axes = Axis(f"time of int8, {frontier.WIDE} = 1", may_be_log=True), Axis("mIoU of the file", least=0.02)
    drawn = scatter(marks, [(f"{frontier.TOLERANCE} below dense", limit)], *axes, across=ACROSS, down=DOWN)
    return element("figure", element("h3", name), drawn.svg if drawn else None)


def main() -> None:
    """Takes the photograph of all plots."""
    plots = [drawn for name in frontier.EPOCHS if (drawn := plot(name)) is not None]
    if not plots:
        sys.exit("there are no results; run benchmarks/frontier.py, and then with --time")
    ways = {way for _, way, _ in frontier.STUDY.results()}
    used = 1 + max(kind(frontier.WAYS[way]) for way in ways)
    photograph("frontier.png", plots, legend(KINDS[:used]), across=ACROSS, down=DOWN)


if __name__ == "__main__":
    main()
