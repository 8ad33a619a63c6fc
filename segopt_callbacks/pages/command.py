"""The command `segopt-report`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from segopt_callbacks.errors import printable
from segopt_callbacks.pages.comparison import Run, comparison, entries, short_names
from segopt_callbacks.pages.entries import Report
from segopt_callbacks.pages.files import write_whole
from segopt_callbacks.pages.reading import read_report
from segopt_callbacks.sizes import CorruptFileError, walk

REPORT = "report.json"
_MOST_RUNS = 1000


def main(argv: Sequence[str] | None = None) -> int:
    """Writes a page that compares the exports which the command line names.

    Args:
        argv: arguments, by default the process's own.

    Returns:
        the exit code: 0, 2 if something could not be read or written, 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        prog="segopt-report",
        description="Compares exports: one table over all runs and formats, size and latency against accuracy.",
    )
    parser.add_argument("paths", nargs="+", metavar="RUN_DIR", help="a folder with a report.json, or one above some")
    parser.add_argument("--output", default="comparison.html", metavar="FILE", help="the page (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON, and write no page")
    arguments = parser.parse_args(argv)
    try:
        return _compare(arguments.paths, Path(arguments.output), print_json=arguments.json)
    except KeyboardInterrupt:
        return 130


def find_reports(path: str | os.PathLike[str]) -> list[Path]:
    """The folders that hold a report: `path` itself, or all below it; hidden ones are left out.

    Raises:
        FileNotFoundError: if there is nothing at `path`.
        CorruptFileError: if there is no report.
    """
    path = Path(path)
    path.stat()
    if path.name == REPORT and path.is_file():
        return [path.parent]
    if (path / REPORT).exists():
        return [path]
    found = [one.parent for one in walk(path) if one.name == REPORT] if path.is_dir() else []
    visible = [one for one in found if not any(part.startswith(".") for part in one.relative_to(path).parts)]
    if not visible:
        raise CorruptFileError(f"it holds no {REPORT}; export there first")
    return sorted(visible)


def _compare(paths: Sequence[str], output: Path, *, print_json: bool) -> int:
    reports, failures = _read(paths)
    for failure in failures:
        _complain(failure)
    names = short_names(list(reports)) if reports else []
    runs = [Run(name, *one) for name, one in zip(names, reports.items(), strict=True)]
    if print_json:
        print(json.dumps({"rows": entries(runs), "failures": failures}, indent=2))
    elif runs:
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            write_whole(output, comparison(runs, failures, output))
        except OSError as error:
            _complain(f"{output} cannot be written: {error.strerror or error}.")
            return 2
        files = sum(row.kind == "format" for run in runs for row in run.report.rows)
        print(printable(f"{output}: {files} files of {len(runs)} runs"))
    return 2 if failures else 0


def _read(paths: Sequence[str]) -> tuple[dict[Path, Report], list[str]]:
    """The report of each folder, once; and a line for each that could not be read."""
    reports: dict[Path, Report] = {}
    failures: list[str] = []
    seen: set[Path] = set()
    for path in paths:
        try:
            folders = find_reports(path)
            if len(seen) + len(folders) > _MOST_RUNS:
                raise CorruptFileError(f"there are more than {_MOST_RUNS:,} reports; name fewer")
        except (CorruptFileError, OSError) as error:
            failures.append(_told(path, error))
            continue
        for folder in folders:
            try:
                if folder.resolve() not in seen:
                    seen.add(folder.resolve())
                    reports[folder] = read_report(folder / REPORT, with_weights=False)
            except (CorruptFileError, OSError) as error:
                failures.append(_told(folder / REPORT, error))
    return reports, failures


def _told(path: str | os.PathLike[str], error: Exception) -> str:
    cause = error.strerror if isinstance(error, OSError) and error.strerror else error
    return printable(f"{path} cannot be compared: {cause}.")


def _complain(line: str) -> None:
    print(printable(f"segopt-report: {line}"), file=sys.stderr)
