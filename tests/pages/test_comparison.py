"""The page that compares runs, and its command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from segopt_callbacks import pages
from segopt_callbacks.pages.comparison import short_names
from tests.pages.report_samples import runs_below
from tests.pages.test_page import Seen, cells_of, row_of, svgs


@pytest.fixture
def runs(tmp_path):
    return runs_below(tmp_path / "runs")


def test_several_runs_are_compared_on_one_page(runs, tmp_path, capsys):
    output = tmp_path / "pages" / "all.html"
    assert pages.main([str(runs), "--output", str(output)]) == 0
    assert capsys.readouterr().out == f"{output}: 39 files of 3 runs\n"
    content = output.read_text()
    assert row_of(content, "pruned: int8")[:2] == ["0.7512", "521,328"]
    assert row_of(content, "pruned &amp; clustered: int8")[:2] == ["0.7412", "521,328"]
    groups = {css for svg in svgs(content) for one in svg.iter() if (css := one.get("class", "")).startswith("group")}
    assert groups == {f"group{number}{more}" for number in range(3) for more in ("", " hollow")}
    links = [value for name, value in Seen(content).attributes if name == "href"]
    assert links == [f"./../runs/{name}/export/report.html" for name in ("dense", "pruned", "pruned%20%26%20clustered")]
    assert [one.name for one in output.parent.iterdir()] == ["all.html"]


def test_folders_may_be_named_in_any_way_and_count_once(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = runs / "dense" / "export"
    assert pages.main([str(one), str(one / "report.json"), str(one.parent), "runs"]) == 0
    assert capsys.readouterr().out == "comparison.html: 39 files of 3 runs\n"


def test_programs_get_the_same_as_json(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pages.main(["--json", str(runs)]) == 0
    printed = json.loads(capsys.readouterr().out)
    row = next(row for row in printed["rows"] if row["run"].endswith("pruned/export") and row["name"] == "int8")
    assert (row["bytes"], row["metrics"]["mIoU"], row["error"]) == (521_328, pytest.approx(0.7512), None)
    assert row["latency_ms"]["one_thread"]["median"] == 8.1
    assert len(printed["rows"]) == 3 * 15
    assert not (tmp_path / "comparison.html").exists()


def test_what_cannot_be_read_is_told_and_the_others_are_compared(runs, tmp_path, capsys):
    (runs / "dense" / "export" / "report.json").write_text("{")
    output = tmp_path / "all.html"
    assert pages.main([str(runs), str(tmp_path / "absent"), "--output", str(output)]) == 2
    printed = capsys.readouterr()
    assert printed.out.endswith("26 files of 2 runs\n")
    assert [line.partition(" cannot be compared: ")[2] for line in printed.err.splitlines()] == [
        "it is no JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)).",
        "No such file or directory.",
    ]
    assert "Expecting property name" in output.read_text()


def test_nothing_to_compare_is_an_error_and_no_page(tmp_path, capsys):
    output = tmp_path / "all.html"
    assert pages.main([str(tmp_path), "--output", str(output)]) == 2
    assert "holds no report.json; export there first" in capsys.readouterr().err
    assert not output.exists()


def test_a_page_that_cannot_be_written_is_an_error(runs, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert pages.main([str(runs), "--output", str(tmp_path / "file" / "all.html")]) == 2
    assert re.fullmatch(r"segopt-report: .*all.html cannot be written: .+\.\n", capsys.readouterr().err)
    assert pages.main([str(runs), "--output", str(tmp_path)]) == 2


def test_figures_stand_beside_those_of_the_first_run(runs, tmp_path):
    path = runs / "pruned" / "export" / "report.json"
    given = json.loads(path.read_text())
    given["formats"]["int8"] |= {"bytes": 260_664, "latency_ms": {"one_thread": {"median": 16.2}}}
    path.write_text(json.dumps(given))
    pages.main([str(runs), "--output", str(tmp_path / "all.html")])
    content = (tmp_path / "all.html").read_text()
    assert "<small>" not in "".join(cells_of(content, "dense: int8")[:8])
    below = [re.findall("<small>(.*?)</small>", one) for one in cells_of(content, "pruned: int8")]
    assert below[:3] == [["-0.0100"], ["0.500 times"], ["1.00 times"]]
    assert below[8] == ["2.00 times"]
    assert "difference from the row of the same name of dense" in content


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"verification": {"examples": 42, "fingerprint": {"inputs": "c3", "targets": "b2"}}}, "other inputs"),
        ({"verification": {"examples": 42, "fingerprint": {"inputs": "a1", "targets": "c3"}}}, "other targets"),
        ({"metadata": {"classes": ["road"]}}, "other classes"),
        ({"made": {"machine": {"cpu": "6502", "cpus": 1}}}, "other machines"),
        ({"metrics": "accuracy"}, "no metric in common"),
        ({"verification": {"examples": 42}, "made": None}, None),  # as older reports
    ],
)
def test_what_cannot_be_compared_is_a_warning(runs, tmp_path, change, warning):
    for name in ("dense", "pruned"):
        path = runs / name / "export" / "report.json"
        given = json.loads(path.read_text()) | {"metadata": {"classes": ["sea"]}}
        if name == "pruned":
            metric = change.pop("metrics", None)
            given |= change
            for entry in [given["model"], *given["formats"].values(), *given["baselines"].values()]:
                if metric and "metrics" in entry:
                    entry["metrics"] = {metric: 0.5}
        path.write_text(json.dumps(given))
    pages.main([str(runs / "dense"), str(runs / "pruned"), "--output", str(tmp_path / "all.html")])
    content = (tmp_path / "all.html").read_text()
    words = ("other inputs", "other targets", "other classes", "other machines", "no metric in common")
    assert [one for one in words if one in content] == ([warning] if warning else [])


def test_different_data_are_a_warning(runs, tmp_path):
    path = runs / "dense" / "export" / "report.json"
    given = json.loads(path.read_text())
    output = tmp_path / "all.html"
    pages.main([str(runs), "--output", str(output)])
    assert "compare with care" not in output.read_text()
    given["verification"]["examples"] = 7
    path.write_text(json.dumps(given))
    pages.main([str(runs), "--output", str(output)])
    assert "dense 7, pruned 42" in output.read_text()


def test_the_command_starts_at_once():
    code = "import sys, segopt_callbacks.pages; print([one for one in ('tensorflow', 'numpy') if one in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == "[]\n"


def test_names_are_as_short_as_they_can_be():
    assert short_names([Path("a/x/export"), Path("a/y/z/export")]) == ["x", "y/z"]
    assert short_names([Path("runs/export")]) == ["runs/export"]
    assert short_names([Path("a"), Path("a/b")]) == ["a", "b"]
