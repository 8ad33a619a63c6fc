import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.export import export_model
from tests.export_models import DATA, built


def exported(folder):
    model = built()
    report = export_model(model, folder, ["saved_model"], evaluation_data=DATA, verbose=0)
    return model, report["formats"]["saved_model"]


def test_holds_each_weight_once_with_its_value(tmp_path):
    model, _ = exported(tmp_path)
    reader = tf.train.load_checkpoint(str(tmp_path / "saved_model/variables/variables"))
    keys = [key for key in reader.get_variable_to_shape_map() if key != "_CHECKPOINTABLE_OBJECT_GRAPH"]
    stored = sorted((reader.get_tensor(key) for key in keys), key=lambda value: (value.shape, value.sum()))
    held = sorted((compat.read(one) for one in model.weights), key=lambda value: (value.shape, value.sum()))
    assert len(stored) == len(held)
    for one, other in zip(stored, held, strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_keep_their_paths(tmp_path):
    model, entry = exported(tmp_path)
    paths = {compat.variable_path(one) for one in model.weights if len(one.shape) >= 2}
    assert {row["weight"] for row in entry["weights"]} == paths
