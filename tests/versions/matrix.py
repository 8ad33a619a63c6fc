"""Runs `probe.py` in a fresh environment for each TensorFlow, Keras and Python, and writes docs/versions.md.

    python tests/versions/matrix.py                       # all rows, half an hour
    python tests/versions/matrix.py --row=2.16.2          # the rows of one TensorFlow, printed
    python tests/versions/matrix.py --row=2.16.2 --check  # exit code 1 where the page says otherwise

Pythons come from `pyenv`, or are on the path as `python3.10` and so on. Each environment holds the wheel of this
checkout and what `pip` installs with it, nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs" / "versions.md"
PROBE = pathlib.Path(__file__).parent / "probe.py"
BEGIN, END = "<!-- made by tests/versions/matrix.py -->\n", "<!-- end -->\n"


@dataclass(frozen=True)
class Row:
    """One environment: what is pinned in it; an empty Keras is the newest that pip takes."""

    python: str
    tensorflow: str
    keras: str = ""

    @property
    def requirements(self) -> list[str]:
        """For pip, beside the wheel."""
        series = ".".join(self.tensorflow.split(".")[:2])
        keras = f"keras=={self.keras}" if self.keras else "keras"
        return [f"tensorflow=={self.tensorflow}", f"tf-keras=={series}.*", keras]


ROWS = (
    Row("3.11", "2.16.2", "3.3.3"),
    Row("3.11", "2.17.1"),
    Row("3.11", "2.18.1", "3.6.0"),
    Row("3.11", "2.19.1"),
    Row("3.11", "2.20.0", "3.13.2"),
    Row("3.11", "2.21.0", "3.12.0"),
    Row("3.11", "2.21.0"),
    Row("3.10", "2.20.0"),
    Row("3.12", "2.21.0"),
    Row("3.13", "2.21.0"),
)


def main() -> int:
    """Runs the rows; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--row", default="", help="only rows of this TensorFlow; the page is not written")
    parser.add_argument("--check", action="store_true", help="compare with the page")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = built(pathlib.Path(folder))
        chosen = [row for row in ROWS if row.tensorflow.startswith(arguments.row)]
        lines = [line for row in chosen for line in probed(row, wheel, pathlib.Path(folder))]
    print("\n".join(lines))
    page = PAGE.read_text()
    if arguments.check:
        differing = [line for line in lines if line not in page.splitlines()]
        return bool(differing)
    if not arguments.row:
        before, behind = page.split(BEGIN)[0], page.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}\n{heading(lines)}\n{END}{behind}")
    return 0


def built(folder: pathlib.Path) -> pathlib.Path:
    """The wheel of this checkout."""
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def probed(row: Row, wheel: pathlib.Path, folder: pathlib.Path) -> list[str]:
    """The lines of the table for one environment: Keras 3, then `tf_keras`."""
    place = folder / "environment"
    subprocess.run([interpreter(row.python), "-m", "venv", "--clear", str(place)], check=True)
    python = str(place / "bin" / "python")
    try:
        subprocess.run([python, "-m", "pip", "install", "-q", str(wheel), *row.requirements], check=True)
        return [line_of(found(python, legacy, folder)) for legacy in ("0", "1")]
    finally:
        shutil.rmtree(place)


def found(python: str, legacy: str, folder: pathlib.Path) -> dict:
    """What the probe tells."""
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": legacy, "PYTHONPATH": ""}
    result = subprocess.run(
        [python, "-W", "ignore", str(PROBE)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise RuntimeError(f"The probe must run to its end. Received: {result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def line_of(told: dict) -> str:
    """One line of the table."""
    cells = [told["python"], told["tensorflow"], told["keras"], told["numpy"], *told["features"].values()]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def heading(lines: list[str]) -> str:
    """The table."""
    sys.path.insert(0, str(ROOT))
    names = ["Python", "TensorFlow", "Keras", "NumPy", *features()]
    return "\n".join([f"| {' | '.join(names)} |", "|---" * len(names) + "|", *lines]) + "\n"


def features() -> list[str]:
    """Names of the columns, read from the probe, which imports what this process may lack."""
    text = PROBE.read_text().split("FEATURES:")[1].split("{")[1].split("}")[0]
    return [line.split('"')[1] for line in text.splitlines() if '"' in line]


def interpreter(version: str) -> str:
    """The path of a Python, such as `3.10`."""
    known = pathlib.Path.home() / ".pyenv" / "versions"
    found = sorted(known.glob(f"{version}.*/bin/python")) or [shutil.which(f"python{version}")]
    if not found[-1]:
        raise FileNotFoundError(f"Each row needs its Python; install it with pyenv. Received: no python{version}.")
    return str(found[-1])


if __name__ == "__main__":
    sys.exit(main())
