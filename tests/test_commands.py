"""What all commands do alike."""

import os
import subprocess
import sys

import pytest

from segopt_callbacks.commands import NOBODY_READS, Parser
from segopt_callbacks.pages import main as report
from segopt_callbacks.predict import main as predict
from segopt_callbacks.sizes import main as sizes

HELPED = {
    "a flag": ([sizes, "--jsn", "x"], "Did you mean --json? Received: --jsn."),
    "a flag with a value": ([report, "--ouput=a.html", "x"], "Did you mean --output? Received: --ouput=a.html."),
    "one of others": ([predict, "--ovelap=0.1", "x", "y", "--out=z"], "Did you mean --overlap?"),
    "nothing alike": ([sizes, "--quantize", "x"], "those of --help. Received: --quantize."),
    "none": ([sizes], "the following arguments are required: PATH"),
}


@pytest.mark.parametrize(("command", "told"), HELPED.values(), ids=HELPED)
def test_a_misspelt_flag_is_told_the_right_one(command, told, capsys):
    main, *arguments = command
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(("lines", "code"), [(1, 0), (100_000, NOBODY_READS)])
def test_a_command_ends_without_a_word_where_nobody_reads(lines, code):
    """`COMMAND | head -1`; what fits into the pipe may be written to nobody, and is found when the command ends."""
    program = (
        "import sys; from segopt_callbacks.commands import ends_with_its_reader\n"
        "def main():\n    for _ in range(int(sys.argv[1])): print('a line')\n    return 0\n"
        "sys.exit(ends_with_its_reader(main)())"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program, str(lines)], **pipes) as command:
        assert command.stdout.readline() == "a line\n"
        command.stdout.close()
        assert (command.stderr.read(), command.wait()) == ("", code)


def test_what_is_left_in_the_buffer_is_no_message(capfd):
    program = (
        "import os, sys; from segopt_callbacks.commands import ends_with_its_reader\n"
        "def main():\n    print('a line'); raise SystemExit(0)\n"
        "sys.exit(ends_with_its_reader(main)())"
    )
    reading, writing = os.pipe()
    os.close(reading)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run([sys.executable, "-c", program], stdout=writing, env=environment, check=False)
    os.close(writing)
    assert (done.returncode, capfd.readouterr().err) == (NOBODY_READS, "")


def test_an_argument_that_is_no_flag_is_told_too(capsys):
    with pytest.raises(SystemExit):
        Parser("tool").parse_args(["file"])
    assert "arguments must be among those of --help. Received: file." in capsys.readouterr().err
