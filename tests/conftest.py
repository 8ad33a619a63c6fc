"""Seeds, a quiet TensorFlow, and what a test of a situation states."""

import gc
import math
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Most of a `jit_compile` fit of four steps went into making its code fast.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import pytest

# Neither Keras is in these, or both are, or a SavedModel of either is all the same to them: they run once. So do tests
# that are marked `either_keras`. tests/export/test_conformance.py has every format under both.
ONCE = (
    "test_commands.py",
    "test_docs.py",
    "test_package.py",
    "test_wheel.py",
    "board",
    "test_wrong_arguments.py",
    "arrays/test_tiles.py",
    "clustering/test_centroids.py",
    "clustering/test_initializations.py",
    "data/test_forms.py",
    "data/test_lint.py",
    "data/test_metrics.py",
    "distillation/test_losses.py",
    "channels/test_removal.py",
    "export/checks/test_verify.py",
    "export/ethos_u",
    "export/delivery/test_files.py",
    "export/delivery/test_metadata.py",
    "export/litert/test_ai_edge.py",
    "export/litert/test_converter.py",
    "export/litert/test_flatbuffer.py",
    "export/litert/test_sparse.py",
    "export/onnx",
    "export/openvino",
    "export/progress",
    "export/report",
    "export/tensorrt",
    "export/test_audit.py",
    "export/tflm",
    "export/tvm",
    "pages",
    "predict",
    "processes/test_interrupts.py",
    "processes/test_quiet.py",
    "pruning/test_masks.py",
    "pruning/test_patterns.py",
    "pruning/test_schedules.py",
    "pruning/test_stacks.py",
    "search/test_demand.py",
    "search/test_examples.py",
    "search/test_hparams.py",
    "search/test_processes.py",
    "search/test_rules.py",
    "search/test_search.py",
    "search/test_space.py",
    "sizes",
    "summaries/test_browser.py",
    "summaries/test_told.py",
    "train_unet/test_baselines.py",
    "train_unet/test_data.py",
    "train_unet/test_flags.py",
    "train_unet/test_tfds.py",
    "train_unet/test_tiles.py",
    "train_unet/test_machines.py",
    "train_unet/test_runs.py",
)
HERE = pathlib.Path(__file__).parent
IS_KERAS_2 = os.environ.get("TF_USE_LEGACY_KERAS") == "1"
collect_ignore = list(ONCE) if IS_KERAS_2 else []


# `--fast` leaves these out: they start processes, train for long, or write formats of other runtimes.
NOT_FAST = (
    "test_docs.py",
    "test_docs_of_keras_2.py",
    "test_package.py",
    "test_typing.py",
    "test_wheel.py",
    "clustering/test_centroids.py",
    "clustering/test_fine_tuning.py",
    "clustering/test_folding.py",
    "data/test_reservoir.py",
    "distillation/test_callback.py",
    "examples",
    "export/checks/test_latency.py",
    "export/delivery/test_faults.py",
    "export/delivery/test_metadata.py",
    "export/inference",
    "export/intake",
    "export/litert/test_ai_edge.py",
    "export/litert/test_converter.py",
    "export/litert/test_shared_scales.py",
    "export/litert/test_sparse.py",
    "export/onnx/test_converter.py",
    "export/onnx/test_int8.py",
    "export/openvino",
    "export/test_command.py",
    "export/test_conformance.py",
    "export/test_export.py",
    "export/test_float_fallback.py",
    "export/test_outputs.py",
    "export/test_promises.py",
    "export/test_warm.py",
    "export/tvm",
    "fit/test_at_target.py",
    "fit/test_averages.py",
    "fit/test_custom_loops.py",
    "fit/test_matrix.py",
    "fit/test_odd_models.py",
    "fit/test_resume.py",
    "fit/test_settings.py",
    "fit/test_strategy.py",
    "model/test_names.py",
    "model/test_input_signature.py",
    "model/test_precision.py",
    "predict/test_predict.py",
    "processes/test_process.py",
    "pruning/test_methods.py",
    "quantization/test_callback.py",
    "quantization/test_finite.py",
    "quantization/test_layers.py",
    "quantization/test_learned_ranges.py",
    "quantization/test_together.py",
    "search/test_processes.py",
    "search/test_search.py",
    "sensitivity",
    "sizes/test_hostile.py",
    "sizes/test_hostile_audit.py",
    "summaries",
    "train_unet/test_backup.py",
    "train_unet/test_tfds.py",
    "train_unet/test_train.py",
    "train_unet/test_unet.py",
    "warm",
)
# What `--fast` runs under Keras 2: every callback, and what reads models.
FAST_KERAS_2 = ("clustering/test_callback.py", "export/test_saved_model.py", "fit", "model")
FAST_SITUATIONS = ("subclassed_unbuilt", "functional")  # of fit/test_conformance.py


def pytest_addoption(parser):
    parser.addoption("--fast", action="store_true", help="what gives a verdict in three minutes; see tests/conftest.py")


def _is_below(path, names):
    return any(path == HERE / name or HERE / name in path.parents for name in names)


def pytest_ignore_collect(collection_path, config):
    if not config.getoption("--fast") or HERE not in collection_path.parents:
        return None
    if _is_below(collection_path, NOT_FAST):
        return True
    is_needed = collection_path.is_dir() or _is_below(collection_path, FAST_KERAS_2)
    return True if IS_KERAS_2 and not is_needed else None


def _is_fast(item):
    situation = getattr(item, "callspec", None) and item.callspec.params.get("situation")
    return situation is None or str(situation) in FAST_SITUATIONS


def pytest_collection_modifyitems(config, items):
    twice = [item for item in items if not (IS_KERAS_2 and item.get_closest_marker("either_keras"))]
    if config.getoption("--fast"):
        twice = [item for item in twice if _is_fast(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in twice])
    slow = {item.path for item in twice if item.get_closest_marker("slow")}
    # At the end they would keep one worker busy, and the others waiting.
    items[:] = sorted(twice, key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def _what_imports_have_made_is_no_garbage():
    """A third of the time of all tests went into looking through it again and again."""
    from segopt_callbacks.compat import keras  # noqa: F401

    gc.collect()
    gc.freeze()
    # Looking for garbage every 700 objects takes some 6% of all tracing.
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def _files_are_not_timed():
    """An export would take seconds longer; export/checks/test_latency.py has a budget of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("segopt_callbacks.export.checks.latency.BUDGET", 0.0)
        yield


@pytest.fixture(autouse=True)
def _seed():
    from segopt_callbacks.compat import keras

    keras.utils.set_random_seed(7)
    yield
    keras.backend.clear_session(**({} if IS_KERAS_2 else {"free_memory": False}))


@pytest.fixture
def clock(monkeypatch):
    """The time of a layer is what it multiplies."""

    def milliseconds(shapes):
        return [float(math.prod(one.kernel) * math.prod(one.makes[:2])) for one in shapes]

    monkeypatch.setattr("segopt_callbacks.pruning.timed._in_a_process", milliseconds)


@pytest.fixture
def outcome(request, record_property):
    """A function to call with what a test has shown; docs/situations.md must say the same."""
    from segopt_callbacks import compat
    from tests import situations

    def state(text):
        record_property("outcome", text)
        if "WRITE_SITUATIONS" not in os.environ:
            row = next(row for row in situations.ROWS if row.covers(request.node.nodeid))
            keras_3, keras_2 = situations.cells_on_page()[row.what]
            on_page = keras_2 if compat.is_keras_2(compat.keras.layers.ReLU()) else keras_3
            assert text in on_page, f"{row.what}: run `python docs/make_situations.py`"

    return state
