"""Draws `report*.png`: the pages of real exports, photographed in a headless browser.

    python docs/images/make_report.py          # after two short trainings of its own, about 2 minutes on 2 cores
    python docs/images/make_report.py RUN RUN  # of runs that train.py has made, the one to show first

Needs chromium, its driver (Debian: `apt-get install chromium chromium-driver`), selenium and Pillow.
"""

from __future__ import annotations

import argparse
import base64
import io
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from segopt_callbacks import pages  # noqa: E402
from tests.summaries import tensorboard_page  # noqa: E402

HERE = Path(__file__).parent
WIDTH = 1160  # CSS pixels
FORMATS = "saved_model,float32,float16,dynamic_int8,int8"
TRAININGS = {"pruned and clustered": ("--prune", "--cluster", "--baseline"), "dense": ()}
PICTURES = {  # page, first and last section; nothing for the page's top
    "report": ("report.html", "", "Size, latency and accuracy"),
    "report_weights": ("report.html", "Weights", "Where files disagree with the model"),
    "report_comparison": ("comparison.html", "", "Size, latency and accuracy"),
}
FIND = """
const sections = [...document.querySelectorAll('section')];
const section = sections.find(one => one.querySelector('h2').textContent === arguments[0]);
const box = section.getBoundingClientRect();
return [box.top + scrollY, box.bottom + scrollY];
"""


def train(folder: Path) -> list[Path]:
    """Trains the U-Net in two ways. Returns: the folders of the runs."""
    for name, more in TRAININGS.items():
        command = [sys.executable, "train.py", "--epochs=2", f"--export_formats={FORMATS}", *more]
        subprocess.run([*command, f"--output_dir={folder / name}"], check=True, cwd=ROOT / "train_unet")
    return [folder / name for name in TRAININGS]


def photograph(driver: Any, page: Path, first: str, last: str) -> Image.Image:
    """The part of a page from one section to another."""
    size = {"width": WIDTH, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.get(page.absolute().as_uri())
    top = driver.execute_script(FIND, first)[0] if first else 0
    bottom = driver.execute_script(FIND, last)[1] + 16
    clip = {"x": 0, "y": top, "width": WIDTH, "height": bottom - top, "scale": 1}
    taken = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    return Image.open(io.BytesIO(base64.b64decode(taken["data"]))).convert("RGB")


def main() -> None:
    """Takes the photographs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*", help="what train.py was given as --output_dir")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = arguments.runs or train(Path(folder))
        comparison = Path(folder) / "comparison.html"
        if pages.main([*map(str, runs), "--output", str(comparison)]):
            sys.exit("the runs cannot be compared")
        places = {"report.html": runs[0] / "export" / "report.html", "comparison.html": comparison}
        with tensorboard_page.opened(Path(folder) / "profile") as driver:
            for name, (page, first, last) in PICTURES.items():
                picture = photograph(driver, places[page], first, last)
                path = HERE / f"{name}.png"
                picture.save(path, optimize=True)
                print(f"{path.name}: {picture.size}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
