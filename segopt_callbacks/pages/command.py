"""The command `segopt-report`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from segopt_callbacks.commands import Parser, ends_with_its_reader
from segopt_callbacks.errors import printable
from segopt_callbacks.pages.comparison import Run, comparison, entries, short_names
from segopt_callbacks.pages.entries import Report
from segopt_callbacks.pages.files import write_whole
from segopt_callbacks.pages.reading import read_report
from segopt_callbacks.pages.study import STUDY, read_study
from segopt_callbacks.pages.study_page import study_page
from segopt_callbacks.sizes import CorruptFileError, walk

REPORT = "report.json"
_MOST_RUNS = 1000
_COMPARISON, _SEARCH = "comparison.html", "search.html"
_SQLITE = "sqlite:///"


@ends_with_its_reader
def main(argv: Sequence[str] | None = None) -> int:
    """Writes a page that compares the exports which the command line names.

    Args:
        argv: arguments, by default the process's own.

    Returns:
        the exit code: 0, 2 if something could not be read or written, 130 after Ctrl-C.
    """
    parser = Parser(
        prog="segopt-report",
        description="Compares exports: one table over all runs and formats, size and latency against accuracy. "
        "Of a search: its Pareto front, and every trial.",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="RUN_DIR",
        help="a folder with a report.json, or one above some; or the output_dir of a search, or the sqlite:/// URL of "
        "its study",
    )
    parser.add_argument("--output", metavar="FILE", help=f"the page (default: {_COMPARISON}; of a search: {_SEARCH})")
    parser.add_argument("--json", action="store_true", help="print JSON, and write no page")
    arguments = parser.parse_args(argv)
    try:
        study = _study_folder(arguments.paths[0]) if len(arguments.paths) == 1 else None
        if study is not None:
            return _show_study(study, Path(arguments.output or _SEARCH), print_json=arguments.json)
        return _compare(arguments.paths, Path(arguments.output or _COMPARISON), print_json=arguments.json)
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


def _study_folder(path: str) -> Path | None:
    """The folder of a search, if that is what is named; it lists its trials beside a database of SQLite."""
    folder = Path(path.removeprefix(_SQLITE)).parent if path.startswith(_SQLITE) else Path(path)
    return folder if (folder / STUDY).is_file() else None


def _show_study(folder: Path, output: Path, *, print_json: bool) -> int:
    try:
        told = read_study(folder / STUDY)
    except (CorruptFileError, OSError) as error:
        _complain(_told(folder / STUDY, error))
        return 2
    if print_json:
        print(json.dumps(asdict(told), indent=2))
        return 0
    files = sum(one.bytes is not None for one in told.trials)
    return _write(output, study_page(told, folder, output), f"{files} files of {len(told.trials)} trials")


def _write(output: Path, page: str, told: str) -> int:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_whole(output, page)
    except OSError as error:
        _complain(f"{output} cannot be written: {error.strerror or error}.")
        return 2
    print(printable(f"{output}: {told}"))
    return 0


def _compare(paths: Sequence[str], output: Path, *, print_json: bool) -> int:
    reports, failures = _read(paths)
    for failure in failures:
        _complain(failure)
    names = short_names(list(reports)) if reports else []
    runs = [Run(name, *one) for name, one in zip(names, reports.items(), strict=True)]
    if print_json:
        print(json.dumps({"rows": entries(runs), "failures": failures}, indent=2))
    elif runs:
        files = sum(row.kind == "format" for run in runs for row in run.report.rows)
        if _write(output, comparison(runs, failures, output), f"{files} files of {len(runs)} runs"):
            return 2
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
    if "://" in os.fspath(path):
        return printable(f"{path} is read by the search alone; name its output_dir, which holds {STUDY}.")
    cause = error.strerror if isinstance(error, OSError) and error.strerror else error
    return printable(f"{path} cannot be compared: {cause}.")


def _complain(line: str) -> None:
    print(printable(f"segopt-report: {line}"), file=sys.stderr)
