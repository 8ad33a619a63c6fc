"""Seeds, a quiet TensorFlow, and what a test of a situation states."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest

# Neither Keras is in these, or both are, or a SavedModel of either is all the same to them: they run once. So do tests
# that are marked `either_keras`. tests/export/test_conformance.py has every format under both.
ONCE = (
    "test_docs.py",
    "test_package.py",
    "test_wheel.py",
    "clustering/test_centroids.py",
    "clustering/test_initializations.py",
    "data/test_forms.py",
    "data/test_lint.py",
    "data/test_metrics.py",
    "export/checks/test_verify.py",
    "export/delivery/test_files.py",
    "export/delivery/test_metadata.py",
    "export/litert/test_ai_edge.py",
    "export/litert/test_converter.py",
    "export/litert/test_flatbuffer.py",
    "export/litert/test_sparse.py",
    "export/onnx",
    "export/openvino",
    "export/report",
    "export/tensorrt",
    "export/test_audit.py",
    "export/tvm",
    "pages",
    "processes/test_interrupts.py",
    "pruning/test_masks.py",
    "pruning/test_patterns.py",
    "pruning/test_schedules.py",
    "sizes",
    "summaries/test_browser.py",
    "train_unet/test_data.py",
    "train_unet/test_flags.py",
)
IS_KERAS_2 = os.environ.get("TF_USE_LEGACY_KERAS") == "1"
collect_ignore = list(ONCE) if IS_KERAS_2 else []


def pytest_collection_modifyitems(config, items):
    twice = [item for item in items if not (IS_KERAS_2 and item.get_closest_marker("either_keras"))]
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
