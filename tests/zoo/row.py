"""One architecture, compressed in a short fit, exported, and read.

python -m tests.zoo.row "MobileNet" result.json
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.zoo.architectures import (
    ARCHITECTURES,
    CLASSES,
    CLUSTER,
    PRUNE,
    ROUND,
    SPARSITY,
    VALUES,
    VOCABULARY,
    Architecture,
)
from tests.zoo.reading import read

EXAMPLES, BATCH, EPOCHS = 16, 8, 8
FORMATS = ("float32", "int8")


def main(name: str, into: str) -> None:
    """Writes what was found."""
    one = next(architecture for architecture in ARCHITECTURES if architecture.name == name)
    with tempfile.TemporaryDirectory() as folder:
        found = compressed(one, Path(folder))
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    found["cpu_seconds"] = round(sum(each.ru_utime + each.ru_stime for each in used))
    Path(into).write_text(json.dumps(found))


def compressed(one: Architecture, folder: Path) -> dict[str, Any]:
    """The figures of the model and of each file."""
    from segopt_callbacks import ExportQuantizedCallback, compat

    keras = compat.keras
    keras.utils.set_random_seed(1)
    model = one.build(one.size)
    for layer in compat.batch_norms(model):
        layer.momentum = 0.5  # statistics are to arrive within a few steps
    inputs, targets = data(model)
    export = ExportQuantizedCallback(
        folder,
        FORMATS,
        evaluation_data=(inputs, targets),
        on_failure="warn",
        latency=False,
        remove_channels=False,  # so that a file's own zeros are those that were asked for
        verbose=0,
        float_fallback=True,
    )
    rates = (1e-3, 1e-4) if ROUND in one.treatments else (1e-3,)
    for rate in rates:
        is_last = rate == rates[-1]
        # KerasHub would add a metric of its own.
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(rate), loss, metrics=[])
        ours = callbacks(one, is_tuned=rate != rates[0]) + ([export] if is_last else [])
        model.fit(inputs, targets, batch_size=BATCH, epochs=EPOCHS, verbose=0, callbacks=ours)
    answers = np.asarray(model.predict(inputs, batch_size=BATCH, verbose=0))
    named = inputs if isinstance(inputs, dict) else {"": inputs}
    return {
        "parameters": model.count_params(),
        "files": {name: figures(entry, folder, named, answers) for name, entry in export.report["formats"].items()},
    }


def figures(entry: dict[str, Any], folder: Path, inputs: dict[str, np.ndarray], answers: np.ndarray) -> dict[str, Any]:
    """Those of one file, or why it is not there; and what the export warns of."""
    if entry["status"] != "ok":
        return {"error": entry["error"]}
    found = read(folder / entry["file"], inputs, answers)
    if entry["file"] == "float32.tflite":
        del found["float_operations"]  # all of them
    return {**found, "warnings": entry.get("warnings", [])}


def callbacks(one: Architecture, *, is_tuned: bool) -> list[Any]:
    """What a fit does to the model: zeros come in the first; a second, of a tuned model, trains against rounding."""
    from segopt_callbacks import (
        ClusterOnTrainEndCallback,
        PruningScheduleCallback,
        QuantizationAwareTrainingCallback,
        ramp_by_fraction,
    )

    made: list[Any] = []
    if PRUNE in one.treatments:
        made.append(PruningScheduleCallback(SPARSITY if is_tuned else ramp_by_fraction(SPARSITY, begin=0.0, end=0.5)))
    if CLUSTER in one.treatments:
        made.append(ClusterOnTrainEndCallback(VALUES))
    if ROUND in one.treatments and is_tuned:
        made.append(QuantizationAwareTrainingCallback())
    return made


def data(model: Any) -> tuple[Any, np.ndarray]:
    """Random examples, and classes by what is in them: the brightness of a pixel or an image, the first word."""
    random = np.random.default_rng(1)
    if isinstance(model.input, dict):
        words = random.integers(0, VOCABULARY, (EXAMPLES, model.input["words"].shape[1])).astype("int32")
        return {"words": words, "mask": np.ones_like(words)}, words[:, 0] % CLASSES
    shape = tuple(model.input_shape[1:])
    light = random.uniform(size=(EXAMPLES, *shape[:2], 1)) ** 2
    light *= random.uniform(0.2, 1, (EXAMPLES, 1, 1, 1))
    images = (light * random.uniform(0.8, 1, (EXAMPLES, *shape))).astype("float32")
    is_of_pixels = len(model.output_shape) == 4
    seen = images.mean(-1) if is_of_pixels else images.mean((1, 2, 3))
    return images, np.digitize(seen, np.quantile(seen, np.arange(1, CLASSES) / CLASSES)).astype("int32")


if __name__ == "__main__":
    main(*sys.argv[1:])
