"""What keeps runs from being compared: other data, another task, other metrics, another machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from segopt_callbacks.pages.entries import Report

_RULES: tuple[tuple[str, Callable[[Report], str]], ...] = (
    ("The runs were measured on different numbers of examples: compare with care", lambda one: f"{one.examples:,}"),
    (
        "The runs were measured on other inputs: do not compare their metrics, nor their differences",
        lambda one: one.inputs,
    ),
    ("The runs have other classes, so they are of another task", lambda one: ", ".join(one.classes)),
)
_TARGETS = ("The runs have other targets for the same inputs, so they are of another task", lambda one: one.targets)
_MACHINES = ("The latencies were measured on other machines: do not compare them", lambda one: _machine(one))


def not_comparable(names: Sequence[str], reports: Sequence[Report]) -> list[str]:
    """A sentence for each thing in which runs differ and on which their figures depend; empty if there is none.

    What a report does not tell, as older ones do not, is not compared.

    >>> one = Report("net", None, 42, "evaluation data", ())
    >>> not_comparable(["a", "b"], [one, Report("net", None, 7, "evaluation data", ())])
    ['The runs were measured on different numbers of examples: compare with care (a 42, b 7).']
    """
    rules = list(_RULES)
    if len({one.inputs for one in reports}) == 1:
        rules.append(_TARGETS)
    if all(any(row.latency for row in one.rows) for one in reports):
        rules.append(_MACHINES)
    found = []
    for words, value_of in rules:
        told = {name: value for name, one in zip(names, reports, strict=True) if (value := value_of(one))}
        if len(set(told.values())) > 1:
            found.append(f"{words} ({', '.join(f'{name} {value}' for name, value in told.items())}).")
    return [*found, *_metrics(reports)]


def _metrics(reports: Sequence[Report]) -> list[str]:
    of_each = [{name for row in one.rows for name in row.metrics} for one in reports]
    if not all(of_each) or set.intersection(*of_each):
        return []
    return ["The runs have no metric in common: compare their sizes and times alone."]


def _machine(report: Report) -> str:
    made = report.made
    return f"{made.cpu}, {made.cpus} CPUs" if made.cpu else ""
