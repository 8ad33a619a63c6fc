"""Draws `compression.png`: size against mIoU of every file that `benchmarks/compression.py` has measured.

    python docs/images/make_compression.py

Needs chromium, its driver (Debian: `apt-get install chromium chromium-driver`), selenium and Pillow.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import compression  # noqa: E402
from docs.images.photograph import legend, photograph  # noqa: E402
from segopt_callbacks.markup import Markup, element  # noqa: E402
from segopt_callbacks.pages.plots import Axis, Mark, Place, bytes_text, scatter  # noqa: E402

ACROSS, DOWN = 560, 380  # CSS pixels of one plot
KINDS = (compression.FLOAT, *compression.FORMATS, *compression.OF_BITS)


def plot(name: str) -> Markup:
    """One set's plot: a mark for each file, a line where the tolerance ends."""
    found = compression.front(compression.STUDY.results(), name)
    if not found:
        sys.exit(f"there are no results of {name}; run benchmarks/compression.py")
    best, dense = compression.best(found), found[compression.DENSE, compression.FLOAT]
    labelled = {way: kind for way, kind in found} | dict([best])  # one file of each way has room for its name
    marks = []
    for (way, kind), one in found.items():
        times = f": {dense['gzip'] / one['gzip']:.0f} times smaller" if (way, kind) == best else ""
        label = f"{way}{times}" if labelled[way] == kind else ""
        marks.append(Mark(label, f"{way}, {kind}", one["miou"], (Place(one["gzip"]),), KINDS.index(kind)))
    limit = dense["miou"] - compression.TOLERANCE
    axes = Axis("bytes after gzip", bytes_text, may_be_log=True), Axis("mIoU of the file", least=0.04)
    drawn = scatter(marks, [(f"{compression.TOLERANCE} below", limit)], *axes, across=ACROSS, down=DOWN)
    return element("figure", element("h3", name), drawn.svg if drawn else None)


def main() -> None:
    """Takes the photograph of all plots."""
    photograph(
        "compression.png",
        [plot(name) for name in compression.SETS],
        legend([f"{kind}.tflite" for kind in KINDS]),
        across=ACROSS,
        down=DOWN,
    )


if __name__ == "__main__":
    main()
