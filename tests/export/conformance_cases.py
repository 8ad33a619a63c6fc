"""Every kind of model that is exported into every format, tiny; docs/conformance.md has a row for each."""

from __future__ import annotations

import functools
import importlib.util
import re
import tempfile
import typing
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.compat import keras
from segopt_callbacks.export import Report
from tests.export_models import Segmenter

IMAGES = np.random.default_rng(0).integers(0, 256, size=(4, 8, 8, 3), dtype=np.uint8)
FLOATS = (IMAGES / 255).astype("float32")
STEPS = np.random.default_rng(1).uniform(size=(4, 5, 3)).astype("float32")
WORDS = np.random.default_rng(2).integers(0, 12, size=(4, 5)).astype("int32")
IS_KERAS_2 = compat.is_keras_2(keras.layers.ReLU())
Made = tuple[Any, Any]  # a model, and what it is fed


def normalized(model: Any) -> Any:
    """The model with moving averages that are not the initial ones."""
    random = np.random.default_rng(3)
    for weight in model.weights:
        if any(part in compat.variable_path(weight) for part in ("moving", "gamma", "beta")):
            compat.assign(weight, random.uniform(0.5, 1.5, weight.shape))
    return model


def subclassed(policy: str = "float32") -> Made:
    model = Segmenter(dtype=policy)
    model(IMAGES[:1])
    return normalized(model), IMAGES


def mixed(policy: str) -> Made:
    before = keras.mixed_precision.global_policy() if IS_KERAS_2 else keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_global_policy(policy)
    try:
        return subclassed(policy)
    finally:
        keras.mixed_precision.set_global_policy(before)


def layers(hidden: Any) -> Any:
    hidden = keras.layers.Conv2D(8, 3, padding="same", use_bias=False, name="first")(hidden)
    hidden = keras.layers.ReLU()(keras.layers.BatchNormalization()(hidden))
    return keras.layers.Conv2D(3, 1, name="head")(hidden)


def functional() -> Made:
    inputs = keras.Input((8, 8, 3))
    return normalized(keras.Model(inputs, layers(inputs))), FLOATS


def open_sizes() -> Made:
    inputs = keras.Input((None, None, 3))
    return normalized(keras.Model(inputs, layers(inputs))), FLOATS


def several() -> Made:
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((5,), name="right")
    image = keras.layers.Conv2D(8, 3, activation="relu")(left)
    vector = keras.layers.Concatenate()([keras.layers.GlobalAveragePooling2D()(image), right])
    outputs = [keras.layers.Conv2D(3, 1)(image), keras.layers.Dense(2)(vector), keras.layers.Dense(4)(vector)]
    return keras.Model([left, right], outputs), (FLOATS, STEPS[:, :, 0])


def dictionaries() -> Made:
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    both = keras.layers.Concatenate()([left, right])
    outputs = {"second": keras.layers.Conv2D(2, 1)(both), "first": keras.layers.Conv2D(3, 3)(left)}
    return keras.Model({"left": left, "right": right}, outputs), {"left": FLOATS, "right": FLOATS[::-1]}


def recurrent() -> Made:
    return keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(4), keras.layers.Dense(2)]), STEPS


def words() -> Made:
    inputs = keras.Input((5,), dtype="int32")
    hidden = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(12, 4)(inputs))
    return keras.Model(inputs, keras.layers.Dense(2)(hidden)), WORDS


class Reading(keras.Model):
    """Takes text."""

    def __init__(self) -> None:
        super().__init__()
        self.head = keras.layers.Dense(2)

    def call(self, inputs):
        buckets = tf.strings.to_hash_bucket_fast(inputs, 8)
        return self.head(tf.one_hot(buckets, 8))


def strings() -> Made:
    texts, model = np.array(["road", "river", "wood", "field"]), Reading()
    model(tf.constant(texts[:1]))
    return model, texts


