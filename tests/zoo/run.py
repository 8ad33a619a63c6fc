"""Runs the architectures one after another, each in a process of its own, and writes docs/zoo.md.

    python -m tests.zoo.run                    # all rows: an hour or two
    python -m tests.zoo.run --row=MobileNet    # one row, written over that of before
    python -m tests.zoo.run --missing          # those that were never run
    python -m tests.zoo.run --table            # only the page, from what was found before

Packages are those of the extra `[zoo]`. What was found is in tests/zoo/results.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.zoo.architectures import APPLICATIONS, ARCHITECTURES, Architecture
from tests.zoo.page import RESULTS, results, write_page

ROOT = Path(__file__).parents[2]
TIME_LIMIT = 1800  # seconds for one row


def main() -> int:
    """Runs the rows; returns the exit code: 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--row", action="append", choices=[one.name for one in ARCHITECTURES], help="only this one")
    parser.add_argument("--missing", action="store_true", help="only those that were never run")
    parser.add_argument("--table", action="store_true", help="write the page, and run nothing")
    arguments = parser.parse_args()
    known = results() if arguments.missing else {}
    chosen = [one for one in ARCHITECTURES if one.name in (arguments.row or [one.name]) and one.name not in known]
    failed = False
    for one in chosen if not arguments.table else ():
        found = run(one)
        failed |= "error" in found
        print(f"{one.name}: {found.get('error') or found['files']}", flush=True)
        kept = {**results(), one.name: found}
        kept = {known.name: kept[known.name] for known in ARCHITECTURES if known.name in kept}
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    write_page()
    return int(failed)


def run(one: Architecture) -> dict[str, Any]:
    """What one row's process tells, or why it told nothing."""
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": str(int(one.keras == 2)), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "result.json"
        command = [sys.executable, "-W", "ignore", "-m", "tests.zoo.row", one.name, str(into)]
        try:
            ended = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIME_LIMIT, check=False
            )
        except subprocess.TimeoutExpired:
            return {"error": f"took more than {TIME_LIMIT} seconds"}
        if ended.returncode:
            print(ended.stderr[-4000:], file=sys.stderr)
            return {"error": last_line(ended.stderr)}
        return {**json.loads(into.read_text()), "versions": versions(one)}


def last_line(text: str) -> str:
    """Of a traceback: the error."""
    return next((line for line in reversed(text.splitlines()) if line and not line.startswith(" ")), "no word")


def versions(one: Architecture) -> dict[str, str]:
    """Of what the row was built with."""
    keras = "tf-keras" if one.keras == 2 else "keras"
    return {name: version(name) for name in ("tensorflow", keras, one.package) if name != APPLICATIONS}


if __name__ == "__main__":
    sys.exit(main())
