"""Files that mean no good: one line and exit code 2, whatever is in them, in bounded memory and time."""

from __future__ import annotations

import contextlib
import json
import os
import zipfile

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from segopt_callbacks import pages, sizes
from segopt_callbacks.pages.page import page
from segopt_callbacks.pages.reading import parse, read_report
from segopt_callbacks.pages.sorting import SCRIPT
from tests.pages.report_samples import report
from tests.sizes import hostile_files
from tests.sizes.hostile_files import field

EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "150"))  # of each fuzzed reader
HALF_GIGABYTE = 1 << 29
RNG = np.random.default_rng(0)


def refused(ran: hostile_files.Ran, words: str = "") -> None:
    """It has said what is wrong in one line."""
    assert ran.code == 2, ran
    assert ran.errors.count("\n") == 1, ran.errors
    assert words in ran.errors
    assert "Traceback" not in ran.errors


# --- segopt-report ---------------------------------------------------------------------------------------------------


def deep(opening: str, closing: str, depth: int = 200_000) -> str:
    return opening * depth + closing * depth


REPORTS = {
    "empty": ("", "it is no JSON"),
    "cut_off": (json.dumps(report())[:-100], "it is no JSON"),
    "random": (RNG.bytes(5000), "it is no JSON"),
    "no_text": (b"\xff\xfe\xfd" * 1000, "it is no JSON"),
    "a_list": ("[]", "a report must be an object; it is a list"),
    "another_tool": ('{"results": []}', "it is no report of an export"),
    "deep_lists": (deep("[", "]"), "nested too deeply"),
    "deep_objects": (deep('{"a":', "}").replace(":}", ":1}", 1), "nested too deeply"),
    "nan": ('{"model": {"metrics": {"a": NaN}}, "formats": {}}', "it holds NaN, which is no number"),
    "infinity": ('{"model": {}, "formats": {"a": {"bytes": -Infinity}}}', "it holds -Infinity"),
    "beyond_float": ('{"model": {"metrics": {"a": 1e999}}, "formats": {}}', "a number beyond all bounds"),
    "digits": ('{"model": {}, "formats": {"a": {"bytes": 1%s}}}' % ("0" * 5000), "it is no JSON"),
    "long_integer": ('{"model": {}, "formats": {"a": {"bytes": 1%s}}}' % ("0" * 400), "from 0 to 2^63"),
    "negative": ('{"model": {}, "formats": {"a": {"gzip_bytes": -1}}}', "from 0 to 2^63"),
    "text_for_number": ('{"model": {}, "formats": {"a": {"zeros": "<b>"}}}', "`zeros` must be a number; it is text"),
    "list_for_object": ('{"model": [], "formats": {}}', "`model` must be an object; it is a list"),
    "no_latency": ('{"model": {}, "formats": {"a": {"latency_ms": {"one_thread": {"median": -3}}}}}', "above 0"),
    "many_formats": (json.dumps({"model": {}, "formats": {str(one): {} for one in range(1001)}}), "more than 1,000"),
    "many_values": ('{"model": {}, "formats": {}, "x": [' + "{}," * 2_500_000 + "0]}", "more than 2,000,000 values"),
}


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_that_means_no_good(tmp_path, capsys, name):
    content, words = REPORTS[name]
    path = tmp_path / "report.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert pages.main([str(tmp_path), "--output", str(tmp_path / "page.html")]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert f"{path} cannot be compared: " in printed.err
    assert words in printed.err
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("name", ["deep_lists", "many_values", "long_integer"])
def test_it_takes_little_memory(tmp_path, name):
    content, words = REPORTS[name]
    (tmp_path / "report.json").write_text(content)
    ran = hostile_files.command("segopt-report", [tmp_path], limit=HALF_GIGABYTE, cwd=tmp_path)
    refused(ran, words)
    assert ran.most_bytes < 200e6


def test_the_most_that_a_report_may_hold_fits_into_memory(tmp_path):
    """As many values as are let through, of the kind that takes most memory for a byte of JSON."""
    (tmp_path / "report.json").write_text('{"model": {}, "formats": {}, "x": [' + "{}," * 990_000 + "0]}")
    ran = hostile_files.command("segopt-report", [tmp_path], limit=HALF_GIGABYTE, cwd=tmp_path)
    assert ran.code == 0, ran
    assert ran.most_bytes < 300e6


