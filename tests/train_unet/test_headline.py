"""The last line of a run."""

from train_unet.headline import headline


def entry(name, size, packed, miou, ratio=None):
    made = {"status": "ok", "file": f"{name}.tflite", "bytes": size, "gzip_bytes": packed, "metrics": {"mIoU": miou}}
    timed = {"latency_ms": {"one_thread": {"median": 4.0, "ratio_to_float32": {"median": ratio}}}} if ratio else {}
    return made | timed


def test_the_fastest_integer_file_is_told_of():
    formats = {
        "float32": entry("float32", 2_000_000, 1_800_000, 0.8, 1.0),
        "int8": entry("int8", 250_000, 140_000, 0.757, 0.25),
        "dynamic_int8": entry("dynamic_int8", 500_000, 120_000, 0.75, 0.3),
        "int4": {"status": "failed", "error": "no"},
    }
    report = {"model": {"parameters": 500_000}, "formats": formats}
    assert headline(report, lookup=0.744, dense=0.759) == (
        "int8.tflite: 0.25 MB (0.14 MB after gzip), 8.0 times smaller than the float weights and 4.0 times as fast as "
        "float32; mIoU 0.757 (dense float model 0.759, colour lookup 0.744)"
    )


def test_untimed_the_smallest_and_without_integer_files_nothing():
    formats = {"int8": entry("int8", 250_000, 140_000, 0.757), "int4": entry("int4", 270_000, 30_000, 0.73)}
    told = headline({"model": {"parameters": 500_000}, "formats": formats}, lookup=0.744)
    assert told.startswith("int4.tflite: 0.27 MB (0.03 MB after gzip)")
    assert told.endswith("mIoU 0.730 (colour lookup 0.744)")
    formats = {"float32": entry("float32", 1, 1, 0.7)}
    assert headline({"model": {"parameters": 1}, "formats": formats}, lookup=0.5) == ""
