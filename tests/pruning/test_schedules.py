import pytest

from segopt_callbacks import ConstantSparsity, PolynomialDecay
from segopt_callbacks.pruning.schedules import as_schedule
from segopt_callbacks.pruning.timeline import last_update

SCHEDULES = (
    PolynomialDecay(0.2, 0.8, begin_step=3, end_step=17, frequency=4),
    PolynomialDecay(0.0, 0.9, begin_step=0, end_step=9, power=1, frequency=1),
    ConstantSparsity(0.5, begin_step=2, end_step=12, frequency=5),
)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_tfmots_schedules_say_the_same_compiled(schedule):
    compiled = as_schedule(schedule)
    for step in range(25):
        expected, answer = schedule(step), compiled(step)
        assert bool(answer[0]) == bool(expected[0])
        assert float(answer[1]) == pytest.approx(float(expected[1]), abs=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("stride", [1, 3, 8, 40])
def test_no_step_is_missed_however_many_pass_at_once(schedule, stride):
    fired = [step for step in range(40) if bool(schedule(step)[0])]
    last = None
    for upto in range(-1 + stride, 40, stride):
        found = last_update(as_schedule(schedule), upto - stride, upto, end_step=schedule.end_step)
        due = [step for step in range(upto - stride + 1, upto + 1) if step in fired or step == schedule.end_step]
        assert (found is None) == (not due)
        if due:
            assert found == pytest.approx(float(schedule(due[-1])[1]), abs=1e-6)
        last = found if found is not None else last
    assert last == pytest.approx(float(schedule(schedule.end_step)[1]), abs=1e-6)


def test_the_last_step_counts_although_the_frequency_misses_it():
    schedule = PolynomialDecay(0.0, 0.8, begin_step=0, end_step=7, frequency=100)
    assert last_update(as_schedule(schedule), 0, 7, end_step=None) is None
    assert last_update(as_schedule(schedule), 0, 7, end_step=7) == pytest.approx(0.8)


def test_a_fraction_is_pruned_once():
    assert [as_schedule(0.7)(step) for step in (0, 1)] == [(True, 0.7), (False, 0.7)]


def test_a_long_training_does_not_ask_about_steps_behind_the_last():
    asked = []

    def schedule(step):
        asked.append(step)
        return step % 4 == 0, 0.5

    assert last_update(schedule, -1, 10**6, end_step=9) == 0.5
    assert last_update(schedule, 9, 10**6, end_step=9) is None
    assert asked == [9]
