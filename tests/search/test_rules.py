"""What ends a trial early, and what a search does next: laws over made-up trials."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segopt_callbacks.pruning.masks import magnitude_mask
from segopt_callbacks.search.answer import answer
from segopt_callbacks.search.demand import Demand, Figures
from segopt_callbacks.search.expected import fitting_sparsity, ideal_bytes, least_bytes
from segopt_callbacks.search.hopeless import is_hopeless
from segopt_callbacks.search.record import Record
from segopt_callbacks.search.settings import Settings
from segopt_callbacks.search.turn import next_turn

SHAPE = (3, 3, 64, 96)
FRACTIONS = st.floats(0, 1).map(lambda one: round(one, 2))


@given(st.lists(st.tuples(st.lists(FRACTIONS, min_size=4, max_size=4), FRACTIONS), max_size=6), st.integers(1, 4))
def test_a_trial_that_goes_as_one_before_it_is_not_stopped(finished, epochs):
    for curve, final in finished:
        assert not is_hopeless(curve[:epochs], finished, final - 1e-9)
        worse = [1 - one for one in curve[:epochs]], [([1 - one for one in c], 1 - f) for c, f in finished]
        assert not is_hopeless(*worse, 1 - final + 1e-9, higher_is_better=False)


def test_a_trial_that_would_have_to_gain_more_than_any_before_is_stopped():
    finished = [([0.1 * number, 0.5], 0.6) for number in range(1, 4)]
    assert is_hopeless([0.09], finished, 0.6)
    assert not is_hopeless([0.09], finished[:2], 0.6), "two trials tell too little"
    assert not is_hopeless([0.09], finished, None)


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 0.97])
@pytest.mark.parametrize(("bits", "clusters"), [(8, None), (8, 8), (8, 16), (4, None)])
def test_gzip_never_needs_less_than_the_least_that_is_told_before_training(sparsity, bits, clusters):
    settings = Settings(sparsity=sparsity, distribution="uniform", bits=bits, clusters=clusters)
    weights = np.random.default_rng(0).normal(size=SHAPE)
    mask = magnitude_mask(weights, sparsity)
    levels = 2**bits - 1 if clusters is None else clusters - 1
    steps = np.round((weights - weights.min()) / np.ptp(weights) * (levels - 1)).astype(np.int8) + 1
    stored = (steps * mask.astype(np.int8)).transpose(3, 0, 1, 2).tobytes()
    if bits == 4:
        nibbles = np.frombuffer(stored, np.int8).reshape(-1, 2).astype(np.uint8)
        stored = (nibbles[:, 0] | nibbles[:, 1] << 4).tobytes()
    biases = np.random.default_rng(1).bytes(4 * SHAPE[-1])
    true = len(gzip.compress(stored + biases, 9))
    ideal = ideal_bytes([SHAPE], settings)
    assert least_bytes(ideal, []) <= true
    assert true < 2.5 * ideal, "or the estimate says nothing"


@given(st.integers(3_000, 30_000))
def test_the_sparsity_for_a_size_is_the_least_that_fits(max_bytes):
    settings = Settings(bits=4, pattern="pairs", distribution="uniform")
    found = fitting_sparsity([SHAPE], settings, max_bytes, 0.3, 0.99)
    sizes = [1.85 * ideal_bytes([SHAPE], replace(settings, sparsity=found + by)) for by in (-2e-4, 2e-4)]
    assert sizes[1] <= max_bytes or found > 0.98
    assert sizes[0] >= max_bytes or found < 0.31


FIGURES = st.builds(Figures, st.integers(1, 20).map(lambda one: 100 * one), FRACTIONS)
DEMANDS = st.sampled_from([{"max_bytes": 1000}, {"min_metric": 0.5}, {"max_bytes": 1500, "max_metric_loss": 0.3}])


@given(st.lists(st.tuples(FIGURES, st.one_of(FIGURES, st.none())), min_size=1, max_size=5), DEMANDS)
def test_a_search_ends_with_the_best_that_meets_the_demand_on_both_seeds(world, bounds):
    demand, dense, trials = Demand(**bounds), 0.8, len(world)
    records = played(demand, world, dense)
    turn = next_turn(records, demand, trials, (0, 1))
    good = [
        first
        for first, second in world
        if demand.meets(first, dense) and second is not None and demand.meets(second, dense)
    ]
    result = answer(records, demand, "mIoU", Path("out"), turn.confirms, (0, 1))
    assert result.found == bool(good)
    if good:
        assert demand.order(result.first) == min(map(demand.order, good))
        assert demand.meets(result.second, dense)
        assert f"{result.second.metric:.4f} (seed 1)" in result.message
    else:
        assert result.message.startswith("No model meets")
        assert "Nearest is" in result.message


def played(demand, world, dense):
    """The records of one process that does what it is told, in a world that has each trial's figures by seed."""
    records = []
    while (turn := next_turn(records, demand, len(world), (0, 1))).what != "end":
        assert turn.what != "wait", "nobody else works"
        number = len(records)
        if turn.what == "run":
            figures = world[sum(one.kind == "search" for one in records)][0]
            records.append(Record(number, "ok", "search", 0, settings=Settings(bits=8), figures=figures))
        elif turn.kind == "reference":
            records.append(Record(number, "ok", "reference", turn.seed, figures=Figures(9_999, dense)))
        else:
            first = [one for one in records if one.kind == "search"].index(turn.confirms)
            figures = world[first][1]
            state = "ok" if figures else "failed"
            records.append(Record(number, state, "confirm", turn.seed, turn.confirms.number, figures=figures))
        assert len(records) < 50
    return records


def test_one_waits_for_what_another_process_trains_and_takes_up_what_it_left():
    demand = Demand(max_bytes=1000)
    running, lost = Record(0, "running", "search", 0), Record(0, "lost", "search", 0)
    assert next_turn([running], demand, 1, (0, 1)).what == "wait"
    assert next_turn([lost], demand, 1, (0, 1)).what == "run"
    assert next_turn([lost, Record(1, "waiting", "search", 0)], demand, 1, (0, 1)).what == "run"


def test_a_search_whose_trials_give_no_file_says_why():
    failed = [Record(number, "failed", "search", 0, why="no such operation") for number in range(3)]
    with pytest.raises(RuntimeError, match="none of 3 gave one.*no such operation"):
        next_turn(failed, Demand(max_bytes=1), 9, (0, 1))
    with pytest.raises(RuntimeError, match="The dense model must give a file.*no such"):
        next_turn([Record(0, "failed", "reference", 0, why="no such")], Demand(max_metric_loss=0.1), 9, (0, 1))
