"""Pages about exports: `report.html`, and the command `segopt-report` that compares several. Imports no TensorFlow."""

from segopt_callbacks.pages.best import headline_of
from segopt_callbacks.pages.command import main
from segopt_callbacks.pages.figures import EXPLANATION, FIGURES, LATENCIES, RATIO, cell, three_digits
from segopt_callbacks.pages.files import write_whole
from segopt_callbacks.pages.gallery import kept_pictures
from segopt_callbacks.pages.notebook import notebook
from segopt_callbacks.pages.page import page
from segopt_callbacks.pages.palette import class_colours
from segopt_callbacks.pages.removed import parse_channels, removed_words

__all__ = [
    "EXPLANATION",
    "FIGURES",
    "LATENCIES",
    "RATIO",
    "cell",
    "class_colours",
    "headline_of",
    "kept_pictures",
    "main",
    "notebook",
    "page",
    "parse_channels",
    "removed_words",
    "three_digits",
    "write_whole",
]
