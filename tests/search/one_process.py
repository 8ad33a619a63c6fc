"""One process of a search: `one_process.py FOLDER [hangs]`; with `hangs` its first trial never ends."""

import sys
import time
from pathlib import Path

from segopt_callbacks import search_compression
from segopt_callbacks.compat import keras
from tests.search.search_cases import EPOCHS, build_narrow, split

SPACE = {"bits": [8], "sparsity": (0.3, 0.7), "against_rounding": [False], "pattern": ["none"]}


class Hang(keras.callbacks.Callback):
    """Waits in the second epoch for somebody to kill the process, and says so."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            (Path(sys.argv[1]) / "hangs").touch()
            time.sleep(600)


def main():
    result = search_compression(
        build_narrow,
        split(),
        epochs=EPOCHS,
        min_metric=0.5,
        trials=2,
        output_dir=sys.argv[1],
        storage=f"sqlite:///{sys.argv[1]}/shared.db",
        space=SPACE,
        batch_size=16,
        callbacks=[Hang()] if "hangs" in sys.argv else [],
        stale_after=6,
        verbose=0,
    )
    print(result.message)


if __name__ == "__main__":
    main()
