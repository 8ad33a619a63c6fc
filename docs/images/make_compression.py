"""Draws `compression.png`: size against mIoU of every file that `benchmarks/compression.py` has measured.

    python docs/images/make_compression.py

Needs chromium, its driver (Debian: `apt-get install chromium chromium-driver`), selenium and Pillow.
"""

from __future__ import annotations

import base64
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import tensorboard_page  # noqa: E402

from benchmarks import compression  # noqa: E402
from segopt_callbacks.pages.markup import Markup, element  # noqa: E402
from segopt_callbacks.pages.plots import Axis, Mark, Place, bytes_text, scatter  # noqa: E402
from segopt_callbacks.pages.style import STYLE  # noqa: E402

ACROSS, DOWN = 560, 340  # CSS pixels of one plot


def plot(name: str) -> Markup:
    """One set's plot: a mark for each file, a line where the tolerance ends."""
    found = compression.front(compression.STUDY.results(), name)
    best = compression.best(found)
    largest = found["dense float32"]
    marks = []
    for way, one in found.items():
        times = largest["gzip"] / one["gzip"]
        label = way.removesuffix(", int8") + (f": {times:.0f} times smaller" if way == best else "")
        label = "dense int8" if label == compression.DENSE else label
        group = 0 if way == "dense float32" else 1 if way == best else 2
        marks.append(Mark(label, way, one["miou"], (Place(one["gzip"]),), group))
    limits = [(f"dense float32 - {compression.TOLERANCE}", largest["miou"] - compression.TOLERANCE)]
    axes = Axis("bytes after gzip", bytes_text, may_be_log=True), Axis("mIoU of the file", least=0.04)
    drawn = scatter(marks, limits, *axes, across=ACROSS, down=DOWN)
    if drawn is None:
        sys.exit("there are no results; run benchmarks/compression.py")
    return element("figure", element("h3", name), drawn.svg)


def main() -> None:
    """Takes the photograph of both plots beside each other."""
    plots = [plot(name) for name in compression.SETS]
    body = element("main", element("div", *plots, class_="plots"))
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "compression.html"
        page.write_text(f'<!doctype html><meta charset="utf-8"><style>{STYLE}main{{max-width:none}}</style>{body}')
        width, height = len(plots) * (ACROSS + 40) + 16, DOWN + 90
        with tensorboard_page.opened(Path(folder) / "profile") as driver:
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            driver.get(page.as_uri())
            taken = driver.execute_cdp_cmd("Page.captureScreenshot", {})
    picture = Image.open(io.BytesIO(base64.b64decode(taken["data"]))).convert("RGB")
    path = Path(__file__).parent / "compression.png"
    picture.save(path, optimize=True)
    print(f"{path.name}: {picture.size}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