def test_four_gigabytes_of_nothing(tmp_path):
    with (tmp_path / "report.json").open("wb") as stream:
        stream.truncate(2**32)  # a sparse file, which takes no room on the disk
    ran = hostile_files.command("segopt-report", [tmp_path], limit=HALF_GIGABYTE, cwd=tmp_path)
    refused(ran, "it has more than 67,108,864 bytes")
    assert ran.most_bytes < 200e6


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "report.json")
    refused(hostile_files.command("segopt-report", [tmp_path], cwd=tmp_path), "it is no regular file")
    (tmp_path / "report.json").unlink()
    (tmp_path / "report.json").symlink_to("/dev/zero")
    refused(hostile_files.command("segopt-report", [tmp_path], cwd=tmp_path), "it is no regular file")
    (tmp_path / "report.json").unlink()
    (tmp_path / "report.json").symlink_to("report.json")
    refused(hostile_files.command("segopt-report", [tmp_path], cwd=tmp_path), "Too many levels of symbolic links.")


@pytest.mark.parametrize("program", ["segopt-report", "segopt-sizes"])
def test_folders_in_folders_in_folders(tmp_path, program):
    """Deeper than Python recurses, and a link that leads back to the top."""
    with hostile_files.deep_folder(1500) as (top, inner):
        (top / "again").symlink_to(top)
        refused(hostile_files.command(program, [top], cwd=tmp_path), "it holds no ")
        (inner / "report.json").write_text(json.dumps(report()))
        (inner / "bad.tflite").write_bytes(b"")
        ran = hostile_files.command(program, [top], cwd=tmp_path)
    if program == "segopt-report":
        assert ran.code == 0, ran
        assert "of 1 runs" in ran.printed
    else:
        refused(ran, "bad.tflite cannot be weighed: the file is empty.")


def test_names_of_files_that_lead_elsewhere_are_text_and_no_more(tmp_path, capsys):
    """No path out of a report is ever opened."""
    secret = tmp_path / "secret.tflite"
    secret.write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    given = report()
    for number, (entry, name) in enumerate(
        zip(given["formats"].values(), ("../../secret.tflite", "../pipe", "/etc/passwd"), strict=False)
    ):
        entry["file"] = name
        assert number < 3
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(given))
    assert pages.main([str(folder), "--output", str(tmp_path / "page.html")]) == 0
    assert "root:" not in (tmp_path / "page.html").read_text()
    assert "/etc/passwd" in page(given)


def without_ours(content):
    """A page without the one script that it brings itself, at its end."""
    ours = f"<script>{SCRIPT}</script></body>"
    assert content.count(ours) == 1
    return content.replace(ours, "")


def test_names_that_no_file_system_and_no_terminal_takes(tmp_path, capsys):
    folder = tmp_path / "two\nlines\udcff<script>"
    folder.mkdir()
    given = report()
    given["formats"]["\ud800"] = given["formats"].pop("int8")
    (folder / "report.json").write_text(json.dumps(given))
    (folder / "report.html").write_text("")
    assert pages.main([str(tmp_path), str(folder / "absent\x1b[31m"), "--output", str(tmp_path / "page.html")]) == 2
    printed = capsys.readouterr()
    assert printed.out.count("\n") == 1
    assert printed.err.count("\n") == 1
    assert "\x1b" not in printed.err
    content = (tmp_path / "page.html").read_text()
    assert "<script>" not in without_ours(content)
    assert 'href="./two%0Alines%FF%3Cscript%3E/report.html"' in content


