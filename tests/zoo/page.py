"""The page docs/zoo.md, made from what was found; imports no TensorFlow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.zoo.architectures import ARCHITECTURES, CLUSTER, PRUNE, SPARSITY, VALUES, Architecture

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs" / "zoo.md"
BEGIN, END = "<!-- made by tests/zoo/run.py -->\n", "<!-- end -->\n"
LARGEST_DIFFERENCE = 0.01  # of a float32 file
HEAD = (
    "architecture", "package", "Keras", "input", "weights", "fit",
    "zeros, float32", "zeros, int8", "distinct, float32", "distinct, int8",
    "rel. diff., float32", "rel. diff., int8", "equal argmax, int8", "float operations, int8", "outcome",
)  # fmt: skip


def results() -> dict[str, Any]:
    """Name -> what was found, in the order of the architectures."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def write_page() -> None:
    """Writes the table into the page."""
    before, behind = PAGE.read_text().split(BEGIN)[0], PAGE.read_text().split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{table(results())}\n{END}{behind}")


def table(found: dict[str, Any]) -> str:
    """One line for each architecture."""
    lines = [line(one, found.get(one.name)) for one in ARCHITECTURES]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (HEAD, ["---"] * len(HEAD), *lines)) + "\n"


def line(one: Architecture, found: dict[str, Any] | None) -> list[str]:
    """The cells of one row; `None` of one that was never run."""
    size = f"{one.size} words" if one.of_words else f"{one.size} px"
    about = [f"`{one.name}`", f"`{one.package}`", str(one.keras), size]
    outcome = "not run yet" if found is None else told(one, found).replace("|", "/")
    if found is None or "error" in found:
        return [*about, "-", " + ".join(one.treatments), *["-"] * 8, outcome]
    float32, int8 = (found["files"][name] for name in ("float32", "int8"))
    cells = [
        cell(file, key, pattern)
        for key, pattern in (("zeros", "{:.3f}"), ("distinct", "{}"), ("relative_difference", "{:.1e}"))
        for file in (float32, int8)
    ]
    cells += [cell(int8, "equal_argmax", "{:.3f}"), floats(int8)]
    return [*about, f"{found['parameters'] / 1e6:.2f}M", " + ".join(one.treatments), *cells, outcome]


def cell(file: dict[str, Any], key: str, pattern: str) -> str:
    """A figure, where there is a file."""
    return pattern.format(file[key]) if key in file else "-"


def floats(file: dict[str, Any]) -> str:
    """The operations that compute in float."""
    if "error" in file:
        return "-"
    return ", ".join(f"{count} {name}" for name, count in file["float_operations"].items()) or "0"


def told(one: Architecture, found: dict[str, Any]) -> str:
    """`ok`, or every promise that was not kept."""
    if "error" in found:
        return f"failed: {found['error']}"
    faults = [fault for name, file in found["files"].items() for fault in broken(one, name, file)]
    return "; ".join(faults) or "ok"


def broken(one: Architecture, name: str, file: dict[str, Any]) -> list[str]:
    """What a file does not keep of what its fit and its format promise."""
    if "error" in file:
        return [f"{name}: {file['error']}"]
    return [
        f"{name}: {fault}"
        for fault, holds in (
            (f"zeros below {SPARSITY}", PRUNE not in one.treatments or file["zeros"] > SPARSITY - 0.001),
            (f"more than {VALUES} values", CLUSTER not in one.treatments or file["distinct"] <= VALUES),
            ("differs from the model", name != "float32" or file["relative_difference"] < LARGEST_DIFFERENCE),
        )
        if not holds
    ]
