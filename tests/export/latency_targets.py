"""Files whose inference takes a known time: functions that other processes can import."""

import os
import time

from segopt_callbacks.errors import FormatError
from segopt_callbacks.export.litert import converter as litert

# Begins a program that exports: timing files is not what pages are about, and takes 20 seconds more.
UNTIMED = "import segopt_callbacks.export.checks.latency\nsegopt_callbacks.export.checks.latency.BUDGET = 0.0\n"


def number_of_threads():
    return len(os.listdir("/proc/self/task"))


def tensorflow_threads():
    """Threads inside an operation, threads that run operations, and the CPUs of all that are called TensorFlow's."""
    import tensorflow as tf

    settings = tf.config.threading
    used = set()
    for thread in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{thread}/comm") as stream:
            if stream.read().startswith("tf_"):
                used |= os.sched_getaffinity(int(thread))
    return settings.get_intra_op_parallelism_threads(), settings.get_inter_op_parallelism_threads(), used


def load_and_sleep(seconds, path, source, threads):
    """Runs for a time that is known, and writes down where it was opened, and how."""
    with (path.parent / "opened.txt").open("a") as stream:
        print(path.name, threads, sorted(os.sched_getaffinity(0)), file=stream)

    def run(inputs):
        time.sleep(seconds)
        return inputs

    return run


def load_on_all_threads_only(path, source, threads):
    if threads is not None:
        raise FormatError("it wants more threads")
    return litert.load(path, source, threads)
