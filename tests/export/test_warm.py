"""The warm process of a fit: there when it is needed, and only then."""

import os
import time

import pytest

from segopt_callbacks import ExportQuantizedCallback, PolynomialDecay, PruningScheduleCallback
from segopt_callbacks.compat import keras
from segopt_callbacks.export.formats import TARGETS
from segopt_callbacks.export.openers import LIGHT, opener
from segopt_callbacks.processes import TensorFlowProcess, nursery
from tests.export_models import DATA, built, fitted

pytestmark = pytest.mark.skipif(not nursery.can_fork(), reason="nothing is forked here")


@pytest.fixture(autouse=True)
def _cold():
    close()
    yield
    close()


def close():
    TensorFlowProcess.close_spare()
    LIGHT.close()


def warm():
    """The numbers of the warm processes."""
    return [one.nursery and one.nursery.number for one in (TensorFlowProcess.stock, LIGHT)]


class Look(keras.callbacks.Callback):
    """Which warm processes there are at the first batch; then perhaps an error."""

    def __init__(self, error=None):
        super().__init__()
        self.error = error
        self.seen = None

    def on_train_batch_end(self, batch, logs=None):
        self.seen = warm()
        if self.error:
            raise self.error


def ends(pid):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_the_export_finds_what_training_has_warmed(tmp_path):
    look = Look()
    export = ExportQuantizedCallback(tmp_path, ("float32",), evaluation_data=DATA, verbose=0)
    fitted(built(), look, export)
    assert export.report["formats"]["float32"]["status"] == "ok"
    assert all(look.seen)
    assert warm() == look.seen
    assert TensorFlowProcess.stock.nursery.is_used
    assert LIGHT.nursery.is_used


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("mine")], ids=["interrupt", "error"])
def test_a_fit_that_is_interrupted_leaves_none(tmp_path, error):
    look = Look(error)
    with pytest.raises(type(error)):
        fitted(built(), look, ExportQuantizedCallback(tmp_path, ("float32",), evaluation_data=DATA, verbose=0))
    assert all(map(ends, look.seen))
    assert warm() == [None, None]


def test_without_an_export_there_is_none():
    look = Look()
    fitted(built(), look, PruningScheduleCallback(PolynomialDecay(0.0, 0.5, 0, 1)))
    assert look.seen == [None, None]


def test_a_file_is_opened_where_nothing_but_its_runtime_is_imported():
    with opener(TARGETS["int8"]) as process:
        limit = {"doing": "testing it", "time_limit": 60}
        imported = process.call(eval, "[*__import__('sys').modules]", **limit)
        assert process.call(os.getppid, **limit) == LIGHT.nursery.number
    assert {"numpy", "segopt_callbacks.export.formats"} <= set(imported)
    assert not {"tensorflow", "keras", "ai_edge_litert.interpreter", "onnxruntime", "openvino", "tvm"} & set(imported)
