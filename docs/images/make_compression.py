"""Draws `compression.png`: size against mIoU of every file that `benchmarks/compression.py` has measured.

    python docs/images/make_compression.py

Needs chromium, its driver (Debian: `apt-get install chromium chromium-driver`), selenium and Pillow.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import compression  # noqa: E402
from segopt_callbacks.markup import Markup, element  # noqa: E402
from segopt_callbacks.pages.plots import Axis, Mark, Place, bytes_text, scatter  # noqa: E402
from segopt_callbacks.pages.shapes import symbol  # noqa: E402
from segopt_callbacks.pages.style import STYLE  # noqa: E402
from tests.summaries import tensorboard_page  # noqa: E402

ACROSS, DOWN, COLUMNS = 560, 380, 2  # CSS pixels of one plot; plots beside each other
LAYOUT = "main{max-width:none;padding:0 16px 12px} h3{margin:8px 0}"
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


def legend() -> Markup:
    """Which mark stands for which format."""
    swatches = [element("span", symbol(number), f"{kind}.tflite", class_="swatch") for number, kind in enumerate(KINDS)]
    return element("p", *swatches, class_="legend")


def main() -> None:
    """Takes the photograph of all plots."""
    plots = [plot(name) for name in compression.SETS]
    body = element("main", element("div", *plots, class_="plots"), legend())
    rows = -(-len(plots) // COLUMNS)
    width = COLUMNS * (ACROSS + 40) + 16
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "compression.html"
        page.write_text(f'<!doctype html><meta charset="utf-8"><style>{STYLE}{LAYOUT}</style>{body}')
        with tensorboard_page.opened(Path(folder) / "profile", width=width, height=rows * (DOWN + 100) + 300) as driver:
            driver.get(page.as_uri())
            taken = driver.find_element("css selector", "main").screenshot_as_png
    picture = Image.open(io.BytesIO(taken)).convert("RGB")
    path = Path(__file__).parent / "compression.png"
    picture.save(path, optimize=True)
    print(f"{path.name}: {picture.size}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
