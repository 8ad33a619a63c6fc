"""What users write against stays as it is: public names, their signatures, and the help of every command.

After a change that is meant, and has its line in CHANGELOG.md: `python -m tests.test_interface`.
"""

import inspect
import os
import pathlib
import re
import subprocess
import sys

import pytest

import segopt_callbacks

ROOT = pathlib.Path(__file__).parent.parent
FOLDER = pathlib.Path(__file__).parent / "interface"
COMMANDS = {
    "segopt-export": "from segopt_callbacks.export.command import main",
    "segopt-predict": "from segopt_callbacks.predict import main",
    "segopt-report": "from segopt_callbacks.pages import main",
    "segopt-sizes": "from segopt_callbacks.sizes import main",
    "train.py": "from train import main",
}


def told(command: str) -> str:
    """The help of a command, 100 columns wide."""
    program = [sys.executable, "-c", f"import sys; sys.argv[0] = {command!r}; {COMMANDS[command]}; sys.exit(main())"]
    if command == "train.py":
        program = [sys.executable, "train.py"]
    environment = {**os.environ, "COLUMNS": "100", "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    result = subprocess.run(
        [*program, "--help"],
        cwd=ROOT / "train_unet",
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode in (0, 1), result.stderr
    # Where the checkout lies, and so where the line with it is wrapped, is no part of it.
    return re.sub(r"\s+Default:\s[^:]*?/data/landcover", " Default: DATA", result.stdout, count=1)


def signatures() -> str:
    """Every public name with its signature, one argument a line."""
    lines = []
    for name in segopt_callbacks.__all__:
        parameters = inspect.signature(getattr(segopt_callbacks, name)).parameters.values()
        plain = [one.replace(annotation=inspect.Parameter.empty) for one in parameters]
        lines += [name, *(f"    {one}  # {one.kind.description}" for one in plain)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_is_as_it_was(command):
    assert told(command) == (FOLDER / f"{command}.txt").read_text()


def test_public_signatures_are_as_they_were():
    assert signatures() == (FOLDER / "signatures.txt").read_text()


def test_the_api_page_has_every_argument():
    page = (ROOT / "docs" / "api.md").read_text()
    for name in segopt_callbacks.__all__:
        section = re.search(rf"^## `{name}\b(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)[1]
        for parameter in inspect.signature(getattr(segopt_callbacks, name)).parameters.values():
            assert re.search(rf"\b{parameter.name}\b", section), (name, parameter.name)


if __name__ == "__main__":
    for command in COMMANDS:
        (FOLDER / f"{command}.txt").write_text(told(command))
    (FOLDER / "signatures.txt").write_text(signatures())
