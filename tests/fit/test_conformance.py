"""One check, run over every callback and every situation."""

import pytest

from segopt_callbacks import compat
from tests.conformance import KINDS, SITUATIONS, compiled, fit


@pytest.mark.parametrize("situation", SITUATIONS, ids=str)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_callback_keeps_its_promise(kind, situation, tmp_path):
    model = compiled(situation.make(), **situation.compile_args)
    for _ in range(situation.fits_before):
        fit(model)
    callback = kind.make(tmp_path)
    settings = {key: value for key, value in vars(callback).items() if not key.startswith("_")}
    for _ in range(situation.fits):
        history = fit(model, callback)
        kind.check(model, history, tmp_path, callback)
    assert all(compat.get_constraint(weight) is None for weight in model.trainable_weights)
    kept = {key: vars(callback)[key] for key in settings if key not in ("params", "report", "sensitivity", "lifecycle")}
    assert kept == {key: settings[key] for key in kept}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_one_callback_serves_one_model_after_another(kind, tmp_path):
    callback = kind.make(tmp_path)
    for situation in (SITUATIONS[0], SITUATIONS[3]):
        model = compiled(situation.make())
        kind.check(model, fit(model, callback), tmp_path, callback)
