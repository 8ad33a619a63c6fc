"""A bar on a terminal, lines in a pipe, silence where it is asked for; and how long it will take."""

import io
import itertools
import re
import sys
import threading

import pytest

from segopt_callbacks.export.progress import progress as module
from segopt_callbacks.export.progress import telling
from segopt_callbacks.export.progress.pace import Pace


class Terminal(io.StringIO):
    """A terminal, or a pipe, that says when something was written."""

    def __init__(self, *, is_terminal):
        super().__init__()
        self.is_terminal = is_terminal
        self.was_written = threading.Event()

    def isatty(self):
        return self.is_terminal

    def write(self, text):
        written = super().write(text)
        if "still" in text:
            self.was_written.set()
        return written


@pytest.fixture
def put(monkeypatch):
    """Puts a terminal, or a pipe, in the place of standard output."""

    def put(*, is_terminal, term="xterm"):
        monkeypatch.setenv("TERM", term)
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setattr(sys, "stdout", Terminal(is_terminal=is_terminal))
        return sys.stdout

    return put


def work(progress, *, stages=4):
    progress.plan(float(stages))
    for number in range(stages):
        progress.begin(f"stage {number}", 1.0, line=f"line {number}")
    progress.say("a line\x1b[31m that [b]stays[/b]")


# --- where it is told ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_terminal", [True, False])
def test_nothing_is_told_unasked(is_terminal, put):
    out = put(is_terminal=is_terminal)
    with telling(0) as progress:
        work(progress)
    assert out.getvalue() == ""


@pytest.mark.parametrize(("is_terminal", "term"), [(False, "xterm"), (True, "dumb")])
def test_a_pipe_gets_plain_lines(is_terminal, term, put):
    out = put(is_terminal=is_terminal, term=term)
    with telling(1) as progress:
        work(progress)
    expected = [*(f"export: line {number}" for number in range(4)), r"export: a line\x1b[31m that [b]stays[/b]"]
    assert out.getvalue().splitlines() == expected


def test_silence_in_a_pipe_is_broken_by_what_is_done_and_how_long_it_takes(put, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    out = put(is_terminal=False)
    with telling(1) as progress:
        progress.plan(2.0)
        progress.begin("writing int8.tflite", 1.0)
        progress.begin("running 3 files", 1.0)
        out.was_written.clear()
        assert out.was_written.wait(60)
        progress.counting("running 3 files", total=4)(1, 16)
        out.was_written.clear()
        assert out.was_written.wait(60)
    assert re.search(r"^export: still running 3 files, \d+ s so far; about 1 s left$", out.getvalue(), re.MULTILINE)
    assert "export: still running 3 files, 16 examples so far, " in out.getvalue()
    assert not [one for one in threading.enumerate() if one.name == "segopt-progress"]


def test_nobody_who_reads_is_no_error_of_the_watch(put, monkeypatch, capfd):
    """Who works meets it with the next line, and may end for it; a thread would print a traceback."""
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    out, asked = put(is_terminal=False), threading.Event()

    def write(text):
        asked.set()
        raise BrokenPipeError

    with telling(1):
        out.write = write
        assert asked.wait(60)
    assert capfd.readouterr().err == ""


def test_a_terminal_has_a_bar_that_is_gone_afterwards(put):
    out = put(is_terminal=True)
    with telling(1) as progress:
        progress.plan(4.0)
        progress.begin("writing int8.tflite", 1.0, line="never shown")
        progress.begin("running 3 files", 1.0)
        progress.counting("running 3 files", total=2)(1, 16)
        print("somebody else")
        progress.say(r"int8: written [b]and[/b] opened")
    told = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert re.search(r"export ━+.* +\d+%, about \d+ s left, running 3 files, 16 examples so far", told)
    assert "never shown" not in told
    lines = [re.sub(r"\x1b\[\S*[Klh]", "", line).lstrip("\r") for line in told.splitlines()]
    assert "somebody else" in lines
    assert "export: int8: written [b]and[/b] opened" in lines
    assert told.endswith("\x1b[?25h\r\x1b[1A\x1b[2K")  # the cursor is back, and the bar's line empty
    assert sys.stdout is out


# --- how long it takes -----------------------------------------------------------------------------------------------


def test_the_bar_never_goes_back_and_ends_where_the_work_does():
    shares, seconds = [1.0, 5.0, 0.5, 3.5], [2.0, 1.0, 30.0, 1.0]
    pace, clock, seen = Pace(sum(shares), 100.0), 100.0, []
    for share, takes in zip(shares, seconds, strict=True):
        pace.begin(share, clock)
        for part in range(10):
            seen.append(pace.fraction(clock + takes * part / 10))
        clock += takes
    pace.begin(0.0, clock)
    assert all(before <= after for before, after in itertools.pairwise(seen))
    assert seen[-1] < 1
    assert pace.fraction(clock) == 1
    assert pace.seconds_left(clock) == 0


def test_nothing_is_known_before_anything_has_ended():
    pace = Pace(10.0, 0.0)
    pace.begin(5.0, 0.0)
    assert (pace.fraction(9.0), pace.seconds_left(9.0)) == (0.0, None)


def test_a_stage_that_takes_long_is_never_taken_to_be_done():
    pace = Pace(10.0, 0.0)
    pace.begin(5.0, 0.0)
    pace.begin(5.0, 10.0)
    assert pace.seconds_left(15.0) == pytest.approx(5.0)
    assert pace.seconds_left(1000.0) == pytest.approx(0.5)  # a twentieth of the stage
    pace.reach(0.5, 30.0)  # 7.5 parts in 30 seconds
    assert pace.seconds_left(30.0) == pytest.approx(10.0)
