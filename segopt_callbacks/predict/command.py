"""The command `segopt-predict`: an exported file on images and folders of images of any size."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segopt_callbacks.commands import Parser, ends_with_its_reader
from segopt_callbacks.errors import FormatError, listed, printable
from segopt_callbacks.export import open_exported
from segopt_callbacks.predict.listing import Task, tasks
from segopt_callbacks.predict.running import Settings, Tally, run
from segopt_callbacks.predict.segmenter import OPEN_TILE, Scaling, Segmenter, SettingError, segmenter

DESCRIPTION = """Runs a file of an export on images of any size, in its own runtime, and writes the class of every
pixel: a PNG with the palette that the file tells, a GeoTIFF where the image is a TIFF. Large images are cut into tiles
that overlap, and the answers blended."""
EPILOG = """The file of `tvm` is a program: run only what you trust. Exit code: 0, 1 if an image has no mask, 2 if the
file or an argument is wrong."""
FAILED, USAGE_ERROR, INTERRUPTED = 1, 2, 130  # exit codes


@ends_with_its_reader
def main(argv: Sequence[str] | None = None) -> int:
    """Makes the masks of some images.

    Args:
        argv: arguments; default: those of the process.

    Returns:
        exit code: 0, or 1 if an image has no mask, 2 if the file or an argument is wrong, 130 after Ctrl-C.

    Raises:
        SystemExit: 0 after `--help`, 2 for an unknown flag.

    Example:
        >>> main(["nowhere.tflite", "photo.png", "--out=masks"])
        2
    """
    arguments = _parser().parse_args(argv)
    try:
        tally = _predict(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # nobody reads
        raise
    except (ValueError, FormatError) as error:
        return _complain(str(error))
    except OSError as error:
        return _complain(f"{error.filename or arguments.file}: {error.strerror or error}.")
    return FAILED if tally.failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser("segopt-predict", description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False)
    parser.add_argument("file", help="a .tflite or .onnx file, or the folder of a format")
    parser.add_argument("images", nargs="+", help="images, and folders of images: .png, .jpg, .tif and others")
    parser.add_argument("--out", required=True, help="folder for the masks; made if missing")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace masks that are there already")
    existing.add_argument("--skip_existing", action="store_true", help="leave out images whose masks are there already")
    _add_what_is_fed(parser)
    parser.add_argument("--output", metavar="NAME", help="which output holds the classes, where a file has several")
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        help="above which a pixel is class 1, where the output has one channel; 0 for logits. Default: 0.5",
    )
    parser.add_argument("--threads", type=int, help="threads of the runtime; default: as many as it wants")
    return parser


def _add_what_is_fed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--overlap",
        type=float,
        default=0.25,
        help="fraction of a tile that neighbours have in common, from 0 to 0.9. Default: 0.25",
    )
    parser.add_argument(
        "--tile",
        type=int,
        help=f"height and width of a tile in pixels, for a file that takes any size. Default: {OPEN_TILE}",
    )
    parser.add_argument(
        "--bands", type=_integers, default=(), metavar="NUMBERS", help="bands to read, from 1, such as 4,3,2"
    )
    parser.add_argument(
        "--scale",
        type=_numbers,
        default=(),
        metavar="NUMBERS",
        help="what pixels are multiplied by, one number or one for each band, such as 0.00392157. Default: 1",
    )
    parser.add_argument(
        "--offset", type=_numbers, default=(), metavar="NUMBERS", help="what is added after that. Default: 0"
    )


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


_numbers.__name__, _integers.__name__ = "numbers with commas between them", "whole numbers with commas between them"


def _predict(arguments: argparse.Namespace) -> Tally:
    _check(arguments)
    path, out = Path(arguments.file), Path(arguments.out)
    todo = _wanted(tasks(arguments.images, out), arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what matters is raised as well
    exported = open_exported(path, threads=arguments.threads)
    fed = {name: getattr(arguments, name) or _told(exported.about.get(name)) for name in ("bands", "scale", "offset")}
    scaling = Scaling(fed["scale"], fed["offset"])
    model = segmenter(exported, tile=arguments.tile, scaling=scaling, output=arguments.output)
    print(_about(path, model))
    palette = tuple(tuple(colour) for colour in exported.about.get("palette", ()))
    settings = Settings(arguments.overlap, arguments.threshold, tuple(map(int, fed["bands"])), palette)
    out.mkdir(parents=True, exist_ok=True)
    tally = run(todo, model, settings, told=print, failed=_tell)
    if tally.images:
        print(tally.shares(exported.about.get("classes", ())))
    print(f"{tally.throughput()}. Masks: {out}")
    if tally.failed:
        count = f"{len(tally.failed)} of {len(todo)} images have"
        _tell(f"{count if len(todo) > 1 else 'The image has'} no mask: {listed(list(tally.failed))}")
    return tally


def _check(arguments: argparse.Namespace) -> None:
    if not 0 <= arguments.overlap <= 0.9:
        raise SettingError(f"`--overlap` must be from 0 to 0.9. Received: {arguments.overlap}.")
    for name in ("tile", "threads"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise SettingError(f"`--{name}` must be at least 1. Received: {value}.")
    if arguments.bands and min(arguments.bands) < 1:
        raise SettingError(f"`--bands` must be numbers from 1. Received: {min(arguments.bands)}.")


def _wanted(every: list[Task], arguments: argparse.Namespace) -> list[Task]:
    """The images whose masks are to be made.

    Raises:
        SettingError: if masks are there, and nobody has said what to do with them.
    """
    missing = [task for task in every if not os.path.lexists(task.mask)]
    there = len(every) - len(missing)
    if arguments.overwrite or not there:
        return every
    if not arguments.skip_existing:
        raise SettingError(
            f"Masks must not be there yet; pass --overwrite to replace them, or --skip_existing to make the others. "
            f"Received: {there} of {len(every)} in {arguments.out}."
        )
    print(f"{there} of {len(every)} images have masks already.")
    return missing


def _told(numbers: Any) -> tuple[float, ...]:
    """What the metadata of a file say of it, where that is a number or a list of numbers."""
    every = numbers if isinstance(numbers, list) else [numbers]
    return tuple(every) if all(type(one) in (int, float) for one in every) else ()


def _about(path: Path, model: Segmenter) -> str:
    height, width = model.tile
    scaled = "scaled" if model.scaling != Scaling() else "as they stand in the images"
    names: Sequence[Any] = model.exported.about.get("classes", ())
    classes = f", {len(names)} classes" if names else ""
    return (
        f"{path.name} ({model.exported.about['format']}): tiles of {height}x{width} (height x width), "
        f"{model.bands or 'any'} bands of {model.dtype}, pixels {scaled}{classes}"
    )


def _tell(text: str) -> None:
    print(printable(f"segopt-predict: {text}"), file=sys.stderr)


def _complain(text: str) -> int:
    _tell(" ".join(text.split()))
    return USAGE_ERROR
