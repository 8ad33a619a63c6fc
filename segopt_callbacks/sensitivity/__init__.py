"""Each weight treated alone."""

from segopt_callbacks.sensitivity.callback import SensitivityCallback
from segopt_callbacks.sensitivity.measuring import layer_sensitivity

__all__ = ["SensitivityCallback", "layer_sensitivity"]
