"""The wheel, in an environment that holds nothing else."""

import json
import os
import pathlib
import re
import subprocess
import sys
import urllib.request
import venv
import zipfile
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import segopt_callbacks
from tests.summaries.tensorboard_page import answer, served
from tests.test_docs import python_blocks

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return next(out.glob("*.whl"))


def test_it_contains_the_library_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {
        "segopt_callbacks",
        next(name.partition("/")[0] for name in names if ".dist-info/" in name),
    }
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "segopt_callbacks").rglob("*.py")}
    page = {str(path.relative_to(ROOT)) for path in (ROOT / "segopt_callbacks" / "board" / "static").iterdir()}
    assert len(page) > 5
    assert sources | page <= set(names)
    assert "segopt_callbacks/py.typed" in names
    assert (
        "[tensorboard_plugins]\nsegopt = "
        in zipfile.ZipFile(wheel).read(f"{wheel_folder(wheel)}/entry_points.txt").decode()
    )


def test_its_metadata_say_what_an_index_page_needs(wheel):
    told = metadata.PathDistribution(zipfile.Path(wheel) / wheel_folder(wheel)).metadata
    assert told["Author"] == "segopt-callbacks contributors"
    assert told["Version"] == segopt_callbacks.__version__
    assert not told.get_all("Project-URL")
    text = told.get_payload()
    assert "# segopt-callbacks" in text
    assert re.findall(r"\]\((?!https?:|#)[^)]*\)", text) == []  # neither pictures nor pages are there


def test_its_classifiers_are_the_pythons_of_the_table_of_versions(wheel):
    told = metadata.PathDistribution(zipfile.Path(wheel) / wheel_folder(wheel)).metadata
    pythons = {one.rpartition(" ")[2] for one in told.get_all("Classifier") if re.search(r":: 3\.\d+$", one)}
    page = (ROOT / "docs" / "versions.md").read_text()
    assert pythons == set(re.findall(r"^\| (3\.\d+)\.\d+ \|", page, re.MULTILINE))


def test_an_editable_install_puts_the_library_alone_on_the_path(tmp_path):
    program = f"from hatchling.build import build_editable; build_editable({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, timeout=300)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as editable:
        paths = {name: editable.read(name).decode() for name in editable.namelist() if ".dist-info/" not in name}
    assert [text for name, text in paths.items() if name.endswith(".pth") and not text.startswith("import ")] == []
    assert set(re.findall(r"map_module\('(\w+)'", "".join(paths.values()))) == {"segopt_callbacks"}


def wheel_folder(wheel):
    return next(name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" in name)


def needed(distribution):
    """The distributions that one needs, and that those need, without extras that nobody asks for."""
    found, asked = {}, [(distribution, ("",))]
    while asked:
        one, extras = asked.pop()
        for requirement in map(Requirement, one.requires or ()):
            wanted = not requirement.marker or any(requirement.marker.evaluate({"extra": extra}) for extra in extras)
            if wanted and canonicalize_name(requirement.name) not in found:
                found[canonicalize_name(requirement.name)] = needed_one = metadata.distribution(requirement.name)
                asked.append((needed_one, ("", *requirement.extras)))
    return found.values()


def link(distribution, into):
    """As if it had been installed in the folder `into`."""
    for file in distribution.files:
        if ".." not in file.parts and not (into / file).exists():
            (into / file).parent.mkdir(parents=True, exist_ok=True)
            (into / file).symlink_to(distribution.locate_file(file))


# README's model as it is, in a functional and in a subclassed one; its own fit, with a watcher more.
MODELS = {
    "sequential": "",
    "functional": "inputs = keras.Input((32, 32, 3))\nmodel = keras.Model(inputs, model(inputs))\n",
    "subclassed": """
class Segmenter(keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, images):
        return self.inner(images)

model = Segmenter(model)
""",
}
WATCHED = "callbacks=[\n    segopt_callbacks.CompressionSummaries({logs!r}),"


def story():
    """README's blocks for each kind of model."""
    made, fitted, *others = python_blocks(ROOT / "README.md")
    before, compiled = made.split("model.compile(")
    parts = ["import segopt_callbacks"]
    for name, code in MODELS.items():
        watched = fitted.replace("callbacks=[", WATCHED.format(logs=f"logs/{name}"))
        parts += [before, code, f"model.compile({compiled}", watched.replace('"exported"', f'"{name}"')]
    return "\n".join([*parts, *others])


@pytest.mark.slow
def test_the_readme_story_runs_where_only_the_wheel_is_installed(wheel, tmp_path):
    """Fits, files, reports and TensorBoard's page, with what the wheel says it needs: `pip check` finds all of it."""
    venv.create(tmp_path / "empty")
    binaries = tmp_path / "empty" / "bin"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "TF_USE"))}
    into = next((tmp_path / "empty").rglob("site-packages"))
    for distribution in needed(metadata.PathDistribution(zipfile.Path(wheel) / wheel_folder(wheel))):
        link(distribution, into)
    pip = [sys.executable, "-m", "pip", "--python", str(binaries / "python"), "--disable-pip-version-check"]
    install = [*pip, "install", "--quiet", "--no-compile", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, timeout=1200, env=environment, cwd=tmp_path)
    subprocess.run([*pip, "check"], check=True, env=environment, cwd=tmp_path)

    def run(*command):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    (tmp_path / "story.py").write_text(story())
    output = run(str(binaries / "python"), "story.py")
    assert output.count("report.html") == len(MODELS)
    for name in MODELS:
        assert "int8.tflite" in run(str(binaries / "segopt-sizes"), name)
        report = json.loads((tmp_path / name / "report.json").read_text())
        assert {entry["status"] for entry in report["formats"].values()} == {"ok"}, name
        assert report["formats"]["int8"]["metrics"]["accuracy"] > 0.8
        page = (tmp_path / name / "report.html").read_text()
        assert "times smaller" in page
    with served(tmp_path / "logs", tmp_path / "served.txt", str(binaries / "python"), environment) as address:
        listed = answer(address, "plugins_listing")["segopt"]
        assert listed["enabled"]
        with urllib.request.urlopen(address + listed["loading_mechanism"]["module_path"].lstrip("/")) as module:
            assert module.status == 200
        runs = answer(address, "plugin/segopt/runs")["runs"]
        assert {one["name"] for one in runs} == set(MODELS)
        for one in runs:
            told = answer(address, "plugin/segopt/run", run=one["run"])
            assert told["sparsity"][-1] > 0.75
            assert told["results"]["formats"]["int8"]["file"] == "int8.tflite"
