"""A built model, read."""

from segopt_callbacks.model import input_signature, signature
from segopt_callbacks.model.channels import Graph, Role, roles
from segopt_callbacks.model.input_signature import validate_input_signature
from segopt_callbacks.model.kernels import kernel_paths
from segopt_callbacks.model.names import input_names, output_names
from segopt_callbacks.model.reads import unread
from segopt_callbacks.model.signature import require_built, require_model
from segopt_callbacks.model.weights import (
    Filters,
    by_first_match,
    named_alone,
    read_finite,
    select_weights,
    validate_filters,
)

__all__ = [
    "Filters",
    "Graph",
    "Role",
    "by_first_match",
    "input_names",
    "input_signature",
    "kernel_paths",
    "named_alone",
    "output_names",
    "read_finite",
    "require_built",
    "require_model",
    "roles",
    "select_weights",
    "signature",
    "unread",
    "validate_filters",
    "validate_input_signature",
]
