"""What `fit` asks of callbacks, and the list of them that is running."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from segopt_callbacks.compat.kerases import keras

KerasCallback: Any = keras.callbacks.Callback


def take_after(wrapper: Any, callback: Any) -> None:
    """Makes `fit` treat `wrapper` as it would treat the `callback` in it."""
    wrapper._supports_tf_logs = getattr(callback, "_supports_tf_logs", False)
    for name in ("_chief_worker_only", *(f"_implements_{mode}_batch_hooks" for mode in ("train", "test", "predict"))):
        if hasattr(callback, name):  # callbacks of Keras 2
            setattr(wrapper, name, getattr(callback, name))


class Callback(KerasCallback):
    """A callback that the `fit` of either Keras accepts, whichever of them `tf.keras` is."""

    _supports_tf_logs = True  # Keras 2: hand over tensors, so that no step waits for its logs
    _chief_worker_only = None
    params: Any = None  # Keras 2 has none before set_params

    def set_model(self, model: Any) -> None:
        """Remembers the model that `fit` trains."""
        self._model = model

    @property
    def model(self) -> Any:
        """The model that `fit` trains, `None` before."""
        return self._model

    @model.setter
    def model(self, model: Any) -> None:
        """Keras 2 assigns the attribute in its constructor."""
        self._model = model

    # What the callback list of Keras 2 asks of each callback.
    def _implements_train_batch_hooks(self) -> bool:
        return not getattr(self.on_train_batch_end, "_is_default", False)

    def _implements_test_batch_hooks(self) -> bool:
        return False

    def _implements_predict_batch_hooks(self) -> bool:
        return False


HOOKS_OF_CALLBACKS = (
    *("on_epoch_begin", "on_epoch_end", "on_train_batch_begin", "on_train_batch_end"),
    *("on_test_begin", "on_test_end", "on_test_batch_begin", "on_test_batch_end"),
)


def running_callbacks(model: Any) -> Any:
    """The `CallbackList` that calls us now: the one of the running `fit`, or of the user's own loop over `model`.

    Its `callbacks` are everybody's, in order. `fit` hands it to nobody, so it is looked for among the calling frames.

    Returns:
        the list; `None` where hooks are called one by one.
    """
    frame = inspect.currentframe()
    while frame is not None:
        caller: Any = frame.f_locals.get("self")
        if _is_callback_list(caller) and getattr(caller, "model", None) is model:
            return caller
        frame = frame.f_back
    return None


def _is_callback_list(candidate: Any) -> bool:
    return any(base.__name__ == "CallbackList" and "keras" in base.__module__ for base in type(candidate).__mro__)


def after_callbacks(callbacks: Any, hook: Callable[[], None]) -> Callable[[], None]:
    """Calls `hook` once, when the `on_train_end` of everybody in the `CallbackList` has run.

    Returns:
        what takes the hook away, called or not.
    """

    def forget() -> None:
        vars(callbacks).pop("on_train_end", None)

    def on_train_end(logs: Any = None) -> None:
        forget()
        callbacks.on_train_end(logs)
        hook()

    callbacks.on_train_end = on_train_end
    return forget
