"""Runs the tests of strategies under both Kerases and writes what works into docs/machines.md.

python docs/make_machines.py
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs.make_situations import outcomes
from tests import situations
from tests.fit import strategies


def main() -> None:
    """Writes the table."""
    nodes = [strategies.REFUSAL, *(node for row in strategies.NODES.values() for node in row.values())]
    keras_3, keras_2 = ({node for node, text in outcomes(legacy, nodes).items() if passed(text)} for legacy in "01")
    before, _, behind = situations.split_page(strategies.PAGE, strategies.BEGIN)
    strategies.PAGE.write_text(before + "\n" + strategies.table((keras_3, keras_2)) + "\n" + behind)


def passed(text: str | None) -> bool:
    """Whether a test ran: one that was skipped says which Keras it is for."""
    return text is None or not text.endswith("only")


if __name__ == "__main__":
    main()
