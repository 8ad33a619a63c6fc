"""What training against rounding does not come to, told in words."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from segopt_callbacks.errors import listed


def warn_of_no_rounding(begin_step: int, step: int) -> None:
    """Warns if the fit has ended before anything was rounded."""
    if step <= begin_step and step > 0:
        warnings.warn(
            "Nothing was trained against rounding: begin earlier, or train longer. Received: "
            f"begin_step={begin_step}, in a fit of {step} steps.",
            stacklevel=3,
        )


def warn_of_unknown(operations: Sequence[str]) -> None:
    """Warns of operations that train in float, since nobody here knows their integer form."""
    if operations:
        warnings.warn(
            "These operations have no 8-bit form that is known here, and train in float. An integer file that has "
            f"them in float needs `float_fallback=True` or `allow_float`: {listed(operations)}.",
            stacklevel=3,
        )


def warn_of_unseen(names: Sequence[str]) -> None:
    """Warns of tensors without a range, behind kernels that might have learned to bear their rounding."""
    if names:
        warnings.warn(
            "Training must compute what inference does, to be trained against its rounding; see that `call` takes the "
            "same way with training=True. The int8 file finds these ranges in representative data. Received: no step "
            f"that has computed {listed(names)}.",
            stacklevel=3,
        )


def warn_of_no_learning(learn_step: int, step: int, freeze_at: float) -> None:
    """Warns that ranges are averages, though they were to be learned."""
    warnings.warn(
        "No range was learned, they are averages: learning must begin before `freeze_at`, and the model's train_step "
        "must take gradients; train for more steps, or lower `begin_step`. Received: learning from "
        f"step {learn_step} on, in a fit of {step}, freeze_at={freeze_at}.",
        stacklevel=3,
    )
