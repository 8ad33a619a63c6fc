"""Pages about exports: `report.html`, and the command `segopt-report` that compares several. Imports no TensorFlow."""

from segopt_callbacks.pages.command import main

__all__ = ["main"]
