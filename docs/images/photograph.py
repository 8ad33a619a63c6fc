"""Plots side by side, as a browser shows them, as one picture.

Needs chromium, its driver (Debian: `apt-get install chromium chromium-driver`), selenium and Pillow.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from segopt_callbacks.markup import Markup, element
from segopt_callbacks.pages.shapes import symbol
from segopt_callbacks.pages.style import STYLE
from tests.summaries import tensorboard_page

COLUMNS = 2  # plots beside each other
LAYOUT = "main{max-width:none;padding:0 16px 12px} h3{margin:8px 0}"


def legend(names: Sequence[str]) -> Markup:
    """Which mark stands for what, in the order of their groups."""
    swatches = [element("span", symbol(number), name, class_="swatch") for number, name in enumerate(names)]
    return element("p", *swatches, class_="legend")


def photograph(name: str, plots: Sequence[Markup], below: Markup, *, across: int, down: int) -> None:
    """Writes `name` beside this file.

    Args:
        name: of the picture.
        plots: figures.
        below: what stands under them.
        across: width of a plot, in CSS pixels.
        down: height of a plot.
    """
    body = element("main", element("div", *plots, class_="plots"), below)
    columns = min(COLUMNS, len(plots))
    rows, width = -(-len(plots) // columns), columns * (across + 40) + 16
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "plots.html"
        page.write_text(f'<!doctype html><meta charset="utf-8"><style>{STYLE}{LAYOUT}</style>{body}')
        with tensorboard_page.opened(Path(folder) / "profile", width=width, height=rows * (down + 100) + 300) as driver:
            driver.get(page.as_uri())
            taken = driver.find_element("css selector", "main").screenshot_as_png
    picture = Image.open(io.BytesIO(taken)).convert("RGB")
    path = Path(__file__).parent / name
    picture.save(path, optimize=True)
    print(f"{path.name}: {picture.size}, {path.stat().st_size:,} bytes")
