"""What is most likely wrong about an argument is refused before any work: with the rule, the value and the remedy."""

import inspect
import math
import pathlib
import re

import numpy as np
import pytest

import segopt_callbacks
from segopt_callbacks.compat import keras

NAN = math.nan
MODEL = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="head")])
MODEL.compile("sgd", "mse", metrics=["mae"])
DATA = np.ones((4, 4), "float32"), np.ones((4, 2), "float32")
METRIC = keras.metrics.MeanSquaredError()

# What people write where something of a kind is asked for.
FRACTION = ["0.8", 80, 1.5, -0.1, NAN, None, [0.8], True]
WHOLE = ["16", 0.5, -1, NAN, None, [16], True]
NUMBER = ["1", -1, NAN, math.inf, None, [1.0], True]
FLAG = ["no", 2, None, NAN]
VERBOSE = ["auto", -1, None, NAN, [1]]
CHOICE = ["", 3, NAN, ["a"], int]
FILTERS = ["(", 3, [], MODEL.layers[0], [MODEL.layers[0]], keras.layers.Dense, MODEL]
METRICS = ["accuracy", ["accuracy"], [METRIC], {"mse": "mse"}, {"mse": keras.metrics.MeanSquaredError}, METRIC]
MODELS = ["model.keras", pathlib.Path("model.keras"), None, keras.Sequential, METRIC]
FOLDER = [None, 3, MODEL, "", b"files"]
EVALUATION = ["data.npz", pathlib.Path("data.npz"), 3, keras.Sequential, (), np.float32(1.0)]

