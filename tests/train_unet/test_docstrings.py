"""The examples in docstrings of the program; pytest finds those of the library by itself."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in ("train_unet", "flags")
    for path in sorted((ROOT / folder).glob("*.py"))
    if ">>>" in path.read_text()
]


@pytest.mark.parametrize("name", MODULES)
def test_they_show_what_they_say(name):
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert attempted > 0
    assert failed == 0


def test_they_are_found():
    assert {"train_unet.unet", "flags.command_line"} <= set(MODULES)
