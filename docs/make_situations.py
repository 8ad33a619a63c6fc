"""Runs the test of every situation under both Kerases and writes what they show into docs/situations.md.

python docs/make_situations.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests import situations  # noqa: E402


def main() -> None:
    """Writes the page."""
    nodes = [row.node for row in situations.ROWS]
    keras_3, keras_2 = (outcomes(legacy, nodes) for legacy in ("0", "1"))
    cells = {row.what: (cell(row, keras_3), cell(row, keras_2)) for row in situations.ROWS}
    before, _, behind = situations.split_page()
    situations.PAGE.write_text(before + "\n" + situations.table(cells) + "\n" + behind)


def outcomes(legacy: str, nodes: list[str]) -> dict[str, str | None]:
    """Test -> what it states under one Keras, or why it was skipped; `None` if it passed and states nothing."""
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": legacy, "WRITE_SITUATIONS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "junit_family=legacy"]
        subprocess.run([*command, f"--junitxml={report}", *dict.fromkeys(nodes)], cwd=ROOT, env=environment, check=True)
        return dict(map(read, xml.etree.ElementTree.parse(report).getroot().iter("testcase")))


def read(case: xml.etree.ElementTree.Element) -> tuple[str, str | None]:
    """One test of pytest's report: its name, and its outcome or the reason why it was skipped."""
    node = f"{case.attrib['classname'].replace('.', '/')}.py::{case.attrib['name']}"
    skipped = case.find("skipped")
    if skipped is not None:
        return node, skipped.attrib["message"]
    stated = case.find("properties/property[@name='outcome']")
    return node, None if stated is None else stated.attrib["value"]


def cell(row: situations.Row, found: dict[str, str | None]) -> str:
    """What the cases of a row's test show; where they differ, all of it."""
    return "; ".join(dict.fromkeys(text or row.shows for node, text in found.items() if row.covers(node)))


if __name__ == "__main__":
    main()
