"""Makes `notebook.ipynb`: runs its cells, and keeps what they show.

python docs/make_notebook.py   # about a minute on 2 cores

Needs `pip install nbclient ipykernel pillow`.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

NOTEBOOK = Path(__file__).with_name("notebook.ipynb")
CELLS = (  # Markdown, and the code that follows it
    (
        """\
# Your own model, compressed in five minutes

A subclassed model learns to find a disk in a noisy image. Then it is pruned, clustered, and exported to files that are
run and compared with it. Put your data and your model in place of these.

```console
$ pip install .   # in the checkout of segopt-callbacks
```""",
        """\
import keras
import numpy as np

SIZE = 48
random = np.random.default_rng(0)


def disks(count):
    \"\"\"Noisy images (uint8), and a mask of the disk in each.\"\"\"
    centre, radius = random.uniform(12, 36, (count, 2, 1, 1)), random.uniform(6, 14, (count, 1, 1))
    rows, columns = np.mgrid[:SIZE, :SIZE]
    masks = ((rows - centre[:, 0]) ** 2 + (columns - centre[:, 1]) ** 2 < radius**2).astype("int32")
    colours, grounds = random.uniform(110, 240, (count, 1, 1, 3)), random.uniform(10, 140, (count, 1, 1, 3))
    images = np.where(masks[..., None], colours, grounds) + random.normal(0, 20, (count, SIZE, SIZE, 3))
    return images.clip(0, 255).astype("uint8"), masks


train, test = disks(256), disks(32)""",
    ),
    (
        """\
## The model

It is subclassed; functional and sequential models work alike, of Keras 3 or `tf_keras`.""",
        """\
class Segmenter(keras.Model):
    def __init__(self):
        super().__init__()
        self.scale = keras.layers.Rescaling(1 / 255)
        self.down = [keras.layers.Conv2D(n, 3, 2, "same", activation="relu") for n in (24, 48)]
        self.middle = keras.layers.Conv2D(96, 3, padding="same", activation="relu")
        self.up = [keras.layers.Conv2DTranspose(n, 3, 2, "same", activation="relu") for n in (48, 24)]
        self.head = keras.layers.Conv2D(2, 1)

    def call(self, hidden):
        hidden = self.scale(hidden)
        for layer in [*self.down, self.middle, *self.up, self.head]:
            hidden = layer(hidden)
        return hidden


keras.utils.set_random_seed(0)
model = Segmenter()
model.compile(
    keras.optimizers.Adam(3e-3),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[keras.metrics.MeanIoU(2, sparse_y_pred=False, name="mIoU")],
)
model.fit(*train, batch_size=16, epochs=10, verbose=0)
dense = model.evaluate(*test, verbose=0, return_dict=True)
dense["mIoU"]""",
    ),
    (
        """\
## Compression, inside `fit`

80% of the weights become zero, the others take 16 values, and when training ends the files are made.""",
        """\
from segopt_callbacks import (
    ClusterOnTrainEndCallback,
    ExportQuantizedCallback,
    PruningScheduleCallback,
    ramp_by_fraction,
)

export = ExportQuantizedCallback(
    "exported", ("float32", "dynamic_int8", "int8"), evaluation_data=test, verbose=0
)
model.fit(*train, batch_size=16, epochs=15, verbose=0, callbacks=[
    PruningScheduleCallback(ramp_by_fraction(0.8), distribution="erk"),
    ClusterOnTrainEndCallback(16),
    export,
])
export.report["model"]["zeros"]""",
    ),
    (
        """\
## The report

`export.report` is a dict, and a notebook shows it as a table. The dense model gets a row of its own.""",
        """\
from segopt_callbacks.export import add_baseline

add_baseline("exported", "dense float32", {"mIoU": dense["mIoU"]})""",
    ),
    (
        """\
`exported/report.html` has plots, the zeros of each weight, and the examples on which files differ most from the model.

## The int8 file

This program needs neither the model nor `segopt_callbacks`. From left to right: image, ground truth, answer.""",
        """\
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter("exported/int8.tflite")
run = interpreter.get_signature_runner()
(name,), rows = run.get_input_details(), []
for image, mask in zip(test[0][:3], test[1][:3], strict=True):
    (answer,) = run(**{name: image[None]}).values()
    rows.append(np.hstack([image, *(np.stack([one * 255] * 3, -1) for one in (mask, answer[0].argmax(-1)))]))
keras.utils.array_to_img(np.vstack(rows), scale=False)""",
    ),
    (
        """\
## Which layers to spare

`layer_sensitivity` compresses one weight at a time. Where a bar is long, leave the weight out by `filters`.""",
        """\
from segopt_callbacks import layer_sensitivity

sensitivity = layer_sensitivity(model, test, monitor="mIoU", treatments=("int4", "cluster"))
sensitivity""",
    ),
)
LAST = "More: [quick start](quick_start.md), [choose settings](choose.md), [how to read the report](report.md)."


def main() -> None:
    """Writes the notebook."""
    import nbformat
    from nbclient import NotebookClient
    from nbformat import v4

    makes = v4.new_markdown_cell, v4.new_code_cell
    cells = [make(one) for pair in CELLS for make, one in zip(makes, pair, strict=True)]
    notebook = v4.new_notebook(cells=[*cells, v4.new_markdown_cell(LAST)])
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(NOTEBOOK.parents[1])}
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=900, resources={"metadata": {"path": folder}}).execute()
    for number, cell in enumerate(notebook.cells):
        cell.metadata.clear()  # when it ran
        cell.id = f"cell-{number}"
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.output_type != "stream"]  # what TensorFlow logs
            for one in cell.outputs:
                one.data.pop("image/jpeg", None)  # beside the PNG
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(notebook, NOTEBOOK)
    print(f"{NOTEBOOK.name}: {NOTEBOOK.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
