"""Every Python block of README and docs runs; every public name and option is documented."""

import importlib
import json
import os
import pathlib
import re
import sys
import tomllib

import pytest

import segopt_callbacks
from segopt_callbacks.export.formats import TARGETS
from tests import warm
from tests.export.latency_targets import UNTIMED
from tests.versions import matrix

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").glob("*.md"))]
FORMATS_PAGE = ROOT / "docs" / "formats.md"
BLOCK_BY_BLOCK = ("predict.md",)  # run in export/delivery/test_metadata.py
TRANSLATED = {  # a page whose blocks are those of another, but for comments
    ROOT / "README.zh-CN.md": ROOT / "README.md",
    ROOT / "docs" / "quick_start.zh.md": ROOT / "docs" / "quick_start.md",
}
OF_KERAS_2 = 'python title="TF_USE_LEGACY_KERAS=1"'  # run in test_docs_of_keras_2.py


def python_blocks(page, fence="python"):
    return re.findall(rf"^```{fence}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if python_blocks(page) and page.name not in BLOCK_BY_BLOCK and page not in TRANSLATED],
    ids=lambda page: page.name,
)
def test_the_blocks_of_a_page_run_one_after_another(page, tmp_path):
    run_program([UNTIMED, *python_blocks(page)], tmp_path)


def run_program(parts, folder):
    script = folder / "page.py"
    script.write_text("\n".join(parts))
    result = warm.run(
        [sys.executable, str(script)], cwd=folder, capture_output=True, text=True, timeout=600, env={**os.environ}
    )
    assert result.returncode == 0, result.stderr[-4000:]


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_a_translated_page_has_the_blocks_of_the_other(page):
    def code(one):
        blocks = [*python_blocks(one), *python_blocks(one, OF_KERAS_2)]
        return [re.sub(r"  # .*", "", block) for block in blocks]

    assert code(page) == code(TRANSLATED[page])


def test_the_notebook_runs_and_shows_what_its_script_has_run(tmp_path):
    pairs = importlib.import_module("docs.make_notebook").CELLS
    cells = json.loads((ROOT / "docs" / "notebook.ipynb").read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert ["".join(cell["source"]) for cell in code] == [one for _, one in pairs], "run docs/make_notebook.py"
    shown = [kind for cell in code for one in cell["outputs"] for kind in one["data"]]
    assert shown.count("text/html") == 2
    assert shown.count("image/png") == 1
    short = [re.sub(r"epochs=\d+", "epochs=2", one.replace("disks(256)", "disks(32)")) for _, one in pairs]
    run_program([UNTIMED, *short], tmp_path)


def test_the_api_page_names_what_is_public():
    documented = set(re.findall(r"^## `(\w+)", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE))
    assert documented == set(segopt_callbacks.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_into_a_page_meet_a_heading(page):
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*\.md|)#([^)]+)\)", page.read_text()):
        assert anchor in anchors(page.parent / target if target else page), (target, anchor)


def anchors(page):
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_each_decision_is_tested_where_the_page_says():
    named = re.findall(r"`((?:tests|benchmarks)/[\w/]+\.py)`", "".join(page.read_text() for page in PAGES))
    assert len(named) > 30
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    "script",
    [
        *("pruning_patterns", "clustering_accuracy", "compression", "quantization", "small_devices", "distillation"),
        *("recipes", "main_job", "scale", "regions", "frontier"),
    ],
)
def test_the_table_on_a_page_is_that_of_the_results(script):
    module = importlib.import_module(f"benchmarks.{script}")
    for study in getattr(module, "STUDIES", [module.STUDY]):
        for page in study.pages:
            assert study.table(study.results()) in page.read_text(), "run the script with --table"


def test_each_page_is_on_the_site():
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2].partition("\nplugins:")[0]
    assert sorted(re.findall(r"([\w.]+\.md)$", nav, re.MULTILINE)) == sorted(
        page.name for page in PAGES if page.parent.name == "docs"
    )


def test_the_table_of_versions_can_be_compared_with_a_run():
    rows = matrix.rows_on_page()
    assert len(rows) >= len(matrix.ROWS)
    for row in rows:
        python, tensorflow, keras, *features = matrix.promise(row)
        assert python.count(".") == 1
        assert tensorflow.count(".") == 2
        assert keras
        assert "ok" in features


def test_every_dependency_is_accounted_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {re.match(r"[\w-]+", name)[0] for part in lists for name in part} - {project["name"]}
    page = (ROOT / "docs" / "dependencies.md").read_text()
    assert {name for name in names if f"`{name}`" not in page} == set()


def test_the_table_of_formats_is_that_of_the_package():
    rows = re.findall(
        r"^\| `(\w+)` \| `([^`]+)` \|.*\| (?:`\[(\w+)\]`)? *\|[^|]*\|$", FORMATS_PAGE.read_text(), re.MULTILINE
    )
    assert {name: (file.rstrip("/"), extra or None) for name, file, extra in rows} == {
        name: (target.file_name, target.extra) for name, target in TARGETS.items()
    }
    integers = re.search(r"Formats of integers \(([^)]*)\)", FORMATS_PAGE.read_text())[1]
    assert re.findall(r"`(\w+)`", integers) == [name for name, target in TARGETS.items() if target.is_integer]
