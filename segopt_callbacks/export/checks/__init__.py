"""Whether files answer as the model does, and how fast."""

from segopt_callbacks.export.checks import latency_figures
from segopt_callbacks.export.checks.disagreement import Disagreement
from segopt_callbacks.export.checks.latency import Latencies, Opened, begin_on_one_thread, is_timed, measure
from segopt_callbacks.export.checks.verify import MODEL, Remote, Verification, verify

__all__ = [
    "MODEL",
    "Disagreement",
    "Latencies",
    "Opened",
    "Remote",
    "Verification",
    "begin_on_one_thread",
    "is_timed",
    "latency_figures",
    "measure",
    "verify",
]