def restored(suffix: str) -> Made:
    model, x = functional()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{suffix}"
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "You are saving your model as an HDF5 file")
            model.save(str(path))
        return keras.models.load_model(str(path)), x


def wrapped(how: str) -> Made:
    """A model that tfmot has wrapped, which takes those of Keras 2 only."""
    with compat.importing_tfmot():
        import tensorflow_model_optimization as tfmot
    model, x = functional()
    callbacks = []
    if how == "pruned":
        schedule = tfmot.sparsity.keras.ConstantSparsity(0.5, begin_step=0, frequency=1)
        model = tfmot.sparsity.keras.prune_low_magnitude(model, pruning_schedule=schedule)
        callbacks = [tfmot.sparsity.keras.UpdatePruningStep()]
    elif how == "clustered":
        start = tfmot.clustering.keras.CentroidInitialization.LINEAR
        model = tfmot.clustering.keras.cluster_weights(model, number_of_clusters=4, cluster_centroids_init=start)
    else:
        model = tfmot.quantization.keras.quantize_model(model)
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((len(x), 8, 8, 3)), verbose=0, callbacks=callbacks)
    return model, x


MODELS: dict[str, Callable[[], Made]] = {
    "subclassed": subclassed,
    "functional": functional,
    "several inputs, several outputs of unlike shapes": several,
    "inputs and outputs in dictionaries": dictionaries,
    "`mixed_float16`": functools.partial(mixed, "mixed_float16"),
    "`mixed_bfloat16`": functools.partial(mixed, "mixed_bfloat16"),
    "height and width `None`": open_sizes,
    "restored from `.keras`": functools.partial(restored, ".keras"),
    "restored from `.h5`": functools.partial(restored, ".h5"),
    "LSTM": recurrent,
    "integers into an `Embedding`": words,
    "strings": strings,
}
WRAPPED = {f"wrapped by tfmot: {how}": functools.partial(wrapped, how) for how in ("pruned", "clustered", "quantized")}
if IS_KERAS_2:  # tfmot takes no others
    MODELS |= WRAPPED

# --- what becomes of them, and the page that says so -----------------------------------------------------------------

MIRRORED = "trained on two replicas of `MirroredStrategy`"
PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
BEGIN, END = "<!-- made by make_conformance.py -->\n", "<!-- end -->\n"
NOTES = "| number | why not |"
YES, ELSEWHERE = "yes", "-"  # delivered, and near; not a model of this Keras
FAR = (
    "delivered, but further from the model than rounding should be; look at the report's differences before you use it"
)
Outcomes = dict[str, str]  # format -> YES, or why not
# What rounding costs these tiny models, as a fraction of their largest answer; measured: half of it at the most.
LARGEST = {"float16": 0.01, "int4": 0.4}  # a bfloat16 model itself rounds to 0.005
OTHERS = 0.05
TFMOT_STEP = 0.1  # files of models that tfmot quantizes may be one step of its 8 bits away


def formats() -> list[str]:
    """Every format whose packages are installed; `tflm_lut` is `tflm_int8` with tables, which none of them can have."""
    from segopt_callbacks.export.formats import TARGETS

    wanted = {name: target for name, target in TARGETS.items() if name != "tflm_lut"}
    return [name for name, target in wanted.items() if all(map(importlib.util.find_spec, target.requires))]


def exported(model: Any, x: Any, **options: Any) -> dict[str, dict[str, Any]]:
    """The report's entries of all formats; `options` are further ones of `export_model`."""
    from segopt_callbacks import export_model

    data = tf.data.Dataset.from_tensor_slices((x, np.zeros((len(tf.nest.flatten(x)[0]), 1)))).batch(2)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = export_model(
            model, folder, formats(), evaluation_data=data, on_failure="warn", latency=False, verbose=0, **options
        )
    assert untyped(report, Report) == []
    return report["formats"]


