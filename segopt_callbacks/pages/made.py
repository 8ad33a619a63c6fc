"""When and by what an export was made: read from a report, and told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segopt_callbacks.markup import Markup, element, head, joined, scrolling
from segopt_callbacks.pages import values
from segopt_callbacks.pages.entries import Made

_SHOWN = {"segopt-callbacks": "segopt-callbacks", "tensorflow": "TensorFlow", "keras": "Keras", "tf-keras": "tf-keras"}


def parse_made(value: Any) -> Made:
    """Checks `made` of a report.

    Raises:
        CorruptFileError: naming what is not as it should be.

    Example:
        >>> parse_made({"date": "2026-01-31T12:00:00+00:00", "machine": {"cpu": "Z80", "cpus": 1}}).cpu
        'Z80'
    """
    entry = values.mapping(value, "`made`")
    machine = values.mapping(entry.get("machine"), "`machine`")
    training = values.mapping(entry.get("training"), "`training`")
    callbacks = values.sequence(training.get("callbacks"), "`callbacks`")[: values.MOST_ENTRIES]
    return Made(
        date=values.text(entry.get("date")),
        versions=_texts(entry.get("versions"), "`versions`"),
        cpu=values.text(machine.get("cpu")),
        cpus=values.count(machine.get("cpus"), "`cpus`") or 0,
        system=values.text(machine.get("system")),
        training={name: _told(one) for name, one in training.items() if name != "callbacks"},
        callbacks=tuple(_callback(values.mapping(one, "a callback")) for one in callbacks),
    )


def made_words(made: Made) -> str:
    """Date, versions and machine in a line; empty where a report does not tell.

    >>> versions = {"tensorflow": "2.21.0", "numpy": "2.4.6"}
    >>> made_words(Made("2026-01-31T12:00:00+00:00", versions, "Z80", 2))
    '2026-01-31 12:00 UTC, TensorFlow 2.21.0, Z80 with 2 CPUs'
    """
    date = f"{made.date[:10]} {made.date[11:16]} UTC" if made.date else ""
    versions = [f"{name} {made.versions[package]}" for package, name in _SHOWN.items() if package in made.versions]
    cpus = f" with {made.cpus} CPU{'s' * (made.cpus > 1)}" if made.cpu and made.cpus else ""
    return ", ".join(part for part in (date, *versions, f"{made.cpu}{cpus}") if part)


def made_section(made: Made) -> Markup:
    """What the training and the machine were, as tables; empty where a report does not tell."""
    facts = {
        "date": made.date,
        **made.training,
        "processor": made.cpu,
        "system": made.system,
        "versions": ", ".join(f"{name} {version}" for name, version in made.versions.items()),
    }
    lines = [_line(name, told) for name, told in facts.items() if told]
    callbacks = [
        _line(name, ", ".join(f"{key}={told}" for key, told in settings.items()) or "-")
        for name, settings in made.callbacks
    ]
    settings = "settings, where they are not the default"
    return joined(
        scrolling(head("callback", settings, words=[settings]), callbacks) if callbacks else None,
        scrolling(head("fact", "value", words=["value"]), lines) if lines else None,
    )


def _line(name: str, told: str) -> Markup:
    return element(
        "tr", element("th", element("span", name, class_="name"), scope="row"), element("td", told, class_="words")
    )


def _callback(entry: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    return values.text(entry.get("name")), _texts(entry.get("settings"), "`settings`")


def _texts(value: Any, what: str) -> dict[str, str]:
    return {values.text(name): values.text(one) for name, one in values.mapping(value, what).items()}


def _told(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{values.number(value, '`training`'):,}" if is_number else values.text(value)
