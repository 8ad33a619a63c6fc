"""`study.json`: what a search has done so far, for the page and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segopt_callbacks.pages import write_whole
from segopt_callbacks.search.demand import Demand
from segopt_callbacks.search.record import Record, as_json
from segopt_callbacks.search.turn import candidates, dense_metric, is_confirmed

NAME = "study.json"


def write_listing(
    output_dir: Path, records: Sequence[Record], demand: Demand, monitor: str, seed: int, message: str = ""
) -> None:
    """Writes `study.json`; whoever reads it sees the old one or the new one.

    Args:
        output_dir: of the search.
        records: every trial.
        demand: to be met.
        monitor: name of the metric.
        seed: of the search.
        message: the answer, once it is known.
    """
    met = {one.number for one in candidates(records, demand, seed)}
    confirmed = {one.number for one in records if one.number in met and is_confirmed(records, demand, one)}
    trials = [{**as_json(one), "meets": one.number in met, "confirmed": one.number in confirmed} for one in records]
    told: dict[str, Any] = {
        "monitor": monitor,
        "higher_is_better": demand.higher_is_better,
        "demand": {name: one for name, one in asdict(demand).items() if name != "higher_is_better" and one is not None},
        "dense": dense_metric(records, seed),
        "answer": message,
        "trials": trials,
    }
    write_whole(output_dir / NAME, json.dumps(told, indent=1, allow_nan=False))
