"""What an export tells while it works."""

from segopt_callbacks.export.progress.pace import LOOK, TELL, Pace, Shares
from segopt_callbacks.export.progress.progress import Bar, Lines, Progress, telling

__all__ = ["LOOK", "TELL", "Bar", "Lines", "Pace", "Progress", "Shares", "telling"]
