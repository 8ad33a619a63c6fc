"""What colour alone can tell: mIoU of a lookup from colour to majority class, on the test split.

    python benchmarks/color_lookup.py [DATA_DIR]

It is what a network has to beat.
"""

from __future__ import annotations

import sys

from benchmarks.aerial import LANDCOVER
from train_unet.color_lookup import LEVELS, score
from train_unet.folder import open_folder

if __name__ == "__main__":
    folder = open_folder(sys.argv[1] if len(sys.argv) > 1 else LANDCOVER)
    print(f"colour lookup, {LEVELS} levels a channel: test mIoU {score(folder):.4f}")
