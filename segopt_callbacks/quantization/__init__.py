"""Training against rounding, and ranges of activations."""

from segopt_callbacks.quantization.calibration import Calibration, validate_calibration
from segopt_callbacks.quantization.callback import QuantizationAwareTrainingCallback
from segopt_callbacks.quantization.fake_quant import quantized_weight
from segopt_callbacks.quantization.observing import observe
from segopt_callbacks.quantization.ranges import as_ranges
from segopt_callbacks.quantization.resolution import resolved_ranges
from segopt_callbacks.quantization.settings import checked_ranges
from segopt_callbacks.quantization.simulation import Simulation
from segopt_callbacks.quantization.sites import Sites, find_sites

__all__ = [
    "Calibration",
    "QuantizationAwareTrainingCallback",
    "Simulation",
    "Sites",
    "as_ranges",
    "checked_ranges",
    "find_sites",
    "observe",
    "quantized_weight",
    "resolved_ranges",
    "validate_calibration",
]