scalars = strategies.one_of(
    strategies.none(),
    strategies.booleans(),
    strategies.integers(),
    strategies.integers(10**18, 10**30),
    strategies.floats(),
    strategies.text(max_size=8),
    strategies.sampled_from(["<script>", "failed", "int8", "\ud800"]),
)
values = strategies.recursive(
    scalars,
    lambda inner: (
        strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value, way=()):
    """The way to every value of a report."""
    yield way
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(one, (*way, key))


def small_report():
    given = report()
    given["formats"] = {name: given["formats"][name] for name in ("int8", "tensorrt")}
    for entry in (given["model"], given["formats"]["int8"]):
        del entry["weights"][2:]
    given["formats"]["int8"]["worst_example"] = {"example": 3, "equal_argmax": 0.5, "classes": 3}
    given["formats"]["int8"]["notes"] = {"opset": 17, "encoding": "dense"}
    given["metadata"] = {"palette": [[0, 0, 0]], "classes": ["a"]}
    given["warnings"] = ["a warning"]
    return given


WAYS = list(places(small_report()))


@hypothesis.settings(max_examples=2 * EXAMPLES, deadline=None)
@hypothesis.given(way=strategies.sampled_from(WAYS), value=values)
def test_whatever_stands_in_a_report_it_is_refused_or_has_a_page(way, value):
    given = small_report()
    if way:
        inner = given
        for key in way[:-1]:
            inner = inner[key]
        inner[way[-1]] = value
    else:
        given = value
    with contextlib.suppress(sizes.CorruptFileError):
        parse(given)
        content = page(given, {"file/int8": "data:image/png;base64,AAAA"})
        content.encode("utf-8")
        assert "<script" not in without_ours(content)
        assert "nan" not in without_ours(content).lower().replace("nano", "")


@hypothesis.settings(max_examples=2 * EXAMPLES, deadline=None)
@hypothesis.given(data=strategies.data())
def test_damaged_bytes_of_a_report_never_escape_as_another_error(tmp_path_factory, data):
    content = bytearray(json.dumps(small_report()).encode())
    for _ in range(data.draw(strategies.integers(1, 6))):
        content[data.draw(strategies.integers(0, len(content) - 1))] = data.draw(strategies.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "report.json"
    path.write_bytes(content)
    with contextlib.suppress(sizes.CorruptFileError):
        assert len(read_report(path).rows) >= 1


# --- segopt-sizes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "weight_bytes"),
    [(hostile_files.shared_tensors(20_000), None), (hostile_files.shared_buffers(20_000, 500_000), 0)],
    ids=["tensors", "buffers"],
)
def test_tables_that_stand_for_millions_of_tables(tmp_path, content, weight_bytes):
    """400,000,000 tensors, and 10 GB of data, in files of 0.2 and 0.6 MB."""
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    assert len(content) < 1e6
    ran = hostile_files.command("segopt-sizes", [path])
    if weight_bytes is None:
        refused(ran, "its parts claim more bytes than it has")
    else:
        assert ran.code == 0
        assert sizes.read_ledger(path).weight_bytes == weight_bytes  # no tensor reads them
    assert ran.most_bytes < 150e6
    assert ran.seconds < 5


@pytest.mark.parametrize("name", ["../../secret.bin", "/etc/hostname", "..", "a\x00b", "n" * 5000, "pipe"])
def test_weights_of_an_onnx_file_are_looked_for_beside_it_alone(tmp_path, name):
    (tmp_path / "secret.bin").write_bytes(bytes(5000))
    os.mkfifo(tmp_path / "pipe")
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "pipe")
    (folder / "model.onnx").write_bytes(external(name.encode()))
    ran = hostile_files.command("segopt-sizes", [folder / "model.onnx"])
    refused(ran, "File name too long" if len(name) > 255 else "which is not beside it")
    assert len(ran.errors) < 1000


def external(location: bytes) -> bytes:
    """An ONNX model whose one weight is in another file."""
    return field(
        7,
        field(5, field(13, field(1, b"location") + field(2, location))),
    )


def test_a_zip_file_that_begins_before_its_beginning(tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(100))
    content = bytearray(path.read_bytes())
    directory = int.from_bytes(content[-6:-2], "little")
    content[-6:-2] = (directory + 1000).to_bytes(4, "little")
    path.write_bytes(content)
    refused(hostile_files.command("segopt-sizes", [path]), "the zip file is damaged")


def test_a_million_parts_of_nothing(tmp_path):
    """Every two bytes of these files ask for an object."""
    tensor = field(5, field(4, b"") * 200_000)
    for name, content in {
        "parts": field(7, tensor),
        "tensors": field(7, field(5, b"") * 1_000_001),
        "graphs": field(7, b"") * 200_000,
    }.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        ran = hostile_files.command("segopt-sizes", [path])
        assert ran.most_bytes < 300e6, name
        assert "Traceback" not in ran.errors
        if name == "tensors":
            refused(ran, "it claims more than 1,000,000 tensors")


def test_graphs_in_graphs_in_graphs(tmp_path):
    graph = b""
    for _ in range(300):
        graph = field(1, field(5, field(6, graph)))
    path = tmp_path / "deep.onnx"
    path.write_bytes(field(7, graph))
    refused(hostile_files.command("segopt-sizes", [path]), "nested more than 32 deep")
