"""Flags of the training command, by topic; parsed without TensorFlow, so that a wrong one is told at once.

Only `train_unet/train.py` and `train_unet/parts.py` read the values; everything else takes plain arguments.
"""

from flags.command_line import define_all, help_text, parse
from flags.rules import FlagError
from flags.running import record, take_over
from flags.search import BOUNDS

__all__ = ["BOUNDS", "FlagError", "define_all", "help_text", "parse", "record", "take_over"]
