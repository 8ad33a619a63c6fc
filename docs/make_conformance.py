"""Exports every kind of model into every format, under both Kerases, and writes what becomes of it into conformance.md.

python docs/make_conformance.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.export.conformance_cases import BEGIN, END, MIRRORED, MODELS, PAGE, WRAPPED, Outcomes, tables  # noqa: E402


def main() -> None:
    """Writes the page."""
    keras_3, keras_2 = (outcomes(legacy) for legacy in ("0", "1"))
    found = {what: (keras_3.get(what, {}), keras_2.get(what, {})) for what in [*MODELS, MIRRORED, *WRAPPED]}
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{tables(found)}\n{END}{rest.split(END)[1]}")


def outcomes(legacy: str) -> dict[str, Outcomes]:
    """Model -> what becomes of it in each format under one Keras."""
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": legacy, "WRITE_CONFORMANCE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "junit_family=legacy"]
        tests = [f"--junitxml={report}", "tests/export/test_conformance.py", "-k", "every_format"]
        subprocess.run([*command, *tests], cwd=ROOT, env=environment, check=True)
        stated = xml.etree.ElementTree.parse(report).getroot().iter("property")
        found = [json.loads(one.attrib["value"]) for one in stated if one.attrib["name"] == "outcomes"]
    return {one["what"]: one["outcomes"] for one in found}


if __name__ == "__main__":
    main()
