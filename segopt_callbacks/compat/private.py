"""What this package uses of the insides of TensorFlow and Keras, by name, and whether they are there.

No version promises any of it. Each name is looked up once, when `compat` is imported, so that a version without it is
refused at once, in words, and not in the middle of a training by an `AttributeError`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import types
from collections.abc import Iterator
from typing import Any

TESTED = {"tensorflow": ("2.16", "2.21"), "keras": ("3.3", "3.15"), "tf_keras": ("2.16", "2.21")}  # docs/versions.md
OLDEST = {"tensorflow": (2, 16), "keras": (3, 3), "tf_keras": (2, 16)}

# `module:name.name`; what follows a function is a variable of its code, or an attribute that its code names.
NAMES = {
    "tensorflow": (
        "tensorflow:Graph._get_function",
        "tensorflow:__internal__.autograph.control_status_ctx",
        "tensorflow:__internal__.autograph.tf_convert",
        "tensorflow.lite.python.convert_phase:ConverterError",
        "tensorflow.python.autograph.impl.api:autograph_artifact",
        "tensorflow.python.distribute.input_lib:DistributedDataset.__init__._cloned_datasets",
        "tensorflow.python.distribute.values:DistributedVariable.__init__._primary",
        "tensorflow.python.distribute.values:PerReplicaSpec.__init__._value_specs",
        "tensorflow.python.eager.context:Context.__init__._collective_ops_server_def",
        "tensorflow.python.eager.execute:must_record_gradient",
        "tensorflow.python.framework.op_def_library:_apply_op_helper",
        "tensorflow.python.ops.resource_variable_ops:BaseResourceVariable.__init__._constraint",
    ),
    "keras": (
        "keras:Model._flatten_layers",
        "keras:Model.compile._compile_metrics",
        "keras:Model.fit.epoch_iterator",
        "keras:layers.Layer.__init__._build_shapes_dict",
        "keras:layers.Layer.dtype_policy.fset._dtype_policy",
        "keras:optimizers.Optimizer._var_key",
        "keras:optimizers.Optimizer.build._model_variables_moving_average",
        "keras.src.backend.tensorflow.trainer:TFEpochIterator.__init__._distributed_dataset",
        "keras.src.dtype_policies.dtype_policy:DTypePolicy.__init__._variable_dtype",
        "keras.src.optimizers.base_optimizer:BaseOptimizer.__init__._trainable_variables",
        "keras.src.optimizers.base_optimizer:BaseOptimizer.__init__._trainable_variables_indices",
        "keras.src.models.sequential:Sequential.__init__._functional",
        "keras.src.ops.function:Function.__init__._inputs_struct",
        "keras.src.ops.function:Function.__init__._nodes_by_depth",
        "keras.src.ops.node:Node.__init__._keras_history",
        "keras.src.trainers.compile_utils:CompileMetrics.__init__._user_metrics",
        "keras.src.trainers.compile_utils:CompileMetrics.__init__._user_weighted_metrics",
    ),
    "tf_keras": (
        "tf_keras:Model._flatten_layers",
        "tf_keras:Model.compile._is_compiled",
        "tf_keras:Model.fit.data_handler",
        "tf_keras:callbacks.Callback._implements_predict_batch_hooks",
        "tf_keras:callbacks.Callback._implements_test_batch_hooks",
        "tf_keras:callbacks.Callback._implements_train_batch_hooks",
        "tf_keras:callbacks.Callback.__init__._chief_worker_only",
        "tf_keras:callbacks.Callback.__init__._supports_tf_logs",
        "tf_keras:callbacks.Callback.on_train_batch_end._is_default",
        "tf_keras:layers.Conv2D._jit_compiled_convolution_op",
        "tf_keras:layers.LSTM.__init__._could_use_gpu_kernel",
        "tf_keras:layers.Layer._inbound_nodes",
        "tf_keras:layers.Layer._outbound_nodes",
        "tf_keras:layers.Layer._set_dtype_policy",
        "tf_keras:layers.Layer._set_dtype_policy._dtype_policy",
        "tf_keras:layers.Layer._set_mask_metadata._keras_mask",
        "tf_keras:optimizers.Optimizer._build_index_dict._index_dict",
        "tf_keras:optimizers.Optimizer._var_key",
        "tf_keras:optimizers.Optimizer.build._model_variables_moving_average",
        "tf_keras:optimizers.Optimizer.iterations.fget._iterations",
        "tf_keras.src.engine.compile_utils:LossesContainer.__init__._total_loss_mean",
        "tf_keras.src.engine.compile_utils:MetricsContainer.__init__._user_metrics",
        "tf_keras.src.engine.compile_utils:MetricsContainer.__init__._user_weighted_metrics",
        "tf_keras.src.engine.data_adapter:DataHandler._configure_dataset_and_inferred_steps._dataset",
        "tf_keras.src.engine.data_adapter:DataHandler.__init__._initial_epoch",
        "tf_keras.src.engine.data_adapter:DataHandler.__init__._initial_step",
        "tf_keras.src.engine.functional:Functional._init_graph_network._is_graph_network",
        "tf_keras.src.engine.functional:Functional._init_graph_network._nested_inputs",
        "tf_keras.src.engine.functional:Functional._init_graph_network._nodes_by_depth",
        "tf_keras.src.engine.node:Node.__init__._keras_history",
        "tf_keras.src.mixed_precision.autocast_variable:AutoCastVariable.__init__._variable",
        "tf_keras.src.mixed_precision.autocast_variable:create_autocast_variable",
        "tf_keras.src.mixed_precision.policy:Policy.__init__._variable_dtype",
    ),
}


@functools.cache
def require(package: str) -> None:
    """Raises unless a package is new enough, and has every name that is used of its insides.

    Args:
        package: one of `NAMES`.

    Raises:
        ImportError: with its version, what it lacks, and the versions that were tested.
    """
    version = str(importlib.import_module(package).__version__)
    lacking = [path for path in NAMES[package] if not is_there(path)]
    is_too_old = tuple(int(number) for number in version.split(".")[:2]) < OLDEST[package]
    if lacking or is_too_old:
        lacks = f", without {', '.join(lacking)}" if lacking else ""
        tested = ", ".join(f"{name} {first} to {last}" for name, (first, last) in TESTED.items())
        raise ImportError(
            "TensorFlow and Keras must have the insides that segopt-callbacks uses; install versions that it is tested "
            f"with: {tested}. Received: {package} {version}{lacks}."
        )


def is_there(path: str) -> bool:
    """Whether a name of `NAMES` exists.

    Example:
        >>> is_there("json.encoder:JSONEncoder.__init__.sort_keys"), is_there("json.encoder:JSONEncoder.sorts")
        (True, False)
    """
    module, _, names = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except ImportError:
        return False
    for name in names.split("."):
        plain = inspect.unwrap(found) if callable(found) else found
        if isinstance(plain, types.FunctionType) and not hasattr(plain, name):
            return any(name in (*code.co_names, *code.co_varnames) for code in _codes(plain.__code__))
        if not hasattr(found, name):
            return False
        found = getattr(found, name)
    return True


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A function's code, and that of the functions in it."""
    yield code
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            yield from _codes(one)
