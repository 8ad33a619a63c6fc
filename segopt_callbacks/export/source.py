"""What every format is made from: the inference function as files, with the names of its inputs and outputs."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.errors import FormatError, first_line
from segopt_callbacks.records import Port

ANY_BATCH, ONE = "any_batch", "one"  # SavedModels: the batch is open, and 1
_EXAMPLES = "examples"


@dataclass(frozen=True)
class Source:
    """The inference function on disk, in reach of any process; needs no Keras.

    Attributes:
        folder: holds the SavedModels, and the representative examples.
        inputs: in the order in which examples and runners have them.
        outputs: likewise.
        metadata: what files should tell about the model, ready for JSON.
        allows_float: whether an integer file may compute in float what has no integer form.
        leaves_zeros_out: whether a file may hold weights without their zeros, where that is smaller.
        accelerator: the NPU that a file is compiled for, where a format is.
        has_ranges: whether the function itself holds the ranges of what it computes, so that no examples are needed.
        plain: the same function without ranges, where a converter may find them by itself if it refuses these.
        why_plain: why there are none though they were looked for, for the report.
    """

    folder: Path
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    has_ranges: bool = False
    allows_float: bool = False
    leaves_zeros_out: bool = True
    accelerator: str = ""
    plain: Source | None = None
    why_plain: str = ""

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return tuple(port.name for port in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(port.name for port in self.outputs)

    @property
    def saved_model(self) -> Path:
        """The SavedModel of batch 1."""
        return self.folder / ONE

    def function(self) -> tuple[Any, Any]:
        """The `tf.function` of batch 1, traced, and the module that keeps its variables.

        It takes inputs by name, and returns outputs by name.
        """
        module = _loaded(self.saved_model)
        return module.signatures["serving_default"], module

    def definition(self) -> Any:
        """The `GraphDef` of batch 1, without its variables."""
        from tensorflow.core.protobuf import saved_model_pb2

        content = (self.saved_model / "saved_model.pb").read_bytes()
        return saved_model_pb2.SavedModel.FromString(content).meta_graphs[0].graph_def

    def kernels(self) -> Iterator[np.ndarray]:
        """The float32 variables of rank 2 or more, as Keras has them; each is read when it is asked for."""
        import tensorflow as tf

        reader = tf.train.load_checkpoint(str(self.saved_model / "variables" / "variables"))
        dtypes = reader.get_variable_to_dtype_map()
        for key, shape in reader.get_variable_to_shape_map().items():
            if len(shape) >= 2 and dtypes[key] == tf.float32:
                yield reader.get_tensor(key)

    def save_examples(self, examples: Iterable[list[np.ndarray]]) -> None:
        """Keeps representative inputs of batch size 1, for `examples`; once, and all or none.

        Raises:
            FormatError: if they cannot be written.
        """
        if self.plain is not None:
            self.plain.save_examples(examples)
            return
        if (self.folder / _EXAMPLES).exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=_EXAMPLES, dir=self.folder))
        for number, example in enumerate(examples):
            for index, value in enumerate(example):
                _save(unfinished / f"{number:05}_{index:02}.npy", value)
        unfinished.rename(self.folder / _EXAMPLES)

    def examples(self) -> Iterator[list[np.ndarray]]:
        """The representative inputs, each a list in the order of `inputs`."""
        folder = self.folder if self.plain is None else self.plain.folder
        files = sorted((folder / _EXAMPLES).glob("*.npy"))
        for start in range(0, len(files), len(self.inputs)):
            yield [np.load(file) for file in files[start : start + len(self.inputs)]]


def _save(path: Path, value: np.ndarray) -> None:
    try:
        np.save(path, value)
    except OSError as error:  # by our own file: the user's data may raise one too
        raise FormatError(f"the representative inputs cannot be kept: {first_line(error)}") from error


@functools.lru_cache(maxsize=1)
def _loaded(folder: Path) -> Any:
    import tensorflow as tf

    return tf.saved_model.load(str(folder))
