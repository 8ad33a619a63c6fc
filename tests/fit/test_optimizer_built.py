"""The optimizer's variables exist before the step is traced: Keras 3 would make each in a branch of its own."""

import pytest

from segopt_callbacks import ConstantSparsity, PruningScheduleCallback, compat
from tests import conformance

keras = compat.keras


class Watching(keras.callbacks.Callback):
    """How many variables the optimizer has when the first step is about to be traced."""

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 0:
            self.seen = len(variables(self.model.optimizer))


def variables(optimizer):
    found = optimizer.variables
    return found() if callable(found) else found


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_fit_makes_those_of_a_plain_one_before_it_traces(optimizer):
    plain, model, watching = *(conformance.built(conformance.Segmenter)() for _ in range(2)), Watching()
    for one in (plain, model):
        one.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    pruning = PruningScheduleCallback(ConstantSparsity(0.5, begin_step=0))
    plain.fit(conformance.IMAGES, conformance.LABELS, batch_size=8, verbose=0)
    model.fit(conformance.IMAGES, conformance.LABELS, batch_size=8, verbose=0, callbacks=[pruning, watching])
    shapes = [tuple(one.shape) for one in variables(plain.optimizer)]
    assert [tuple(one.shape) for one in variables(model.optimizer)] == shapes
    assert compat.is_keras_2(model) or watching.seen == len(shapes)


def test_a_train_step_of_its_own_is_left_to_choose():
    class Half(conformance.Segmenter):
        def train_step(self, data):
            return super().train_step(data)

    model = conformance.built(Half)()
    model.compile("adam")
    compat.build_optimizer(model)
    assert not getattr(model.optimizer, "built", False) or compat.is_keras_2(model)
