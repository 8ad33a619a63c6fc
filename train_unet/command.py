"""What runs a command: signals end it in order, and an error that its user can mend is one line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from flags import FlagError
from train_unet.full_disk import is_full
from train_unet.machines import make_strategy
from train_unet.process import ExitOnInterrupt, without_start_up_noise

FAILED, USAGE_ERROR = 1, 2  # exit codes
RESTARTS, MOST = "TRAIN_UNET_RESTARTS", 100  # environment variable: how often a worker has begun anew, and may
LINE = "{}: no file is half-written; --resume goes on from the backup."


def run_command(work: Callable[[ExitOnInterrupt, Any], bool], strategy: str = "none", argv: Sequence[str] = ()) -> int:
    """Does the work of a command.

    Args:
        work: is given what knows of signals, and the strategy; returns whether it has succeeded.
        strategy: a name of `flags.machines.STRATEGIES`.
        argv: program and flags, to begin anew with when another worker is gone.

    Returns:
        exit code: 0, or 1 if it has failed, 2 if the data or a flag is wrong. Signals end the process (130, 143).
    """
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a pipe shows progress too
    with ExitOnInterrupt(LINE.format("Interrupted by Ctrl-C"), LINE.format("Terminated")) as interrupt:
        lost: tuple[type[Exception], ...] = ()  # errors that tell of another worker
        try:
            with without_start_up_noise():
                import tensorflow as tf

                if strategy == "multi_worker":
                    lost = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)
                made = make_strategy(strategy)  # TensorFlow says here what it has to say about missing GPUs
            from segopt_callbacks.errors import SettingsError
            from segopt_callbacks.export import ExportError
            from train_unet.folder import DataFolderError

            try:
                return 0 if work(interrupt, made) else FAILED
            except (DataFolderError, FlagError, SettingsError) as error:
                print(error, file=sys.stderr)
                return USAGE_ERROR
            except ExportError as error:
                print(error, file=sys.stderr)
                return FAILED
            except OSError as error:
                if not is_full(error):
                    raise
                print(f"The disk is full: free some of it, then --resume goes on. Received: {error}.", file=sys.stderr)
                return FAILED
        except lost as error:
            return begin_anew(argv, error)


def begin_anew(argv: Sequence[str], error: Exception) -> int:
    """Replaces this worker by one that waits for the others, and goes on from the backup with them.

    TensorFlow goes on neither with fewer workers nor with one that comes back: all have to start again
    (https://www.tensorflow.org/tutorials/distribute/multi_worker_with_keras#fault_tolerance).

    Args:
        argv: program and flags that it began with.
        error: what TensorFlow raised: that another worker is not there.

    Raises:
        Exception: `error`, behind `MOST` such starts.
    """
    count = int(os.environ.get(RESTARTS, "0"))
    if count >= MOST:
        raise error
    print(f"Another worker is gone ({type(error).__name__}); this one begins anew with --resume, and waits for it.")
    sys.stdout.flush()
    os.execve(
        sys.executable,
        [sys.executable, *argv, "--resume", "--nooverwrite"],
        {**_environment(), RESTARTS: str(count + 1)},
    )


def run_alone(argv: Sequence[str]) -> int:
    """Goes on with a run in a process of its own, which trains with no other.

    Args:
        argv: program and flags that it began with.

    Returns:
        the exit code of that process.
    """
    environment = {name: value for name, value in _environment().items() if name != "TF_CONFIG"}
    command = [sys.executable, *argv, "--resume", "--nooverwrite", "--strategy=none"]
    return subprocess.run(command, env=environment, check=False).returncode


def _environment() -> dict[str, str]:
    """That of this process, without what `without_start_up_noise` has set."""
    return {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
