"""Settings, and how Optuna chooses them."""

from __future__ import annotations

import optuna
import pytest

from segopt_callbacks import PruningScheduleCallback
from segopt_callbacks.search.settings import Settings
from segopt_callbacks.search.space import Space
from segopt_callbacks.search.starting import first_settings

optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.mark.parametrize("takes_width", [False, True])
def test_what_a_study_draws_lies_in_the_space_and_can_be_put_in_line_again(takes_width):
    space = Space.of(None, takes_width=takes_width)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = []
    for _ in range(40):
        settings = space.suggest(study.ask())
        drawn.append(settings)
        assert space.has(settings)
        assert 0 <= settings.sparsity <= 0.985
        assert (settings.width is not None) == takes_width
        assert settings.quantize_begin is not None or settings.bits == 8
        again = space.suggest(optuna.trial.FixedTrial(space.parameters(settings)))
        assert again == settings
        assert Settings.from_dict(settings.as_dict()) == settings
    assert {one.bits for one in drawn} == {4, 8}
    assert {one.clusters for one in drawn} == {None, 8, 16}


def test_a_space_is_narrowed_by_name():
    space = Space.of({"bits": [8], "sparsity": [0.9], "clusters": [4], "prune_end": [0.5]}, takes_width=False)
    settings = space.suggest(optuna.create_study().ask())
    assert (settings.bits, settings.sparsity, settings.clusters, settings.prune_end) == (8, 0.9, 4, 0.5)
    assert first_settings(space) == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"colour": [1]}, "names out of sparsity"),
        ({"bits": 8}, "a list of choices"),
        ({"bits": [2]}, "`bits` of `space` must hold 8 and 4"),
        ({"sparsity": (0.9, 1.0)}, "`sparsity` of `space` must hold fractions of zeros"),
        ({"sparsity": (0.9, 0.9)}, "low < high"),
        ({"clusters": [1]}, "numbers of at least 2"),
        ({"width": [0.5]}, "only where `build_model` takes it"),
    ],
)
def test_a_wrong_space_is_refused(given, told):
    with pytest.raises(ValueError, match=f"{told}.*Received: "):
        Space.of(given, takes_width=False)


def test_recipes_have_as_many_zeros_as_the_bytes_ask_for():
    shapes = [(3, 3, 64, 64)] * 4
    space = Space.of(None, takes_width=False)
    small, large = (first_settings(space, shapes, size) for size in (8_000, 20_000))
    assert [one.sparsity for one in small] > [one.sparsity for one in large]
    assert [one.bits for one in small] == [4, 8, 8, 8]


def test_a_file_that_may_be_large_needs_no_zeros():
    space = Space.of(None, takes_width=False)
    for settings in first_settings(space, [(3, 3, 64, 64)] * 4, 1_000_000):
        assert settings.sparsity == 0
        assert not any(isinstance(one, PruningScheduleCallback) for one in settings.callbacks())
        again = space.suggest(optuna.trial.FixedTrial(space.parameters(settings)))
        assert again.as_dict() == settings.as_dict()
