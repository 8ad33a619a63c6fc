"""What libraries have to say is kept back, unless something goes wrong."""

import contextlib
import logging
import os
import sys

import pytest

from segopt_callbacks.processes import captured, quiet


@pytest.mark.parametrize("name", ["tensorflow", "absl"])
def test_what_python_logs_below_an_error_is_left_out(name, caplog):
    """In a notebook TensorFlow logs to standard output, from information on."""
    logger = logging.getLogger(name)
    before = logger.level
    with caplog.at_level(logging.INFO, name):
        logger.propagate, propagates = True, logger.propagate
        with quiet():
            logger.info("Assets written to: .exported.unfinished-1/source/one/assets")
            logger.warning("a converter has something to say")
            logger.error("what matters")
        logger.info("afterwards")
        logger.propagate = propagates
    assert caplog.messages == ["what matters", "afterwards"]
    assert logger.level == before


def test_what_is_printed_is_shown_where_something_goes_wrong(capfd):
    with contextlib.suppress(KeyError), quiet():
        os.write(2, b"I0000 00:00:1.0 1 loader.cc:1] Restoring SavedModel bundle.\n")
        raise KeyError
    assert "Restoring" in capfd.readouterr().err
    with quiet():
        os.write(2, b"I0000 00:00:1.0 1 loader.cc:1] Restoring SavedModel bundle.\n")
        os.write(2, b"E0000 00:00:1.0 1 loader.cc:1] No memory.\n")
        print("a warning of Python", file=sys.stderr)
    assert capfd.readouterr().err == "E0000 00:00:1.0 1 loader.cc:1] No memory.\n"


@pytest.mark.parametrize(("held_back", "name"), [(quiet, "stderr"), (captured, "stderr"), (captured, "stdout")])
def test_a_logger_that_is_set_up_meanwhile_logs_afterwards(held_back, name, capsys):
    """TensorFlow's, for one: it takes the standard error of its first message."""
    with held_back(), held_back():
        handler = logging.StreamHandler(getattr(sys, name))
    handler.handle(logging.makeLogRecord({"msg": "afterwards"}))
    assert getattr(capsys.readouterr(), name.removeprefix("std")) == "afterwards\n"
