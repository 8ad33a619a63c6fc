"""Ethos-U: `.tflite` files that Vela has compiled for Arm's NPUs."""

from segopt_callbacks.export.ethos_u.accelerators import ACCELERATORS, DEFAULT, validate_accelerator
from segopt_callbacks.export.ethos_u.compiler import TARGET

__all__ = ["ACCELERATORS", "DEFAULT", "TARGET", "validate_accelerator"]
