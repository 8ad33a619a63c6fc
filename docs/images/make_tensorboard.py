"""Draws `tensorboard.png`: the page `Compression` of TensorBoard on real trainings, photographed in a headless browser.

    python docs/images/make_tensorboard.py          # after two trainings of its own, about 8 minutes on 2 cores
    python docs/images/make_tensorboard.py LOG_DIR  # of trainings that were

Needs chromium, its driver (Debian: `apt-get install chromium chromium-driver`), selenium and Pillow.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.summaries import tensorboard_page  # noqa: E402

WIDTH, HEIGHT = 1280, 860  # CSS pixels
TRAINING = ("--prune", "--cluster", "--base_filters=8", "--epochs=8", "--export_formats=float32,int8")
SPARSITIES = (0.8, 0.95)


def train(folder: Path) -> Path:
    """Trains the U-Net twice. Returns: the log directory of both."""
    for sparsity in SPARSITIES:
        name = f"sparsity {sparsity}"
        command = [sys.executable, "train.py", *TRAINING, f"--target_sparsity={sparsity}"]
        folders = [f"--output_dir={folder / name}", f"--log_dir={folder / 'logs' / name}"]
        subprocess.run([*command, *folders], check=True, cwd=ROOT / "train_unet")
    return folder / "logs"


def main() -> None:
    """Takes the photograph."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "log_dir", type=Path, nargs="?", help="what train.py was given as --log_dir, or a folder of such"
    )
    parser.add_argument("picture", type=Path, nargs="?", default=ROOT / "docs" / "images" / "tensorboard.png")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        tensorboard_page.served(arguments.log_dir or train(Path(folder)), Path(folder) / "tensorboard.txt") as address,
        tensorboard_page.opened(Path(folder) / "profile", width=WIDTH, height=HEIGHT + 140) as driver,
    ):
        tensorboard_page.show_compression(driver, address)
        tensorboard_page.wait_for(
            lambda: driver.find_elements("css selector", ".panel .mask img"), "a weight in detail"
        )
        time.sleep(2)  # the mask arrives
        driver.switch_to.default_content()
        photograph = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    photograph = photograph.crop((0, 0, photograph.width, min(photograph.height, HEIGHT)))
    photograph.quantize(128, dither=Image.Dither.NONE).save(arguments.picture, optimize=True)
    print(f"{arguments.picture}: {photograph.size}, {arguments.picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
