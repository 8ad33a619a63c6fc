"""What the command is given: a saved model and data, read such that neither can do harm."""

from segopt_callbacks.export.intake.data import read_data
from segopt_callbacks.export.intake.metrics import compile_with_metrics
from segopt_callbacks.export.intake.model import check_model, load_model
from segopt_callbacks.export.intake.own import import_own
from segopt_callbacks.export.intake.wrong import CommandError

__all__ = ["CommandError", "check_model", "compile_with_metrics", "import_own", "load_model", "read_data"]
