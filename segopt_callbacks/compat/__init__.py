"""Every difference between Keras 2 and Keras 3, and every private name of a framework: nowhere else.

`keras` is `tf.keras` as the user's process resolves it: Keras 3, or `tf_keras` with `TF_USE_LEGACY_KERAS=1`.
The library reads `keras` for its base classes only; whether a *model* is of Keras 2 or 3 is asked of the model.
"""

from segopt_callbacks.compat.callbacks import (
    HOOKS_OF_CALLBACKS,
    Callback,
    after_callbacks,
    running_callbacks,
    take_after,
)
from segopt_callbacks.compat.fitting import (
    batch_inputs,
    before_first_step,
    drop_inference_functions,
    drop_train_function,
    remake_train_function,
    watch_training_data,
)
from segopt_callbacks.compat.inference import (
    captured_resources,
    converter_errors,
    function_inputs,
    function_kinds,
    infer,
    inference_graph,
)
from segopt_callbacks.compat.kerases import (
    is_keras_2,
    keras,
    number_of_workers,
    require_one_process,
    require_tensorflow_backend,
)
from segopt_callbacks.compat.models import (
    all_layers,
    batch_norms,
    build_from_inputs,
    given_names,
    has_weights,
    is_built,
    is_compiled,
    model_input_specs,
    runs_eagerly,
)
from segopt_callbacks.compat.operations import (
    around_call,
    around_method,
    current_scope,
    freeze_statistics,
    functions_of_their_own,
    unfuse,
    watched_operations,
)
from segopt_callbacks.compat.optimizers import averages_of, iterations, watch_gradients
from segopt_callbacks.compat.precision import float32_compute
from segopt_callbacks.compat.strategies import is_chief, number_of_replicas, strategy_scope
from segopt_callbacks.compat.tensorboard import histogram_metadata
from segopt_callbacks.compat.tfmot import importing_tfmot, tfmot_centroids, without_wrappers
from segopt_callbacks.compat.variables import (
    Constraint,
    Variable,
    as_constraint,
    assign,
    get_constraint,
    handle_of,
    identity,
    raw_variable,
    read,
    read_statistic,
    set_constraint,
    variable_path,
)

__all__ = [
    "HOOKS_OF_CALLBACKS",
    "Callback",
    "Constraint",
    "Variable",
    "after_callbacks",
    "all_layers",
    "around_call",
    "around_method",
    "as_constraint",
    "assign",
    "averages_of",
    "batch_inputs",
    "batch_norms",
    "before_first_step",
    "build_from_inputs",
    "captured_resources",
    "converter_errors",
    "current_scope",
    "drop_inference_functions",
    "drop_train_function",
    "float32_compute",
    "freeze_statistics",
    "function_inputs",
    "function_kinds",
    "functions_of_their_own",
    "get_constraint",
    "given_names",
    "handle_of",
    "has_weights",
    "histogram_metadata",
    "identity",
    "importing_tfmot",
    "infer",
    "inference_graph",
    "is_built",
    "is_chief",
    "is_compiled",
    "is_keras_2",
    "iterations",
    "keras",
    "model_input_specs",
    "number_of_replicas",
    "number_of_workers",
    "raw_variable",
    "read",
    "read_statistic",
    "remake_train_function",
    "require_one_process",
    "require_tensorflow_backend",
    "running_callbacks",
    "runs_eagerly",
    "set_constraint",
    "strategy_scope",
    "take_after",
    "tfmot_centroids",
    "unfuse",
    "variable_path",
    "watch_gradients",
    "watch_training_data",
    "watched_operations",
    "without_wrappers",
]
