"""Each weight treated alone."""

from segopt_callbacks.sensitivity.callback import SensitivityCallback, layer_sensitivity

__all__ = ["SensitivityCallback", "layer_sensitivity"]
