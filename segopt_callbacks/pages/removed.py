"""What became of channels that are zero whatever the input: read from a report, and as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from segopt_callbacks.markup import Markup, breakable, element, head, joined, scrolling
from segopt_callbacks.pages import values


@dataclass(frozen=True)
class Left:
    """Channels that are zero and stay.

    Attributes:
        tensor: the operation that computes them.
        channels: how many.
        reason: why they stay.
    """

    tensor: str
    channels: int
    reason: str


@dataclass(frozen=True)
class Channels:
    """Of one export.

    Attributes:
        removed: channels that no file computes.
        counts: name of a figure -> before and after; empty where sizes are open.
        left: what stays.
    """

    removed: int
    counts: tuple[tuple[str, int, int], ...]
    left: tuple[Left, ...]


def parse_channels(value: Any) -> Channels | None:
    """Checks `channels` of a report; `None` where no channel was zero.

    Raises:
        CorruptFileError: naming what is not as it should be.

    Example:
        >>> told = {"parameters": {"before": 26, "after": 20}, "multiply_adds": None, "removed": {"dense": 1}}
        >>> parse_channels(told)
        Channels(removed=1, counts=(('parameters', 26, 20),), left=())
    """
    entry = values.mapping(value, "`channels`")
    if "removed" not in entry:
        return None
    removed = values.mapping(entry["removed"], "`removed`").values()
    counts = []
    for key, name in (("parameters", "parameters"), ("multiply_adds", "multiply-adds")):
        pair = values.mapping(entry.get(key), f"`{key}`")
        if pair:
            before, after = (values.count(pair.get(one), f"`{key}`") or 0 for one in ("before", "after"))
            counts.append((name, before, after))
    left = [values.mapping(one, "a tensor") for one in values.sequence(entry.get("left"), "`left`")]
    return Channels(
        sum(values.count(one, "`removed`") or 0 for one in removed),
        tuple(counts),
        tuple(
            Left(
                values.text(one.get("tensor")),
                values.count(one.get("channels"), "`channels`") or 0,
                values.text(one.get("reason")),
            )
            for one in left[: values.MOST_ENTRIES]
        ),
    )


def removed_words(channels: Channels) -> str:
    """What was removed, in a sentence.

    >>> removed_words(Channels(2, (("parameters", 2600, 2000),), ()))
    '2 channels that no answer depends on were removed from every file: parameters 2,600 before and 2,000 after.'
    """
    if not channels.removed:
        return "No channel could be removed."
    many = (
        "channels that no answer depends on were" if channels.removed > 1 else "channel that no answer depends on was"
    )
    counts = [f"{name} {before:,} before and {after:,} after" for name, before, after in channels.counts]
    return f"{channels.removed:,} {many} removed from every file: {', '.join(counts)}."


def channels_table(channels: Channels) -> Markup:
    """The sentence, and a line for each tensor whose channels are zero and stay."""
    words = element("p", removed_words(channels))
    if not channels.left:
        return words
    body = [
        element(
            "tr",
            element("th", element("span", breakable(one.tensor), class_="name"), scope="row"),
            element("td", f"{one.channels:,}"),
            element("td", one.reason, class_="words"),
        )
        for one in channels.left
    ]
    table = scrolling(head("", "channels", "why", words=["why"]), body)
    return joined(words, element("p", "These are zero and stay:"), table)
