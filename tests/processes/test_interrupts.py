import os
import signal
import threading

import pytest

from segopt_callbacks.processes.interrupts import remembered_interrupts


@pytest.fixture(autouse=True)
def _pythons_own_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):  # the handler runs between two of these
            pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_a_finalizer_swallows_is_raised_at_the_next_check():
    reached = []

    def work():
        with remembered_interrupts() as check:
            check()
            Finalized()
            reached.append("behind the finalizer")
            check()
            reached.append("behind the check")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["behind the finalizer"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_behind_the_last_check_is_raised_at_the_end():
    with pytest.raises(KeyboardInterrupt), remembered_interrupts():
        Finalized()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_handler_and_other_threads_are_left_alone():
    def mine(number, frame):
        pass

    before = signal.signal(signal.SIGINT, mine)
    try:
        with remembered_interrupts() as check:
            assert signal.getsignal(signal.SIGINT) is mine
            check()
    finally:
        signal.signal(signal.SIGINT, before)
    errors = []

    def work():
        try:
            with remembered_interrupts() as check:
                check()
        except ValueError as error:  # signal only works in the main thread
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == []
