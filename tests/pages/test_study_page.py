"""The page of a search, and its command."""

from __future__ import annotations

import json
import re

import pytest

from segopt_callbacks import pages
from tests.pages.test_page import Seen, row_of, svgs


def trial(number, size=None, metric=None, **more):
    figures = None if size is None else {"bytes": size, "metric": metric, "latency_ms": None}
    told = {"number": number, "kind": "search", "state": "ok" if figures else "refused", "seed": 0, "confirms": None}
    return {**told, "figures": figures, "told": f"settings {number}", "why": "", "meets": False, **more}


TRIALS = [
    trial(0, 30_000, 0.735, meets=True),
    trial(1, 50_000, 0.75, meets=True, confirmed=True),
    trial(2, 60_000, 0.74),
    trial(3, why="its file would have at least 99 bytes"),
    trial(4, 51_000, 0.7451, kind="confirm", confirms=1, seed=1),
]
STUDY = {
    "monitor": "mIoU",
    "higher_is_better": True,
    "demand": {"min_metric": 0.73},
    "answer": "int4.tflite <meets> the demand",
    "trials": TRIALS,
}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "a search"
    for number in (0, 1, 2, 4):
        (folder / "trials" / f"{number:04d}").mkdir(parents=True)
        (folder / "trials" / f"{number:04d}" / "report.html").write_text("")
    (folder / "study.json").write_text(json.dumps(STUDY))
    return folder


@pytest.mark.parametrize("named", ["{}", "sqlite:///{}/study.db"])
def test_a_search_is_shown_as_its_front_with_a_link_from_each_mark(named, folder, tmp_path, capsys):
    output = tmp_path / "pages" / "all.html"
    assert pages.main([named.format(folder), "--output", str(output)]) == 0
    assert capsys.readouterr().out == f"{output}: 4 files of 5 trials\n"
    content = output.read_text()
    assert "int4.tflite &lt;meets&gt; the demand" in content
    wide = svgs(content)[0]
    links = {one.get("href"): one.find(".//*[@class='group0']") is not None for one in wide.iter("a")}
    assert links == {f"./../a%20search/trials/000{number}/report.html": number in (0, 1) for number in (0, 1, 2, 4)}
    titles = [one.text for one in wide.iter("title")]
    assert "trial 4: 51,000 bytes, mIoU 0.7451; settings 4" in titles
    assert Seen(content).tags.count("tr") == 6
    cells = re.findall(r"<td[^>]*>(.*?)</td>", next(one for one in content.split("<tr") if ">trial 1<" in one))
    assert cells == ["50,000", "0.7500", "-", "0", "meets the demand on both seeds, on the front", "settings 1"]
    assert row_of(content, "trial 3")[4] == "refused: its file would have at least 99 bytes"


def test_programs_get_the_same_as_json(folder, capsys):
    assert pages.main(["--json", str(folder)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["bytes"] for one in told["trials"]] == [30_000, 50_000, 60_000, None, 51_000]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "it is no JSON"),
        ("{}", "it is no study of a search"),
        (json.dumps({**STUDY, "trials": [{**TRIALS[0], "kind": "other"}]}), "`kind` must be one of"),
        (json.dumps({**STUDY, "trials": [{**TRIALS[0], "figures": {"bytes": -1, "metric": 1}}]}), "`bytes` must be"),
        (json.dumps({**STUDY, "trials": [{**TRIALS[0], "figures": {"bytes": 1}}]}), "`metric` must be"),
    ],
)
def test_a_damaged_study_is_told_and_no_page_written(content, told, folder, tmp_path, capsys):
    (folder / "study.json").write_text(content)
    assert pages.main([str(folder), "--output", str(tmp_path / "x.html")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "x.html").exists()


def test_a_database_elsewhere_is_told_where_its_list_is(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pages.main(["postgresql://host/name"]) == 2
    assert "name its output_dir, which holds study.json" in capsys.readouterr().err
