import json

import pytest

from segopt_callbacks.export import add_baseline
from segopt_callbacks.export.report.report import markdown, write_report
from segopt_callbacks.export.report.text import table

WEIGHT = {
    "name": "conv/Conv2D",
    "weight": "net/conv/kernel",
    "shape": [8, 3, 3, 3],
    "dtype": "int8",
    "elements": 216,
    "zeros": 54,
    "distinct": 20,
    "max_distinct_per_channel": 16,
    "scales": 8,
}
REPORT = {
    "model": {"name": "net", "metrics": {"miou": 0.75, "per_class": [0.5, 1.0]}, "zeros": 0.25},
    "formats": {
        "int8": {
            "status": "ok",
            "file": "int8.tflite",
            "bytes": 123456,
            "gzip_bytes": 65432,
            "entropy_bytes": 60111,
            "metrics": {"miou": 0.7412},
            "largest_difference": 0.0312,
            "equal_argmax": 0.9876,
            "zeros": 0.25,
            "max_distinct_per_channel": 16,
            "weights": [WEIGHT],
        },
        "float16": {"status": "failed", "error": "the converter refuses the model", "earlier_file_kept": False},
    },
    "baselines": {},
    "verification": {"examples": 42, "data": "evaluation data"},
}


def test_columns_are_aligned_and_figures_readable():
    head, model, int8, failed = table(REPORT).splitlines()
    assert head.split() == ["miou", "of", "model", "bytes", "gzip", "bytes"]
    assert len(head) == len(model) == len(int8)
    assert int8.split() == ["int8", "0.7412", "0.988", "123,456", "65,432"]
    assert failed == "float16: FAILED: the converter refuses the model"


def test_metrics_sizes_and_times_stand_beside_dense_ones_and_the_table_fits_a_terminal():
    def entry(size, ms, **metrics):
        times = {"median": ms, "low": ms, "high": ms, "ratio_to_float32": {"median": ms / 8, "low": 0.1, "high": 9.0}}
        figures = {"bytes": 2 * size, "gzip_bytes": size, "equal_argmax": 0.5, "metrics": metrics}
        return {"status": "ok", **figures, "latency_ms": {key: times for key in ("one_thread", "all_threads")}}

    many = {f"metric_{number}": 0.123 for number in range(20)}
    formats = {"float32": entry(1_000_000, 8.0, **many), "weight_only_int8": entry(123_000, 2.0, **many)}
    baselines = {"dense float32, 3 seeds": {"metrics": {"metric_0": 0.246}}}
    known = {**REPORT, "formats": formats, "model": {"parameters": 1_000_000}, "baselines": baselines}
    head, dense, _, _, int8 = table(known).splitlines()
    assert head.split("  ")[-1].strip() == "of float32"
    assert head.split()[:3] == ["metric_0", "of", "dense"]
    assert dense.split()[4:7] == ["0.2460", "1.00", "-"]
    assert int8.split()[1:3] == ["0.1230", "0.500"]
    assert int8.split()[-4:] == ["246,000", "0.0615", "2.00", "0.250"]  # for gzip there is no room
    assert len(head) <= 100
    head, *_, int8 = table({**known, "baselines": {}}).splitlines()
    assert 90 < len(head) <= 100
    assert int8.split()[-5:] == ["246,000", "0.0615", "123,000", "2.00", "0.250"]
    without = {name: {**one, "metrics": {}} for name, one in formats.items()}
    shown = table({**REPORT, "model": {"metrics": {}}, "formats": without}).splitlines()
    assert "equal argmax" in shown[0]
    assert shown[3].split()[1] == "0.5000"
    unknown = {name: {**one, "equal_argmax": None} for name, one in without.items()}
    assert "argmax" not in table({**REPORT, "model": {"metrics": {}}, "formats": unknown})


def test_the_files_are_complete_and_machine_readable(tmp_path):
    write_report(tmp_path, REPORT)
    assert json.loads((tmp_path / "report.json").read_text()) == REPORT
    assert (tmp_path / "report.md").read_text() == markdown(REPORT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json", "report.md"]


def test_the_page_has_every_weight_and_every_failure():
    page = markdown(REPORT)
    assert "| `net/conv/kernel` | 8x3x3x3 | int8 | 0.2500 | 20 | 16 | 8 |" in page
    assert "- `float16`: the converter refuses the model" in page
    assert "42 examples (evaluation data)" in page


def test_a_baseline_is_a_row_of_its_own(tmp_path):
    write_report(tmp_path, REPORT)
    report = add_baseline(tmp_path, "dense float", {"miou": 0.7555})
    assert table(report).splitlines()[1].startswith("dense float  0.7555")
    assert json.loads((tmp_path / "report.json").read_text()) == report
    for name in ("report.md", "report.html"):
        assert "0.7555" in (tmp_path / name).read_text()
    assert add_baseline(tmp_path, "dense float", {"miou": 0.7})["baselines"]["dense float"]["metrics"] == {"miou": 0.7}


def test_a_baseline_needs_a_report_and_a_name_of_its_own(tmp_path):
    with pytest.raises(FileNotFoundError, match="export there first"):
        add_baseline(tmp_path, "dense", {})
    write_report(tmp_path, REPORT)
    for name in ("model", "int8"):
        with pytest.raises(ValueError, match="choose another"):
            add_baseline(tmp_path, name, {})
