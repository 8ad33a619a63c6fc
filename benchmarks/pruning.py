"""What pruning costs, beside tfmot in one run: training steps, updates of the masks, memory.

    python benchmarks/pruning.py [--only steps|update|memory]

steps: three functional networks, batch 16, see `steps.NETWORKS`: a U-Net of 2.0M weights on images of 128 pixels (this
  project's architecture and data), and the worst case, strided convolutions of 1.8M weights on images of 128 and of 32
  pixels: a projection costs by the weight, a step by the pixel too. In each round every model makes one step, in a new
  random order, so that the machine's moods meet all alike. The null is a second plain model. tfmot wraps models of
  Keras 2 only ("K2"), so that ours and tfmot's meet on the same tf_keras network, beside its plain twin.
update: all masks of one kernel of 31M weights, and of the U-Net of as many (Ronneberger et al. 2015), from the weights
  in their variables to the new mask and the masked weights in theirs. Ours includes the check that the last step kept
  the zeros.
memory: one process each, on the same U-Net: bytes in use by malloc (glibc's mallinfo2, which sees NumPy's and
  TensorFlow's), above those of the built model. held: after two updates. peak: the most, looked at every half
  millisecond.

A ratio is the median over the rounds, with the 95% interval of the median by bootstrap.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import argparse
import ctypes
import json
import subprocess
import sys
import time

import numpy as np
import tensorflow as tf

from benchmarks.peak import highest
from benchmarks.steps import NETWORKS, begin, compare_steps, compiled, make_step, plain_step, ratio_text
from segopt_callbacks import PolynomialDecay, PruningScheduleCallback, compat
from segopt_callbacks.compat import keras
from segopt_callbacks.model.weights import select_weights
from train_unet.unet import UNet

MIB = 2**20


# --- steps -----------------------------------------------------------------------------------------------------------


def schedule(frequency=100):
    return PolynomialDecay(0.5, 0.9, begin_step=0, end_step=10_000, frequency=frequency)


def pruned_step(network, library):
    model = compiled(network(library), library)
    callback = begin(PruningScheduleCallback(schedule()), model)
    return make_step(model, network, after=callback.on_train_batch_end)


def tfmot_step(network):
    import tf_keras
    from tensorflow_model_optimization.sparsity import keras as sparsity

    model = compiled(sparsity.prune_low_magnitude(network(tf_keras), pruning_schedule=schedule()), tf_keras)
    return make_step(model, network, before=begin(sparsity.UpdatePruningStep(), model).on_train_batch_begin)


def measure_steps(rounds):
    import tf_keras

    for network in NETWORKS:
        every = {
            "plain": plain_step(network, keras),
            "null": plain_step(network, keras),
            "ours": pruned_step(network, keras),
            "plain, K2": plain_step(network, tf_keras),
            "null, K2": plain_step(network, tf_keras),
            "ours, K2": pruned_step(network, tf_keras),
            "tfmot, K2": tfmot_step(network),
        }
        pairs = [("null", "plain"), ("ours", "plain")]
        pairs += [(f"{name}, K2", "plain, K2") for name in ("null", "ours", "tfmot")]
        compare_steps(network, every, [*pairs, ("ours, K2", "tfmot, K2")], rounds)


# --- updates ---------------------------------------------------------------------------------------------------------


def big_unet():
    model = UNet(2, base_filters=64, levels=5, upsampling="transposed")
    model.build((None, 128, 128, 3))
    model.compile("sgd", "mse")
    return model


def one_kernel():
    model = keras.Sequential([keras.Input((31_000,)), keras.layers.Dense(1_000, use_bias=False)])
    model.compile("sgd", "mse")
    return model


def rising(step):
    """A schedule that prunes a little more at every step."""
    return True, 0.5 + 0.001 * float(step)


def our_update(model):
    """Function that makes one update of all masks, as it happens at the end of a batch; the first is made here."""
    callback = begin(PruningScheduleCallback(rising), model)
    steps = iter(range(10**9))
    return lambda: callback.on_train_batch_end(next(steps))


def tfmot_update(model):
    """The same by tfmot's own code, compiled as in its training step; its variables are made here."""
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_impl

    weights = [compat.raw_variable(weight) for weight in select_weights(model).values()]
    variables = [(weight, tf.Variable(tf.ones_like(weight)), tf.Variable(0.0)) for weight in weights]
    step = tf.Variable(0, dtype=tf.int64)

    def sparsity(step):
        return tf.constant(True), 0.5 + 0.001 * tf.cast(step, tf.float32)

    pruning = pruning_impl.Pruning(lambda: step, variables, sparsity, (1, 1), "AVG")

    @tf.function
    def update():
        pruning.conditional_mask_update()
        pruning.weight_mask_op()
        step.assign_add(1)

    return update


