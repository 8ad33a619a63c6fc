"""Whether the answers of a file are near enough to be delivered, and what is to be said of them if they are."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

import numpy as np

from segopt_callbacks.export.checks.agreement import Agreement, OutputAgreement
from segopt_callbacks.export.checks.channels import APART, NOISE, Channels
from segopt_callbacks.export.checks.nature import Nature

EXACT = 0.1  # formats of a lower tolerance round no weights, and keep what is small
SEEN = 8  # answers in a channel without which nothing is said of how they vary
VARIES = 0.5  # of a channel's own largest answer: how far its answers are apart in the model
SHOWS = 0.05  # of the largest answer of the output: what 8 bits resolve six times over
FEW = 128  # channels: in such an output every one counts, in a larger one (features) a tenth of them
DOUBTFUL = 0.1  # of the largest answer of a channel or an output; a larger difference is told
LEARNED = (
    "its ranges were learned in training, too short or at too high a learning rate perhaps; train on, or call "
    "export_model without `ranges`, which finds them in data"
)
CALIBRATED = "if data reach further than what it was calibrated on, pass more of them as `representative_dataset`"
USUAL = 0.9  # share of the commonest integer above which a constant answer is near


def judge(
    agreements: Mapping[str, Agreement],
    tolerances: Mapping[str, float | None],
    nature: Nature,
    learned: Container[str] = (),
    calibrated: Container[str] = (),
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Which files must not be delivered, and what is to be said of the others.

    Args:
        agreements: format -> with the model in memory.
        tolerances: format -> as a fraction of the largest answer of an output; `None` for no limit.
        nature: of the model; nothing is said of the differences of one that draws random numbers.
        learned: formats whose ranges come from training.
        calibrated: those whose ranges come from data.

    Returns:
        format -> cause, and format -> warnings.
    """
    refused: dict[str, str] = {}
    warned: dict[str, list[str]] = {}
    for name, agreement in agreements.items() if not nature.is_random else ():
        found = causes(agreement, tolerances.get(name))
        if found and nature.depends_on_batch:
            refused[name] = f"{'; '.join(nature.warnings())}; so {found[0]}"
        elif found:
            told = [*found[:3], "the file computes something else than the model"]
            refused[name] = "; ".join([*told, LEARNED] if name in learned else told)
        elif told := doubts(agreement, LEARNED if name in learned else CALIBRATED if name in calibrated else ""):
            warned[name] = told
    return refused, warned


def causes(agreement: Agreement, tolerance: float | None) -> list[str]:
    """Why a file must not be delivered.

    Args:
        agreement: with the model in memory.
        tolerance: of its format, as a fraction of the largest answer of an output; `None` for no limit.

    Returns:
        one sentence for each output that is too far away; empty where the file may be delivered.
    """
    found = []
    for output in agreement.outputs:
        lost = _lost(output)
        if lost:
            found.append(f"{_channels(lost)} of output {output.name!r} {_constant(output, lost)}")
        elif tolerance is not None and output.relative > tolerance:
            found.append(_too_far(output.name, output.relative, tolerance))
        elif tolerance is not None and (worst := _beyond(output, tolerance)) is not None:
            index, relative = worst
            found.append(_too_far(f"{output.name}[..., {index}]", relative, tolerance))
        elif _is_one_integer(output):
            found.append(f"output {output.name!r} is the same number everywhere, and varies in the model")
    return found


def doubts(agreement: Agreement, remedy: str = "") -> list[str]:
    """What is to be known of a file that is delivered: numbers, and channels with a unit of their own, that are off."""
    numbers = [output for output in agreement.outputs if not output.has_classes]
    return [told for output in numbers if (told := _of_channels(output) or _of_output(output, remedy))]


def _of_channels(output: OutputAgreement) -> str:
    channels = output.channels
    if channels is None:
        return ""
    lost = _still(channels, _flat(channels) & (channels.spread >= VARIES * channels.magnitude))
    if lost:
        return (
            f"{_channels(lost)} of output {output.name!r} are constant in the file, and vary in the model "
            f"(up to {channels.magnitude[lost].max():.2g}; the output, up to {output.magnitude:.2g})"
        )
    if channels.has_own_units and not output.shares_unit and channels.relative.max() > DOUBTFUL:
        index = int(channels.relative.argmax())
        return (
            f"channels of output {output.name!r} differ by more than a factor of {APART:g} in scale; channel "
            f"{index} is off by {channels.relative[index]:.2g} of its own largest answer; give what has another "
            "unit an output of its own"
        )
    return ""


def _of_output(output: OutputAgreement, remedy: str) -> str:
    if output.relative <= DOUBTFUL:
        return ""
    told = f"output {output.name!r} is off by up to {output.relative:.2g} of its largest answer"
    return "; ".join(filter(None, (told, remedy)))


def _lost(output: OutputAgreement) -> list[int]:
    """Channels that are constant in the file, vary in the model, and count."""
    channels = output.channels
    if channels is None or channels.count < SEEN:
        return []
    own = channels.spread >= VARIES * channels.magnitude
    flat = _flat(channels)
    if flat.all() and own.any():
        return list(range(flat.size))
    shows = channels.spread >= SHOWS * output.magnitude
    if output.shares_unit:
        return _still(channels, flat & shows)
    apart = APART * channels.magnitude < output.magnitude
    lost = _still(channels, flat & (shows | (apart & own)))
    return lost if flat.size <= FEW or 10 * len(lost) > flat.size or shows[lost].any() else []


def _flat(channels: Channels) -> np.ndarray:
    """Where the file is constant, and the model is more than noise."""
    alive = channels.magnitude > NOISE * channels.magnitude.max(initial=0.0)
    return channels.is_constant | ~alive


def _still(channels: Channels, lost: np.ndarray) -> list[int]:
    alive = channels.magnitude > NOISE * channels.magnitude.max(initial=0.0)
    return (
        [int(index) for index in np.flatnonzero(lost & alive & (channels.spread > 0))] if channels.count >= SEEN else []
    )


def _beyond(output: OutputAgreement, tolerance: float) -> tuple[int, float] | None:
    """The channel that is farthest from its own largest answer, in a format that rounds no weights."""
    channels = output.channels
    if channels is None or tolerance >= EXACT or output.shares_unit or not channels.has_own_units:
        return None
    # What is small beside its neighbours may be what two large numbers leave of each other.
    floor = NOISE / tolerance * output.magnitude
    relative = channels.difference / np.maximum(channels.magnitude, floor)
    index = int(relative.argmax())
    return (index, float(relative[index])) if relative[index] > tolerance else None


def _is_one_integer(output: OutputAgreement) -> bool:
    total = sum(output.answers.values())
    return total >= SEEN and len(output.file_answers) == 1 and max(output.answers.values()) < USUAL * total


def _too_far(name: str, relative: float, tolerance: float) -> str:
    return (
        f"its answers differ from the model's by {relative:.2g} of the largest answer in {name!r}, more than rounding "
        f"explains ({tolerance:.2g})"
    )


def _constant(output: OutputAgreement, lost: list[int]) -> str:
    largest = output.magnitude if output.channels is None else output.channels.magnitude[lost].max()
    told = f"are constant in the file, and vary in the model (up to {largest:.2g})"
    if APART * largest < output.magnitude:
        told += (
            f" beside others of up to {output.magnitude:.2g}, whose unit they share in the file; give what has another "
            "unit an output of its own, or scale it"
        )
    return told


def _channels(indices: Iterable[int]) -> str:
    named = [str(index) for index in indices]
    return f"channels {', '.join(named[:5])}{f' and {len(named) - 5} more' if len(named) > 5 else ''}"
