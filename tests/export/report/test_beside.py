"""Where integers cost bytes or time, a report says so."""

from segopt_callbacks.export.report import beside_float32


def entry(name, size, elements, ratio=None):
    made = {"status": "ok", "file": f"{name}.tflite", "bytes": size, "elements": elements}
    return made | ({"latency_ms": {"one_thread": {"median": 1.0, "ratio_to_float32": ratio}}} if ratio else {})


def test_only_what_is_larger_or_slower_is_named():
    entries = {
        "float32": entry("float32", 500_000, 490_000),
        "int8": entry("int8", 240_000, 490_000, {"median": 0.3, "low": 0.2, "high": 0.4}),
        "dynamic_int8": entry("dynamic_int8", 514_000, 490_000, {"median": 1.02, "low": 0.9, "high": 1.1}),
        "int4": entry("int4", 270_000, 490_000, {"median": 1.3, "low": 1.2, "high": 1.4}),
        "onnx": entry("onnx", 2_000_000, 490_000) | {"file": "model.onnx"},
        "tflm_int8": {"status": "failed", "error": "no"},
    }
    told = beside_float32(entries)
    assert told.keys() == {"dynamic_int8", "int4"}
    assert "leaves the zeros of its weights out" in told["dynamic_int8"]
    assert "times the time" not in told["dynamic_int8"]  # not in the whole interval
    assert told["int4"].startswith("1.3 times the time of float32")


def test_of_few_weights_both_are_explained():
    entries = {
        "float32": entry("float32", 5_000, 900),
        "int8": entry("int8", 6_500, 900, {"median": 1.9, "low": 1.7, "high": 2.0}),
    }
    (told,) = beside_float32(entries).values()
    assert "of 900 weights, scales and graph outweigh" in told
    assert "1.9 times the time of float32: so little is computed" in told
    assert beside_float32({"int8": entries["int8"]}) == {}
