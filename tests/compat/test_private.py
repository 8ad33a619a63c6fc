"""What is private in TensorFlow and Keras is listed, is there, and is missed in words."""

import ast
import pathlib
import re
import sys

import pytest

from segopt_callbacks.compat import private
from tests import warm

ROOT = pathlib.Path(__file__).parents[2]
COMPAT = ROOT / "segopt_callbacks" / "compat"
OWN = {"_model"}  # of the library itself
IN_GRAPHS = {"_class", "_gradient_op_type"}  # what TensorFlow writes into saved graphs, which any version reads
LISTED = {path.split(":")[1].rpartition(".")[2] for names in private.NAMES.values() for path in names}
# Asked for with a default, which is what other versions do: Keras 3.3 has none, and `iterations` counts as it would.
LISTED |= {"_iterations"}


def private_names(path):
    """Attributes of others that begin with an underscore, spelled as such or as text."""
    for node in ast.walk(ast.parse(path.read_text())):
        name = getattr(node, "attr", None) or getattr(node, "value", None)
        if isinstance(name, str) and re.fullmatch(r"_[a-z][a-z_]+[a-z]|__internal__", name):
            yield name


@pytest.mark.either_keras
def test_every_private_name_of_a_framework_is_listed():
    found = {name for path in COMPAT.glob("*.py") if path.name != "private.py" for name in private_names(path)}
    assert len(found) > 30
    found -= {"_enumerate_iterator"}  # which the first releases of Keras 3 lack: `begin_data_at` says so
    assert found - LISTED - OWN - IN_GRAPHS - {"_batch_hooks", "_implements_", "_input", "__internal__"} == set()


@pytest.mark.either_keras
def test_what_is_listed_is_used():
    code = "\n".join(path.read_text() for path in COMPAT.glob("*.py") if path.name != "private.py")
    hooks = {f"_implements_{mode}_batch_hooks" for mode in ("train", "test", "predict")}  # put together there
    assert [name for name in LISTED - hooks if not re.search(rf"\b{name}\b", code)] == []


@pytest.mark.either_keras
@pytest.mark.parametrize("package", private.NAMES)
def test_every_listed_name_is_there_and_missed_when_it_is_not(package):
    for path in private.NAMES[package]:
        assert private.is_there(path), path
        assert not private.is_there(f"{path}_of_another_version"), path


@pytest.mark.parametrize(
    ("deletion", "lacking"),
    [
        ("from tensorflow.python.framework import op_def_library as o; del o._apply_op_helper", "_apply_op_helper"),
        ("tf.keras.Model.fit = lambda self: None", "Model.fit."),
    ],
)
def test_a_version_without_a_name_is_refused_in_one_sentence(deletion, lacking):
    """When callbacks are made, and not in the middle of a training."""
    program = f"import tensorflow as tf; {deletion}; import segopt_callbacks as s; s.PruningScheduleCallback(0.5)"
    result = warm.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    told = result.stderr.splitlines()[-1]
    assert told.startswith("ImportError: TensorFlow and Keras must have the insides that segopt-callbacks uses;"), told
    assert "tensorflow 2.16 to 2.21, keras 3.3 to 3.15, tf_keras 2.16 to 2.21" in told
    assert lacking in told.partition("Received: ")[2]


@pytest.mark.either_keras
def test_a_version_that_is_too_old_is_refused_by_its_number(monkeypatch):
    import keras

    monkeypatch.setattr(keras, "__version__", "3.2.1")
    private.require.cache_clear()
    with pytest.raises(ImportError, match=r"keras 3.3 to 3.15.*Received: keras 3.2.1\.$"):
        private.require("keras")
    private.require.cache_clear()


@pytest.mark.either_keras
def test_the_tested_versions_are_those_of_the_page_and_of_the_package():
    rows = re.findall(r"^\| 3\.\d+\.\d+ \| ([\d.]+) \| (tf_keras )?([\d.]+) \|", page(), re.MULTILINE)
    found = {"tensorflow": [row[0] for row in rows]}
    found |= {"keras": [row[2] for row in rows if not row[1]], "tf_keras": [row[2] for row in rows if row[1]]}
    for package, versions in found.items():
        numbers = sorted(tuple(map(int, version.split(".")[:2])) for version in versions)
        assert private.TESTED[package] == (f"{numbers[0][0]}.{numbers[0][1]}", f"{numbers[-1][0]}.{numbers[-1][1]}")
        assert numbers[0] == private.OLDEST[package]


def page():
    return (ROOT / "docs" / "versions.md").read_text()