EXPORT = {
    "export_dir": FOLDER,
    "formats": ["int_8", ["int8", "int8"], [], None, 8, [8], ["float32,int8"]],
    "representative_dataset": ["data.npz", 3, [np.ones((1, 4))], np.ones((4, 4))],
    "evaluation_data": EVALUATION,
    "metrics": METRICS,
    "metadata": ["classes.json", ["road"], {"a": object()}, {1: 2}],
    "baselines": [0.759, {"dense": 0.759}, {"int8": {"mIoU": 0.7}}, {"dense": {"mIoU": "0.7"}}, {"d": {"mIoU": NAN}}],
    "input_signature": ["float32", (1, 4), 3],
    "calibration": ["minmax", *CHOICE, None],
    "on_failure": ["warning", *CHOICE, None],
    "time_limit": [*NUMBER, 0],
    "latency": FLAG,
    "verbose": VERBOSE,
    "float_fallback": FLAG,
    "allow_float": [3, [3], [""], None],
    "sparse": [True, "yes", None, 0.5],
    "accelerator": ["ethos_u55_128", *CHOICE, None],
    "remove_channels": FLAG,
}
SENSITIVITY = {
    "evaluation_data": [*EVALUATION, None, DATA[0]],
    "metrics": METRICS,
    "monitor": [3, ["mse"]],
    "higher_is_better": ["yes", 2],
    "treatments": ["int_8", [], None, ["int8", "int8"], 8],
    "sparsity": [*FRACTION, 0, 1],
    "number_of_clusters": [*WHOLE, 1],
    "filters": FILTERS,
    "max_examples": ["10", 0, -1, 1.5, NAN, True],
    "batch_size": ["10", 0, -1, 1.5, NAN, True],
    "verbose": VERBOSE,
}
SHARING = {
    "number_of_clusters": [*WHOLE, 1, {}, {"(": 4}, {"a": "4"}, {3: 4}],
    "filters": FILTERS,
    "per_channel": ["yes", 0.5, None, NAN],
    "preserve_sparsity": FLAG,
    "initialization": ["optimum", *CHOICE, None],
    "fold_batch_norm": FLAG,
}
RAMP = {
    "final_sparsity": FRACTION,
    "initial_sparsity": FRACTION,
    "power": [*NUMBER, 0],
    "updates": [*WHOLE, 0],
}
BEGIN = ["100", 0.5, -1, NAN, None, [1], True]
# Name -> arguments that are right, and for each argument what is not.
TABLE = {
    "AtTargetSparsity": ((), {"callback": [None, "EarlyStopping", keras.callbacks.EarlyStopping, MODEL]}),
    "ClusterOnTrainEndCallback": ((), {**SHARING, "verbose": VERBOSE}),
    "ClusterScheduleCallback": (
        {"begin_step": 1},
        {**SHARING, "begin_step": BEGIN, "reassign_every": ["10", 0, -1, 0.5, NAN, True], "verbose": VERBOSE},
    ),
    "CompressionSummaries": ({"log_dir": "logs"}, {"log_dir": FOLDER, "update_freq": ["batch", 0, -1, 0.5, None, NAN]}),
    "DistillationCallback": (
        (),
        {
            "teacher": ["model.keras", 3, keras.Sequential],
            "temperature": [*NUMBER, 0],
            "weight": [*FRACTION, 0],
            "outputs": ["logit", *CHOICE, None, [None]],
        },
    ),
    "ExportQuantizedCallback": ({"export_dir": "files"}, EXPORT),
    "PruningScheduleCallback": (
        {"schedule": 0.5},
        {
            "schedule": [*FRACTION, 1, {}, {"(": 0.5}, {"head": 80}, keras.optimizers.schedules.CosineDecay],
            "filters": FILTERS,
            "pattern": ["channel", segopt_callbacks.channel, 4, (1, 4)],
            "scope": ["gobal", *CHOICE, None],
            "distribution": ["ekr", *CHOICE, None],
            "criterion": ["magnitud", *CHOICE, None],
            "regrow": ["gradients", *CHOICE, True],
            "verbose": VERBOSE,
        },
    ),
    "QuantizationAwareTrainingCallback": (
        (),
        {
            "filters": FILTERS,
            "begin_step": BEGIN,
            "num_bits": ["8", 16, 8.5, None, NAN, True],
            "learn_ranges": FLAG,
            "freeze_at": FRACTION,
            "ranges": ["ranges.json", [(0.0, 1.0)], {"a": 1.0}, {"a": (1.0, 0.0)}, {"a": (0.0, NAN)}],
            "verbose": VERBOSE,
        },
    ),
    "ReestimateBatchNormCallback": (
        {"data": DATA[0]},
        {"data": [None, "data.npz", 3], "batches": ["10", 0, -1, 0.5, NAN, True]},
    ),
    "SensitivityCallback": ({"evaluation_data": DATA}, {**SENSITIVITY, "log_dir": FOLDER[1:]}),
    "block": (
        {"rows": 2, "columns": 2},
        {"rows": [*WHOLE, 0], "columns": [*WHOLE, 0], "pooling": ["mean", *CHOICE, None]},
    ),
    "channel": ((), {"multiple": [*WHOLE, 0]}),
    "cluster_model": ({"model": MODEL}, {"model": MODELS, **SHARING}),
    "export_model": (
        {"model": MODEL, "export_dir": "files", "formats": "float32"},
        {
            "model": MODELS,
            **EXPORT,
            "ranges": ["ranges.json", [(0.0, 1.0)], {"a": 1.0}, {"a": (1.0, 0.0)}],
            "sensitivity": ["report.json", {}, 3],
        },
    ),
    "layer_sensitivity": ({"model": MODEL, "evaluation_data": DATA}, {"model": MODELS, **SENSITIVITY}),
    "n_of_m": ((), {"n": [*WHOLE, 0, 4], "m": [*WHOLE, 0, 1]}),
    "ramp_by_epoch": (
        {"final_sparsity": 0.8, "begin": 0, "end": 2},
        {**RAMP, "begin": [*NUMBER, 2], "end": [*NUMBER, 0]},
    ),
    "ramp_by_fraction": ({"final_sparsity": 0.8}, {**RAMP, "begin": [*FRACTION, 0.6], "end": [*FRACTION, 0]}),
    "read_metadata": ((), {"path": [None, 3, MODEL]}),
    "recipe": (
        {"export_dir": "files"},
        {
            "goal": ["smalest", *CHOICE, None],
            "export_dir": FOLDER[1:],
            "evaluation_data": EVALUATION,
            "metrics": METRICS,
            "verbose": VERBOSE,
            "sparsity": ["0.8", 80, 1.5, -0.1, NAN, [0.8], True],
            "kept": [*FRACTION, 0],
            "prune_begin": FRACTION,
            "num_bits": ["8", 16, NAN],
            "in_pairs": FLAG,
            "in_channels": FLAG,
            "formats": EXPORT["formats"],
            "latencies": [True],
        },
    ),
    "reestimate_batch_norm": (
        {"model": MODEL, "data": DATA[0]},
        {"model": MODELS, "data": [None, "data.npz", 3], "batches": ["10", 0, -1, 0.5, NAN, True]},
    ),
    "search_compression": (
        {"build_model": lambda: MODEL, "data": {"train": DATA, "val": DATA}, "epochs": 1, "max_bytes": 1000},
        {
            "build_model": ["model.py", None, MODEL],
            "data": [None, "data.npz", DATA, {"train": DATA}, {"train": DATA, "val": "data.npz"}],
            "epochs": [*WHOLE, 0],
            "max_bytes": ["40 kB", 0, -1, 0.5, NAN, [1], True],
            "max_latency_ms": ["1", 0, -1, NAN, [1], True],
            "min_metric": ["0.7", NAN, [1], True],
            "max_metric_loss": ["0.1", -1, NAN, [1], True],
            "trials": [*WHOLE, 0],
            "storage": [3, MODEL],
            "output_dir": FOLDER,
            "metrics": METRICS,
            "monitor": [3, ["mse"]],
            "higher_is_better": ["yes", 2],
            "space": ["wide", ["sparsity"], {"sparsities": [0.8]}, {"sparsity": [80]}],
            "batch_size": ["10", 0, -1, 1.5, NAN, True],
            "callbacks": ["EarlyStopping", 3, [keras.callbacks.EarlyStopping], ["x"]],
            "seed": ["1", 0.5, NAN, None, True],
            "stale_after": [*WHOLE, 0],
            "verbose": VERBOSE,
        },
    ),
    "shrink_model": ({"model": MODEL}, {"model": MODELS, "verbose": VERBOSE}),
    "step_by_fraction": ((), {"fraction": FRACTION}),
}
THEIRS = {"ConstantSparsity", "PolynomialDecay"}  # tfmot's own classes


