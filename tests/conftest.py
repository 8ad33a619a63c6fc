"""Seeds, a quiet TensorFlow, and what a test of a situation states."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest

# Neither Keras is in these, or both are, or a SavedModel of either is all the same to them: they run once. So do tests
# that are marked `either_keras`. test_export_conformance.py has every format under both.
ONCE = ("browser", "centroids", "data", "docs", "flags", "hostile", "hostile_audit", "masks", "package", "patterns")
ONCE += ("initializations", "report_comparison", "report_page", "schedules", "sizes", "wheel")
ONCE += tuple(
    f"export_{name}"
    for name in (
        "ai_edge",
        "audit",
        "data",
        "files",
        "flatbuffer",
        "interrupts",
        "lint",
        "litert",
        "metadata",
        "metrics",
        "onnx",
        "onnx_int8",
        "openvino",
        "pictures",
        "report",
        "sparse",
        "tensorrt",
        "tvm",
        "verify",
    )
)
IS_KERAS_2 = os.environ.get("TF_USE_LEGACY_KERAS") == "1"
collect_ignore = [f"test_{name}.py" for name in ONCE] if IS_KERAS_2 else []


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
    """An export would take seconds longer; test_export_latency.py has a budget of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("segopt_callbacks.export.latency.BUDGET", 0.0)
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
