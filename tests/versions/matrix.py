"""Runs `probe.py` in a fresh environment for each TensorFlow, Keras and Python, and writes docs/versions.md.

    python tests/versions/matrix.py                       # all rows, half an hour
    python tests/versions/matrix.py --row=2.16.2          # those of one TensorFlow, written over those of before
    python tests/versions/matrix.py --row=2.20+3.13       # of one TensorFlow with one Keras
    python tests/versions/matrix.py --row=2.16.2 --check  # writes nothing; exit code 1 where the page says otherwise
    python tests/versions/matrix.py --row=2.16.2 --suite  # and runs the tests that need nothing but the package

Pythons come from `pyenv`, or are on the path as `python3.10` and so on. Each environment holds the wheel of this
checkout and what `uv` installs with it, nothing else. `uv` keeps what it has unpacked, so that the next environment
costs seconds.
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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs" / "versions.md"
PROBE = pathlib.Path(__file__).parent / "probe.py"
# Each callback, masks, rounding, and what reads a model: those tests that take no other package.
SUITE = (
    *("clustering/test_callback.py", "compat", "fit/test_projections.py", "model/test_lookups.py"),
    *("model/test_weights.py", "normalization", "pruning/test_callback.py", "pruning/test_masks.py"),
    "quantization/test_fake_quant.py",
)
TOOLS = ("pytest", "pytest-timeout", "hypothesis")
BEGIN, END = "<!-- made by tests/versions/matrix.py -->\n", "<!-- end -->\n"


@dataclass(frozen=True)
class Row:
    """One environment: what is pinned in it; an empty Keras is the newest that pip takes."""

    python: str
    tensorflow: str
    keras: str = ""

    def is_called(self, name: str) -> bool:
        """Whether it is what `--row` names."""
        tensorflow, _, keras = name.partition("+")
        return self.tensorflow.startswith(tensorflow) and self.keras.startswith(keras)

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
    parser.add_argument("--row", action="append", help="only of this TensorFlow, or of this one and a Keras: 2.20+3.13")
    parser.add_argument("--check", action="store_true", help="compare with the page, and write nothing")
    parser.add_argument("--keras_3", action="store_true", help="leave tf_keras out")
    parser.add_argument("--suite", action="store_true", help="run tests in each environment as well")
    arguments = parser.parse_args()
    chosen = [row for row in ROWS if any(row.is_called(name) for name in arguments.row or [""])]
    kerases = ("0",) if arguments.keras_3 else ("0", "1")
    differs = False
    with tempfile.TemporaryDirectory() as folder:
        wheel = built(pathlib.Path(folder))
        for row in chosen:
            for line in probed(row, wheel, pathlib.Path(folder), kerases, has_suite=arguments.suite):
                print(line, flush=True)
                differs |= promise(line) not in map(promise, rows_on_page())
                if not arguments.check:
                    write(line)
    return int(arguments.check and differs)


def promise(line: str) -> list[str]:
    """What a line says that a later day and another machine must find as well: not the newest NumPy, nor a patch."""
    python, tensorflow, keras, _, *features = [cell.strip() for cell in line.split("|")[1:-1]]
    return [".".join(python.split(".")[:2]), tensorflow, keras, *features]


def rows_on_page() -> list[str]:
    """The lines of the page's table, without its heading."""
    return PAGE.read_text().split(BEGIN)[1].split(END)[0].strip().splitlines()[2:]


def write(line: str) -> None:
    """Puts one line into the page, over that of the same versions."""
    page = PAGE.read_text()
    before, behind = page.split(BEGIN)[0], page.split(END)[1]
    rows = {key(one): one for one in [*rows_on_page(), line]}
    PAGE.write_text(f"{before}{BEGIN}\n{heading([rows[one] for one in sorted(rows)])}\n{END}{behind}")


def key(line: str) -> tuple:
    """What a row is of, in the order of the page: Keras 3 first, then by versions."""
    python, tensorflow, keras = (cell.strip() for cell in line.split("|")[1:4])
    numbers = [tuple(int(number) for number in one.split()[-1].split(".")) for one in (tensorflow, keras, python)]
    return "tf_keras" in keras, *numbers


def built(folder: pathlib.Path) -> pathlib.Path:
    """The wheel of this checkout."""
    subprocess.run([uv(), "build", "-q", "--wheel", "--out-dir", str(folder), str(ROOT)], check=True)
    return next(folder.glob("*.whl"))


def probed(
    row: Row, wheel: pathlib.Path, folder: pathlib.Path, kerases: Sequence[str], *, has_suite: bool
) -> Iterator[str]:
    """The lines of the table for one environment, one for each value of `TF_USE_LEGACY_KERAS`.

    Raises:
        CalledProcessError: if a test fails, with `has_suite`.
    """
    place = folder / "environment"
    subprocess.run([uv(), "venv", "-q", "--python", interpreter(row.python), str(place)], check=True)
    python = str(place / "bin" / "python")
    try:
        tools = TOOLS if has_suite else ()
        install = [uv(), "pip", "install", "-q", "--python", python, str(wheel), *row.requirements, *tools]
        subprocess.run(install, check=True)
        for legacy in kerases:
            yield line_of(found(python, legacy, folder))
            if has_suite:
                tests = [str(ROOT / "tests" / name) for name in SUITE]
                command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
                subprocess.run(command, cwd=ROOT, env={**os.environ, "TF_USE_LEGACY_KERAS": legacy}, check=True)
    finally:
        shutil.rmtree(place)


def uv() -> str:
    """The path of `uv`, which the developers' tools have."""
    beside = pathlib.Path(sys.executable).with_name("uv")
    known = str(beside) if beside.exists() else shutil.which("uv")
    if not known:
        raise FileNotFoundError("Environments are made by `uv`; run `pip install uv`. Received: no `uv`.")
    return known


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