def move(model):
    """What a training step does to the weights, constraints included: tfmot's pruned ones are not zero afterwards."""
    for weight in select_weights(model).values():
        moved = compat.raw_variable(weight) + tf.random.normal(weight.shape, stddev=1e-3)
        constraint = compat.get_constraint(weight)
        compat.assign(weight, constraint(moved) if constraint else moved)


def measure_updates(rounds):
    for make in (one_kernel, big_unet):
        measure_updates_of(make, rounds)


def measure_updates_of(make, rounds):
    model, reference = make(), make()
    reference.set_weights(model.get_weights())
    every = {"ours": (model, our_update(model)), "tfmot": (reference, tfmot_update(reference))}
    seconds = {name: [] for name in every}
    for _ in range(rounds):
        for name, (its_model, update) in every.items():
            move(its_model)
            start = time.perf_counter()
            update()
            seconds[name].append(time.perf_counter() - start)
    size = sum(int(np.prod(weight.shape)) for weight in select_weights(model).values())
    medians = ", ".join(f"{name} {np.median(values):.2f} s" for name, values in seconds.items())
    print(f"update: {make.__name__}, {size:,} weights, {rounds} rounds after the first of ours; {medians}")
    print(" ", ratio_text(seconds, "tfmot", "ours"), flush=True)


# --- memory ----------------------------------------------------------------------------------------------------------

PROBES = {"ours": our_update, "tfmot": tfmot_update}


class MallInfo(ctypes.Structure):
    """glibc's `struct mallinfo2`; blocks of their own mapping are in `hblkhd`, all others in `uordblks`."""

    _fields_ = (
        ("before", ctypes.c_size_t * 4),
        ("hblkhd", ctypes.c_size_t),
        ("between", ctypes.c_size_t * 2),
        ("uordblks", ctypes.c_size_t),
        ("after", ctypes.c_size_t * 2),
    )


def heap():
    """Function that returns the bytes which NumPy and TensorFlow have allocated; needs glibc 2.33."""
    mallinfo = ctypes.CDLL("libc.so.6").mallinfo2
    mallinfo.restype = MallInfo

    def in_use():
        information = mallinfo()
        return information.hblkhd + information.uordblks

    return in_use


def probe_memory(name):
    """In a process of its own: bytes held by the masks, and the most that was in use, above the built model."""
    in_use = heap()
    small = UNet(2, base_filters=8, levels=2)
    small.build((None, 16, 16, 3))
    small.compile("sgd", "mse")
    PROBES[name](small)()  # imports, compiled functions and pools of threads are not counted
    model = big_unet()
    before = in_use()
    with highest(in_use, 0.0005) as most:
        update = PROBES[name](model)
        for _ in range(2):
            update()
    kernels = [int(np.prod(weight.shape)) for weight in select_weights(model).values()]
    held, peak = in_use() - before, most[0] - before
    print(json.dumps({"weights": sum(kernels), "largest": max(kernels), "held": held, "peak": peak}))


def measure_memory(_rounds):
    try:
        heap()
    except (OSError, AttributeError):
        print("memory: not measured, needs glibc 2.33 or later (mallinfo2).")
        return
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"}  # oneDNN's allocator never gives a freed block back
    probes = {}
    for name in PROBES:
        command = [sys.executable, __file__, "--probe", name]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        probes[name] = json.loads(done.stdout.splitlines()[-1])
    weights, largest = probes["ours"]["weights"], probes["ours"]["largest"]
    print(f"memory: {weights:,} weights, {4 * weights / MIB:.1f} MiB; the largest {4 * largest / MIB:.1f} MiB. In MiB:")
    print(f"  {'':8}{'held':>8}{'in theory':>12}{'peak':>8}")
    for name, size in (("ours", 1), ("tfmot", 4)):
        one = probes[name]
        print(f"  {name:8}{one['held'] / MIB:8.1f}{size * weights / MIB:12.1f}{one['peak'] / MIB:8.1f}", flush=True)
    print("  in theory: a mask of one byte (ours) or one float32 (tfmot) for each weight")


MEASURES = {"steps": (measure_steps, 200), "update": (measure_updates, 5), "memory": (measure_memory, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=MEASURES, help="one of the three parts")
    parser.add_argument("--rounds", type=int, help="of each part; default: 200 steps, 5 updates")
    parser.add_argument("--probe", choices=PROBES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.probe:
        probe_memory(arguments.probe)
        return
    for name in [arguments.only] if arguments.only else MEASURES:
        measure, rounds = MEASURES[name]
        measure(arguments.rounds or rounds)


if __name__ == "__main__":
    main()
