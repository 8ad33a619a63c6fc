"""Draws `tensorboard.png`: TensorBoard's page on a real training, photographed in a headless browser.

    python docs/images/make_tensorboard.py          # after a training of its own, about 4 minutes on 2 cores
    python docs/images/make_tensorboard.py LOG_DIR  # of a training that was

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

# The page shows cards in the order of their tags: two rows of three.
TAGS = "epoch_mIoU|mask.*(bottom|encoder_2).*conv_1|overall|^sparsity.*bottom.*conv_1|unique.*bottom.*conv_1"
WIDTH, HEIGHT = 1500, 838  # CSS pixels
TRAINING = ("--prune", "--cluster", "--epochs=12", "--export_formats=")


def train(folder: Path) -> Path:
    """Trains the U-Net. Returns: its log directory."""
    command = [sys.executable, str(ROOT / "train_unet" / "train.py"), *TRAINING, f"--output_dir={folder}"]
    subprocess.run([*command, f"--log_dir={folder / 'logs'}"], check=True)
    return folder / "logs"


def main() -> None:
    """Takes the photograph."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log_dir", type=Path, nargs="?", help="what train.py was given as --log_dir")
    parser.add_argument("picture", type=Path, nargs="?", default=ROOT / "docs" / "images" / "tensorboard.png")
    parser.add_argument("--tags", default=TAGS, help="regex of the cards to show")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        tensorboard_page.served(arguments.log_dir or train(Path(folder)), Path(folder) / "tensorboard.txt") as address,
        tensorboard_page.opened(Path(folder) / "profile", width=WIDTH, height=HEIGHT + 140) as driver,
    ):
        tensorboard_page.show_time_series(driver, address, arguments.tags)
        tensorboard_page.wait_for(lambda: tensorboard_page.is_drawn(driver), "the charts")
        time.sleep(3)  # lines and pictures fade in
        photograph = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    photograph = photograph.crop((0, 0, photograph.width, min(photograph.height, HEIGHT)))
    photograph.quantize(128, dither=Image.Dither.NONE).save(arguments.picture, optimize=True)
    print(f"{arguments.picture}: {photograph.size}, {arguments.picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
