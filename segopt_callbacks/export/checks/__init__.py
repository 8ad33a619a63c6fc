"""Whether files answer as the model does, and how fast."""

from segopt_callbacks.export.checks import latency_figures
from segopt_callbacks.export.checks.disagreement import Disagreement
from segopt_callbacks.export.checks.judgement import judge
from segopt_callbacks.export.checks.latency import Latencies, Opened, begin_on_one_thread, is_timed, measure
from segopt_callbacks.export.checks.nature import Nature, nature
from segopt_callbacks.export.checks.running import Remote
from segopt_callbacks.export.checks.verify import MODEL, Verification, draw, verify

__all__ = [
    "MODEL",
    "Disagreement",
    "Latencies",
    "Nature",
    "Opened",
    "Remote",
    "Verification",
    "begin_on_one_thread",
    "draw",
    "is_timed",
    "judge",
    "latency_figures",
    "measure",
    "nature",
    "verify",
]