def called(name, **given):
    right = dict(TABLE[name][0])
    return getattr(segopt_callbacks, name)(**{**right, **given})


def what_is_wrong_with(name, argument, value):
    """What the refusal lacks, or that there is none; empty where all is well."""
    try:
        called(name, **{argument: value})
    except ValueError as error:
        told = str(error)
    except Exception as error:
        return f"raises {type(error).__name__}: {error}"
    else:
        return "is taken"
    is_whole = re.search(rf"\b{argument}\b", told) and "Received: " in told and re.search(r"\b(must|takes)\b", told)
    return "" if is_whole else f"says {told!r}"


def test_every_argument_of_every_public_name_is_in_the_table():
    assert TABLE.keys() | THEIRS == set(segopt_callbacks.__all__)
    for name, (_, arguments) in TABLE.items():
        taken = inspect.signature(getattr(segopt_callbacks, name)).parameters
        named = {one for one, kind in taken.items() if kind.kind is not inspect.Parameter.VAR_KEYWORD}
        assert named <= arguments.keys(), name


@pytest.mark.parametrize("name", TABLE)
def test_a_wrong_argument_is_refused_with_its_name_rule_and_value(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    wrong = {
        f"{argument}={value!r:.60}": told
        for argument, values in TABLE[name][1].items()
        for value in values
        if (told := what_is_wrong_with(name, argument, value))
    }
    assert wrong == {}
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().out == ""


# What is meant is named where it can be told.
MEANT = [
    ("ExportQuantizedCallback", {"formats": ["int_8"]}, "'int8'"),
    ("ExportQuantizedCallback", {"calibration": "minmax"}, "'min_max'"),
    ("ExportQuantizedCallback", {"accelerator": "ethos_u55_128"}, "'ethos-u55-128'"),
    ("ExportQuantizedCallback", {"on_failure": "warning"}, "'warn'"),
    ("PruningScheduleCallback", {"schedule": 80}, "0.8"),
    ("PruningScheduleCallback", {"distribution": "ekr"}, "'erk'"),
    ("PruningScheduleCallback", {"scope": "Global"}, "'global'"),
    ("PruningScheduleCallback", {"filters": MODEL.layers[0]}, "'head', its name"),
    ("QuantizationAwareTrainingCallback", {"begin_step": 0.5}, "step_by_fraction(0.5)"),
    ("QuantizationAwareTrainingCallback", {"freeze_at": 80}, "0.8"),
    ("ClusterOnTrainEndCallback", {"initialization": "linear"}, "'LINEAR'"),
    ("DistillationCallback", {"outputs": "logit"}, "'logits'"),
    ("SensitivityCallback", {"treatments": "int_8"}, "'int8'"),
    ("SensitivityCallback", {"metrics": {"mse": METRIC}, "monitor": "MSE"}, "'mse'"),
    ("block", {"pooling": "averge"}, "'average'"),
    ("ramp_by_fraction", {"final_sparsity": "80%"}, "0.8"),
    ("ramp_by_fraction", {"begin": 1, "end": 3}, "ramp_by_epoch"),
    ("recipe", {"goal": "smalest"}, "'smallest'"),
    ("recipe", {"sparcity": 0.8}, "'sparsity'"),
    ("search_compression", {"space": {"sparsities": [0.8]}}, "'sparsity'"),
]


@pytest.mark.parametrize(("name", "given", "meant"), MEANT, ids=[f"{one[0]}-{one[2]}" for one in MEANT])
def test_what_was_meant_is_told(name, given, meant):
    with pytest.raises(ValueError, match=re.escape(f" Did you mean {meant}? Received: ")):
        called(name, **given)


def test_an_argument_that_a_callback_does_not_have_is_told_the_right_one():
    with pytest.raises(TypeError, match=r"takes `export_dir`, .* Did you mean 'formats'\? Received: format=\.\.\."):
        called("ExportQuantizedCallback", format="int8")


@pytest.mark.parametrize("name", ["CompressionSummaries", "SensitivityCallback", "search_compression"])
def test_a_file_is_no_folder(name, tmp_path):
    (tmp_path / "model.keras").touch()
    argument = "log_dir" if "log_dir" in TABLE[name][1] else "output_dir"
    with pytest.raises(
        ValueError, match=rf"`{argument}` must be the path of a folder.*; a file is there: name another"
    ):
        called(name, **{argument: tmp_path / "model.keras"})


def test_numbers_of_numpy_are_numbers():
    ramp = segopt_callbacks.ramp_by_epoch(np.float32(0.5), np.int64(0), np.int64(2), updates=np.int64(3))
    assert ramp.in_steps(steps_per_epoch=4, epochs=2)(8) == (True, 0.5)
    assert called("QuantizationAwareTrainingCallback", num_bits=np.int64(4), freeze_at=np.float32(1)).num_bits == 4
    assert called("ExportQuantizedCallback", time_limit=np.float32(5)).time_limit == 5
