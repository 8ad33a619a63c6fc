"""The command `segopt-export`: a saved Keras model -> every deployable file, verified."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segopt_callbacks.commands import Parser, ends_with_its_reader
from segopt_callbacks.errors import ExportError, FormatError, printable
from segopt_callbacks.export import ethos_u
from segopt_callbacks.export.formats import TARGETS, Format, validate_formats
from segopt_callbacks.export.intake import (
    CommandError,
    check_model,
    compile_with_metrics,
    import_own,
    load_model,
    read_data,
)
from segopt_callbacks.processes import quiet

DESCRIPTION = """Exports a saved Keras model: every format is written, opened, run on the data, compared with the model,
and weighed. The files appear in the output folder together, with report.json, report.md and report.html."""
EPILOG = """A model is loaded by the Keras that `tf.keras` is: Keras 3, or Keras 2 (tf-keras) where the environment
has TF_USE_LEGACY_KERAS=1. Exit code: 0, 1 if a format could not be exported, 2 if a file or an argument is wrong."""
FAILED, USAGE_ERROR, INTERRUPTED = 1, 2, 130  # exit codes
_FLAGS = {  # what arguments of `export_model` are called here
    "`evaluation_data` or `representative_dataset`": "`--data`",
    "`representative_dataset` or `evaluation_data`": "`--data`",
    "`formats`": "`--formats`",
    "`time_limit`": "`--time_limit`",
    "`float_fallback=True`": "`--float_fallback`",
    "`allow_float`": "`--allow_float`",
    "`accelerator`": "`--accelerator`",
}


@ends_with_its_reader
def main(argv: Sequence[str] | None = None) -> int:
    """Exports one model.

    Args:
        argv: arguments; default: those of the process.

    Returns:
        exit code: 0, or 1 if a format could not be exported, 2 if a file or an argument is wrong, 130 after Ctrl-C.
        Each error is one line on stderr.

    Raises:
        SystemExit: 0 after `--help`, 2 for an unknown flag.

    Example:
        >>> main(["nowhere.keras"])
        2
    """
    arguments = _parser().parse_args(argv)
    try:
        _export(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # nobody reads
        raise
    except ExportError as error:
        return _complain(_in_flags(str(error)), FAILED)
    except (ValueError, FormatError) as error:
        return _complain(_in_flags(" ".join(str(error).split())), USAGE_ERROR)
    except OSError as error:
        return _complain(f"{error.filename or arguments.model}: {error.strerror or error}.", USAGE_ERROR)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser("segopt-export", description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False)
    parser.add_argument("model", help="a .keras or .h5 file; with Keras 2 also the folder of a Keras SavedModel")
    known = ", ".join(TARGETS)
    parser.add_argument(
        "--formats",
        help=f"names with commas between them: {known}. Default: saved_model,float32, and int8 where there are data",
    )
    _add_what_files_are_judged_on(parser)
    parser.add_argument("--output_dir", help="default: a folder beside the model, called as it is, with _export")
    parser.add_argument(
        "--import",
        dest="modules",
        action="append",
        default=[],
        metavar="MODULE[:CLASS]",
        help="a module that registers the model's own classes with Keras, or one class (or function) of a module, "
        "registered or not; may be given several times",
    )
    parser.add_argument("--metadata", help="a JSON file of what the files are to tell: classes, palette, scaling ...")
    parser.add_argument("--time_limit", type=float, default=600.0, help="seconds for writing a file; default: 600")
    parser.add_argument(
        "--no_latency",
        action="store_true",
        help="do not time the files, which takes about half a second for each, more for large models",
    )
    _add_what_files_may_hold(parser)
    parser.add_argument(
        "--unsafe",
        action="store_true",
        help="load a file that brings code of its own (Lambda layers), and run that; only for files that you have made",
    )
    return parser


def _add_what_files_are_judged_on(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        help="an .npz file with an array x (inputs, batch first) and, if there are any, y; or a folder of images of "
        "one size (.png, .jpg), or of a subfolder images/. Integer formats need it",
    )
    parser.add_argument("--scale", type=float, help="what pixels (0 to 255) or x are multiplied by, such as 0.00392157")
    parser.add_argument(
        "--metrics",
        default="",
        metavar="NAMES",
        help="Keras metrics by which files are judged, with commas between them: accuracy,AUC. Default: those that the "
        "model was compiled with; they need y in the data",
    )


def _add_what_files_may_hold(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--float_fallback",
        action="store_true",
        help="let integer files compute in float what has no integer form; the report names it",
    )
    parser.add_argument(
        "--allow_float",
        default="",
        metavar="NAMES",
        help="operations (ELU) or layers that alone may compute in float in integer files, with commas between them",
    )
    parser.add_argument(
        "--nosparse",
        action="store_true",
        help="write the zeros of weights into .tflite files, for runtimes that take dense weights only: tflite-micro, "
        "NPUs",
    )
    parser.add_argument(
        "--noremove_channels",
        action="store_true",
        help="keep channels that are zero whatever the input, in every file; by default they leave it",
    )
    parser.add_argument(
        "--accelerator",
        default=ethos_u.DEFAULT,
        help=f"the NPU that ethos_u is compiled for: {', '.join(ethos_u.ACCELERATORS)}. Default: {ethos_u.DEFAULT}",
    )


def _export(arguments: argparse.Namespace) -> None:
    # All that can be told without TensorFlow, which takes seconds to import, is told first.
    path = _existing(arguments.model)
    data = None if arguments.data is None else _existing(arguments.data)
    formats = _formats(arguments.formats, has_data=data is not None)
    ethos_u.validate_accelerator(arguments.accelerator)
    metadata = None if arguments.metadata is None else _read_json(_existing(arguments.metadata))
    output_dir = Path(arguments.output_dir or path.with_name(f"{path.stem}_export"))
    check_model(path, unsafe=arguments.unsafe)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what matters is raised as well
    with quiet():
        import tensorflow as tf

        tf.config.list_logical_devices()  # says here what it has to say about missing GPUs
    from segopt_callbacks.export.exporter import export_model

    if arguments.modules:
        sys.path.insert(0, "")  # a command does not look into the working directory by itself
    own = import_own(arguments.modules)
    model = load_model(path, own, unsafe=arguments.unsafe)
    compile_with_metrics(model, path, _names(arguments.metrics), own)
    export_model(
        model,
        output_dir,
        formats,
        **({} if data is None else read_data(data, arguments.scale)),
        metadata=metadata,
        time_limit=arguments.time_limit,
        latency=not arguments.no_latency,
        float_fallback=arguments.float_fallback,
        allow_float=_names(arguments.allow_float),
        sparse=False if arguments.nosparse else "auto",
        accelerator=arguments.accelerator,
        remove_channels=not arguments.noremove_channels,
    )


def _formats(names: str | None, *, has_data: bool) -> tuple[Format, ...]:
    if names is None:
        return ("saved_model", "float32", "int8") if has_data else ("saved_model", "float32")
    return validate_formats(_names(names), has_data=has_data)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _existing(path: str) -> Path:
    if not Path(path).exists():
        raise CommandError(f"A path must exist; correct it. Received: {path}.")
    return Path(path)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CommandError(f"`--metadata` must be a JSON file. Received: {path} ({error}).") from error


def _in_flags(text: str) -> str:
    for argument, flag in _FLAGS.items():
        text = text.replace(argument, flag)
    return text


def _complain(text: str, code: int) -> int:
    print(printable(f"segopt-export: {text}"), file=sys.stderr)
    return code
