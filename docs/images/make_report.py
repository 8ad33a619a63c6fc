"""Draws `report*.png`, `terminal.png` and `notebook.png`: real exports, photographed in a headless browser.

    python docs/images/make_report.py          # after two short trainings of its own, about 5 minutes on 2 cores
    python docs/images/make_report.py RUN RUN  # of runs that it has made, the one to show first

Needs chromium, its driver (Debian: `apt-get install chromium chromium-driver`), selenium, Pillow and nbconvert.
"""

from __future__ import annotations

import argparse
import base64
import html
import io
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from segopt_callbacks import pages  # noqa: E402
from tests.summaries import tensorboard_page  # noqa: E402

HERE = Path(__file__).parent
FORMATS = "saved_model,float32,float16,dynamic_int8,int8"
TRAININGS = {"pruned and clustered": ("--prune", "--cluster", "--baseline"), "dense": ()}
SAID = "terminal.txt"  # what the training has printed, in the folder of a run


@dataclass(frozen=True)
class Picture:
    """A photograph of a page, from the top of one element to the bottom of another.

    Attributes:
        page: its name, see `main`.
        first: heading of the first section; nothing for the page's top.
        last: of the last one; nothing for the page's bottom.
        width: of the window, in CSS pixels.
        scheme: `"light"` or `"dark"`.
    """

    page: str
    first: str = ""
    last: str = ""
    width: int = 1280
    scheme: str = "light"


PICTURES = {
    "report": Picture("report", "", "Size, latency and accuracy"),
    "report_phone": Picture("report", "", "Results", 400, "dark"),
    "report_weights": Picture("report", "Weights", "Where files disagree with the model"),
    "report_comparison": Picture("comparison", "", "Results"),
    "notebook": Picture("notebook", "The report", "", 1000),
    "terminal": Picture("terminal", width=1000),
}
# Where the section of a heading begins and ends: our pages have sections, a notebook has headings alone.
FIND = """
const heading = [...document.querySelectorAll('h2')].find(one => one.textContent.startsWith(arguments[0]));
const box = (heading.closest('section') ?? heading).getBoundingClientRect();
return [box.top + scrollY, box.bottom + scrollY];
"""
TERMINAL = """<!doctype html><meta charset="utf-8"><body style="margin:0; background:#14171b; color:#e6e8eb">
<pre style="margin:0; padding:16px; font:14px/1.4 'Liberation Mono', monospace; white-space:pre-wrap">{}</pre>"""


def train(folder: Path) -> list[Path]:
    """Trains the U-Net in two ways. Returns: the folders of the runs."""
    for name, more in TRAININGS.items():
        flags = [*more, "--epochs=4", "--base_filters=8", "--growth=2", f"--export_formats={FORMATS}"]
        (folder / name).mkdir()
        with (folder / name / SAID).open("w") as output:
            output.write(f"$ python train.py {' '.join(flags)}\n")
            output.flush()
            command = [sys.executable, "train.py", *flags, f"--output_dir={folder / name}", "--overwrite"]
            subprocess.run(command, check=True, cwd=ROOT / "train_unet", stdout=output)
    return [folder / name for name in TRAININGS]


def terminal(run: Path) -> str:
    """The command of a training and the end of what it has printed, from its export on, as a page."""
    said = (run / SAID).read_text().replace(str(run.absolute()), "runs")
    lines = [said.splitlines()[0], "...", *said[said.index("export: ") :].splitlines()]
    return TERMINAL.format(html.escape("\n".join(lines)))


def notebook() -> str:
    """The notebook of the docs as a page."""
    import nbconvert

    return nbconvert.HTMLExporter().from_filename(str(ROOT / "docs" / "notebook.ipynb"))[0]


def photograph(driver: Any, page: Path, picture: Picture) -> Image.Image:
    """The part of a page that a picture shows."""
    size = {"width": picture.width, "height": 900, "deviceScaleFactor": 1, "mobile": picture.width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": picture.scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    driver.get(page.absolute().as_uri())
    top = driver.execute_script(FIND, picture.first)[0] if picture.first else 0
    whole = driver.execute_script("return document.body.getBoundingClientRect().bottom + scrollY")
    bottom = min(driver.execute_script(FIND, picture.last)[1] + 16, whole) if picture.last else whole
    clip = {"x": 0, "y": top, "width": picture.width, "height": bottom - top, "scale": 1}
    taken = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    return Image.open(io.BytesIO(base64.b64decode(taken["data"]))).convert("RGB")


def main() -> None:
    """Takes the photographs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*", help="folders of runs, each with what it has printed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = arguments.runs or train(Path(folder))
        comparison = Path(folder) / "comparison.html"
        if pages.main([*map(str, runs), "--output", str(comparison)]):
            sys.exit("the runs cannot be compared")
        places = {"report": runs[0] / "export" / "report.html", "comparison": comparison}
        for name, page in (("terminal", terminal(runs[0])), ("notebook", notebook())):
            places[name] = Path(folder) / f"{name}.html"
            places[name].write_text(page)
        with tensorboard_page.opened(Path(folder) / "profile") as driver:
            for name, picture in PICTURES.items():
                taken = photograph(driver, places[picture.page], picture)
                path = HERE / f"{name}.png"
                taken.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
                print(f"{path.name}: {taken.size}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
