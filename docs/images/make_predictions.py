"""The README's picture: image, truth, dense float prediction, int8 prediction, of a run with `--baseline`.

cd train_unet && python train.py --prune --cluster --baseline --output_dir=RUN
python docs/images/make_predictions.py RUN
"""

import json
import pathlib
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageDraw, ImageFont

import train_unet.unet  # noqa: F401  (registers the model)
from segopt_callbacks.compat import keras
from train_unet.data import load
from train_unet.folder import open_folder

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
ROWS, SIDE, GAP, HEADER, LEGEND = 3, 232, 10, 66, 40


def int8_answers(path, images):
    """Class ids of each image by the `.tflite` file; quantization keeps the order of the logits."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    answers = []
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0].argmax(-1))
    return np.array(answers)


def varied(masks, classes):
    """The images that show most classes, by the entropy of their shares; far apart in the list."""
    shares = np.array([np.bincount(mask.ravel(), minlength=classes + 1)[:classes] / mask.size for mask in masks])
    entropy = -(shares * np.log(np.maximum(shares, 1e-9))).sum(1)
    return [int(part[np.argmax(entropy[part])]) for part in np.array_split(np.arange(len(masks)), ROWS)]


def text(draw, at, words, size, fill="#1a1a1a"):
    draw.text(at, words, font=ImageFont.load_default(size), fill=fill)


def main(run):
    run = pathlib.Path(run)
    folder = open_folder(ROOT / "train_unet" / "data" / "landcover", size_multiple=8)
    pairs = list(load(folder, "test").as_numpy_iterator())
    chosen = varied([mask for _, mask in pairs], len(folder.classes))
    images = np.array([pairs[i][0] for i in chosen])
    truth = np.array([pairs[i][1] for i in chosen])
    dense = keras.models.load_model(run / "baseline.keras", compile=False).predict(images, verbose=0).argmax(-1)
    small = int8_answers(run / "export" / "int8.tflite", images)
    palette = np.asarray(folder.palette, np.uint8)
    columns = [images, palette[truth], palette[dense], palette[small]]
    captions = headers(json.loads((run / "export" / "report.json").read_text()))
    size = (4 * SIDE + 5 * GAP, HEADER + ROWS * (SIDE + GAP) + LEGEND)
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for column, (pictures, (title, detail)) in enumerate(zip(columns, captions, strict=True)):
        left = GAP + column * (SIDE + GAP)
        text(draw, (left, 10), title, 19)
        text(draw, (left, 37), detail, 15, "#555555")
        for row, picture in enumerate(pictures):
            square = Image.fromarray(picture.astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.NEAREST)
            canvas.paste(square, (left, HEADER + row * (SIDE + GAP)))
    left = GAP
    for name, colour in zip([*folder.classes, "unlabelled"], palette, strict=True):
        draw.rectangle((left, size[1] - 30, left + 18, size[1] - 12), fill=tuple(int(part) for part in colour))
        text(draw, (left + 26, size[1] - 31), name.replace("_", " "), 16)
        left += 60 + 9 * len(name)
    canvas.save(HERE / "predictions.png", optimize=True)


def headers(report):
    """Title and detail of each column."""
    small, dense = report["formats"]["int8"], report["baselines"]["dense float32"]
    return [
        ("image", "test split"),
        ("truth", "MODIS land cover"),
        ("dense float32", f"mIoU {dense['metrics']['mIoU']:.3f}"),
        ("pruned, clustered int8", f"mIoU {small['metrics']['mIoU']:.3f}, {small['gzip_bytes'] / 1024:.0f} KiB gzip"),
    ]


if __name__ == "__main__":
    main(sys.argv[1])