def untyped(value: Any, kind: Any, where: str = "report") -> list[str]:
    """Keys of a report that its type does not know."""
    if typing.is_typeddict(kind):
        kinds = typing.get_type_hints(kind)
        unknown = [f"{where}[{key!r}]" for key in value.keys() - kinds.keys()]
        return unknown + [one for key in value.keys() & kinds.keys() for one in untyped(value[key], kinds[key], key)]
    inner = [one for one in typing.get_args(kind) if typing.is_typeddict(one)]
    members = value.values() if isinstance(value, dict) else value
    return [one for member in members for one in untyped(member, inner[0], where)] if inner else []


def outcomes(what: str, entries: dict[str, dict[str, Any]]) -> Outcomes:
    """What the page says of a model's entries: without names and figures of the day."""
    others = TFMOT_STEP if what == "wrapped by tfmot: quantized" else OTHERS
    found = {}
    for name, entry in entries.items():
        if entry["status"] != "ok":
            found[name] = plain(entry["error"])
        else:
            limit = max(others, LARGEST.get(name, 0)) if others is TFMOT_STEP else LARGEST.get(name, others)
            found[name] = YES if entry["relative_difference"] < limit else FAR
    return found


def plain(why: str) -> str:
    """A cause without the names of layers, and figures.

    Example:
        >>> plain("operations compute in float32: Gemm (net_1/MatMul_12:0); leave it out; it printed last: x")
        'operations compute in float32: Gemm; leave it out'
    """
    why = re.sub(r"; it printed last: .*", "", why)
    why = re.sub(r" Failed operations detailed log: .*", "", why)
    why = re.sub(r" \(\S*/[^()]*\)| \([A-Za-z]+_+\d+(:\d+)?\)", "", why)
    why = re.sub(r": [\w/]+/[\w/]+(, [\w/]+/[\w/]+)*;", ";", why)
    why = re.sub(r" by [\d.e-]+ of", " by more than 1% of", why)
    return re.sub(r"(, more than rounding explains) \([\d.]+\)", r"\1", why)


def tables(found: dict[str, tuple[Outcomes, Outcomes]]) -> str:
    """The page's tables, Keras 3 and Keras 2.

    Args:
        found: model -> what becomes of it under each Keras; empty where it is none of that.
    """
    parts = []
    for index, heading in enumerate(("Keras 3", "Keras 2 (`tf_keras`)")):
        rows = {what: both[index] for what, both in found.items()}
        columns = list(dict.fromkeys(name for row in rows.values() for name in row))
        whys = list(dict.fromkeys(why for row in rows.values() for why in row.values() if why != YES))
        cells = [[_cell(row.get(name), whys) for name in columns] for row in rows.values()]
        lines = [f"| {what} | {' | '.join(row)} |" for what, row in zip(rows, cells, strict=True)]
        head = [f"| | {' | '.join(f'`{name}`' for name in columns)} |", f"|---{'|---' * len(columns)}|"]
        notes = [f"| {number} | {why} |" for number, why in enumerate(whys, 1)]
        parts += [f"## {heading}\n", *head, *lines, "", NOTES, "|---:|---|", *notes, ""]
    return "\n".join(parts)


def on_page(is_keras_2: bool) -> dict[str, Outcomes]:
    """What the page says under one Keras: model -> outcomes."""
    text = PAGE.read_text().split(BEGIN)[1].split(END)[0].split("\n## ")[1 + is_keras_2]
    table, _, notes = text.partition(NOTES)
    whys = dict(re.findall(r"^\| (\d+) \| (.*) \|$", notes, re.MULTILINE))
    head, _, *lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    columns = [name.strip("`") for name in head]
    rows = {what: dict(zip(columns, cells, strict=True)) for what, *cells in lines}
    return {what: {name: whys.get(cell, cell) for name, cell in row.items()} for what, row in rows.items()}


def _cell(outcome: str | None, whys: list[str]) -> str:
    if outcome is None:
        return ELSEWHERE
    return outcome if outcome == YES else str(whys.index(outcome) + 1)
