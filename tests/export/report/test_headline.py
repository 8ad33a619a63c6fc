"""The line that an export, and a run of `train.py`, ends with."""

import pytest

from segopt_callbacks.export import headline


def entry(name, size, packed, miou, ratio=None):
    made = {"status": "ok", "file": f"{name}.tflite", "bytes": size, "gzip_bytes": packed, "metrics": {"mIoU": miou}}
    timed = {"latency_ms": {"one_thread": {"median": 4.0, "ratio_to_float32": {"median": ratio}}}} if ratio else {}
    return made | timed


def report(formats, parameters=500_000):
    return {"model": {"parameters": parameters, "metrics": {"mIoU": 0.7586}}, "baselines": {}, "formats": formats}


FORMATS = {
    "float32": entry("float32", 2_000_000, 1_800_000, 0.8),
    "int8": entry("int8", 250_000, 140_000, 0.757, 0.25),
    "dynamic_int8": entry("dynamic_int8", 500_000, 120_000, 0.75, 0.3),
    "int4": {"status": "failed", "error": "no"},
}


def test_the_fastest_integer_file_is_told_of():
    told = "int8.tflite: 0.25 MB (0.14 MB after gzip), 8.0 times smaller than the float weights and 4.0 times as fast "
    assert headline(report(FORMATS)) == f"{told}as float32; mIoU 0.757 (float32 0.800)"
    beside = {"dense float model": 0.759, "colour lookup": 0.744}
    assert headline(report(FORMATS), beside) == (
        f"{told}as float32; mIoU 0.757 (dense float model 0.759, colour lookup 0.744)"
    )


def test_of_files_that_are_as_fast_the_smallest_is_told_of():
    formats = {**FORMATS, "dynamic_int8": entry("dynamic_int8", 500_000, 120_000, 0.75, 0.24)}
    assert headline(report(formats)).startswith("int8.tflite: ")
    formats["dynamic_int8"] = entry("dynamic_int8", 500_000, 120_000, 0.75, 0.2)
    assert headline(report(formats)).startswith("dynamic_int8.tflite: ")


def test_untimed_the_smallest_beside_the_model():
    formats = {"int8": entry("int8", 250_000, 140_000, 0.757), "int4": entry("int4", 270_000, 30_000, 0.73)}
    assert headline(report(formats)).startswith("int4.tflite: 0.27 MB (30.0 kB after gzip), 7.4 times smaller than")
    assert headline(report(formats)).endswith("mIoU 0.730 (model 0.759)")


def test_floats_alone_are_told_of_and_a_file_may_be_larger_than_its_weights():
    told = headline(report({"float32": entry("float32", 10_144, 4_900, 0.7)}, parameters=2_000))
    assert told == (
        "float32.tflite: 10.1 kB (4.9 kB after gzip), 1.3 times as large as the float weights; mIoU 0.700 (model 0.759)"
    )


@pytest.mark.parametrize("formats", [{"int4": FORMATS["int4"]}, {"int8": entry("int8", 9, 9, 0.5) | {"metrics": {}}}])
def test_nothing_is_said_of_files_that_failed_or_have_no_metric(formats):
    assert headline(report(formats)) == ""
