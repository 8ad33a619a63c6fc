"""What an export tells while it works."""

from segopt_callbacks.export.progress.pace import LOOK, TELL, Shares
from segopt_callbacks.export.progress.progress import Progress, telling

__all__ = ["LOOK", "TELL", "Progress", "Shares", "telling"]
