"""By which metric a model is judged."""

from __future__ import annotations

import re
from collections.abc import Sequence

from segopt_callbacks.rules import did_you_mean

# Names of metrics that tell which way is better; what is in neither, or in both, must be told.
_LOWER = re.compile(r"loss|error|mse|mae|mape|msle|cross_?entropy|divergence|perplexity|hinge|cosh|poisson|false_")
_HIGHER = re.compile(r"acc|iou|auc|precision|recall|f1|f_?beta|dice|score|similarity|r2|psnr|ssim|true_|specificity")


def validate_monitor(monitor: object, higher_is_better: object) -> None:
    """Checks what is said of a metric before there is any.

    Raises:
        ValueError: for what is no name, or says neither yes nor no.

    >>> validate_monitor("mIoU", None)
    """
    if monitor is not None and not isinstance(monitor, str):
        raise ValueError(f"`monitor` must be the name of a metric, or None. Received: monitor={monitor!r}.")
    if higher_is_better is not None and not isinstance(higher_is_better, bool):
        raise ValueError(
            f"`higher_is_better` must be True, False or None. Received: higher_is_better={higher_is_better!r}."
        )


def choose_monitor(names: Sequence[str], monitor: str | None, higher_is_better: bool | None) -> tuple[str, bool]:
    """By which metric weights are judged, and whether more of it is better.

    Args:
        names: of the metrics.
        monitor: one of them; `None` for the only one that is no loss, or the loss where there is no other.
        higher_is_better: `None` to tell by the name.

    Raises:
        ValueError: if that does not say which metric, or which way.

    >>> choose_monitor(["loss", "mIoU"], None, None), choose_monitor(["loss"], None, None)
    (('mIoU', True), ('loss', False))
    """
    if monitor is None:
        others = [name for name in names if not name.endswith("loss")]
        candidates = others or [name for name in names if name == "loss"] or list(names)
        if len(candidates) != 1:
            raise ValueError(
                "`monitor` must say by which metric weights are judged, as there are several; pass its name. "
                f"Received: monitor=None, and {', '.join(names)}."
            )
        (monitor,) = candidates
    if monitor not in names:
        raise ValueError(
            f"`monitor` must be the name of a metric that is one number: {', '.join(names)}."
            f"{did_you_mean(monitor, names)} Received: monitor={monitor!r}."
        )
    if higher_is_better is None:
        name = monitor.lower()
        is_lower = _LOWER.search(name) is not None
        is_higher = _HIGHER.search(name) is not None and not name.endswith("loss")
        if is_lower == is_higher:
            raise ValueError(
                "`higher_is_better` must be given for a metric whose name does not tell; pass True or False. "
                f"Received: higher_is_better=None, monitor={monitor!r}."
            )
        higher_is_better = is_higher
    return monitor, higher_is_better
