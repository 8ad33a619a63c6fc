"""The wheel, in an environment that holds nothing else."""

import os
import pathlib
import subprocess
import sys
import venv
import zipfile

import pytest

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
    assert sources <= set(names)
    assert "segopt_callbacks/py.typed" in names


@pytest.mark.slow
def test_the_readme_example_runs_where_only_the_wheel_is_installed(wheel, tmp_path):
    venv.create(tmp_path / "empty", with_pip=True)
    binaries = tmp_path / "empty" / "bin"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "TF_USE"))}
    install = [str(binaries / "pip"), "install", "--quiet", "--no-compile", str(wheel)]
    subprocess.run(install, check=True, timeout=1200, env=environment, cwd=tmp_path)
    (tmp_path / "example.py").write_text("\n".join(python_blocks(ROOT / "README.md")))
    result = subprocess.run(
        [str(binaries / "python"), "example.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    assert "int8" in result.stdout
    sizes = subprocess.run(
        [str(binaries / "segopt-sizes"), "exported"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert sizes.returncode == 0, sizes.stderr
    assert "int8.tflite" in sizes.stdout
