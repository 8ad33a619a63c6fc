"""The house: who may import whom. Walks every import of the library."""

import ast
import pathlib
import re
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parent.parent
LIBRARY = "segopt_callbacks"
# Bottom up. A room imports from the floors below, never from its own but its own modules, and never from above.
FLOORS = (
    ("errors", "faces", "rules"),
    ("commands",),
    ("arrays", "sizes", "markup"),
    ("records",),
    ("pages", "board", "compat", "processes"),
    ("model",),
    ("channels", "data", "fit"),
    ("pruning", "clustering", "quantization", "normalization", "distillation", "shrinking"),
    ("summaries",),
    ("sensitivity",),
    ("export.source", "export.allowance", "export.baselines", "export.matching"),
    ("export.target", "export.audit"),
    ("export.litert", "export.onnx", "export.saved_model"),
    ("export.openvino", "export.tensorrt", "export.tvm", "export.tflm"),
    ("export.ethos_u", "export.openers"),
    ("export.formats", "export.delivery", "export.inference", "export.checks", "export.promises"),
    ("export.report", "export.settings", "export.intake", "export.progress", "export.running"),
    ("export.writing",),
    ("export.entry",),
    ("export.job",),
    ("export.exporter",),
    ("export.callback",),
    ("export",),
    ("predict",),
    ("export.command", "recipes"),
    ("search",),
    ("",),
)
PRIVATE = re.compile(
    r"keras\.src|tensorflow\.python|tensorflow\.lite\.python|tensorflow_model_optimization\.python|\btf_keras\b"
)


def modules() -> dict[str, pathlib.Path]:
    """Dotted name below the library -> file; a package by its own name."""
    names = {}
    for path in sorted((ROOT / LIBRARY).rglob("*.py")):
        parts = path.relative_to(ROOT / LIBRARY).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = modules()
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}


def imports(path: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Every module of ours that a file imports, with the name that it takes from there."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((one.name.partition(".")[2], "") for one in node.names if one.name.split(".")[0] == LIBRARY)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == LIBRARY:
            module = node.module.partition(".")[2]
            for one in node.names:
                inner = f"{module}.{one.name}".lstrip(".")
                yield (inner, "") if inner in MODULES else (module, one.name)


def room(module: str) -> str:
    """What has a floor: the longest name of `FLOORS` that the module is or lies in."""
    known = [name for floor in FLOORS for name in floor]
    return max((name for name in known if module == name or module.startswith(f"{name}.") or not name), key=len)


def floor(module: str) -> int:
    return next(number for number, floor in enumerate(FLOORS) if room(module) in floor)


def parent(module: str) -> str:
    return module if module in PACKAGES else module.rpartition(".")[0]


EVERY = [(name, module, taken) for name, path in MODULES.items() for module, taken in imports(path)]


def steps_over_walls(importer: str, module: str, taken: str) -> int:
    """Steps to what is imported, from the deepest folder that both lie in; a module that a face lists is one step."""
    ours, theirs = parent(importer).split("."), module.split(".")
    common = 0
    while common < min(len(ours), len(theirs)) and ours[common] == theirs[common]:
        common += 1
    steps = len([one for one in theirs[common:] if one])
    is_listed = steps == 2 and not taken and theirs[-1] in listed(".".join(theirs[:-1]))
    return 1 if is_listed else steps


def listed(package: str) -> set[str]:
    """What a package's face offers."""
    for node in ast.parse(MODULES[package].read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def test_every_module_has_a_floor():
    assert [name for name in MODULES if name and not room(name)] == []


def test_imports_run_downward():
    crossing = [(importer, module) for importer, module, _ in EVERY if room(importer) != room(module)]
    assert len(crossing) > 200
    assert [pair for pair in crossing if floor(pair[1]) >= floor(pair[0])] == []


def test_other_wings_are_entered_through_their_faces():
    assert [one for one in EVERY if steps_over_walls(*one) > 1] == []


def test_a_face_offers_what_somebody_outside_takes():
    tops = (LIBRARY, "train_unet", "flags", "tests", "benchmarks", "docs")
    everything = {path: path.read_text() for top in tops for path in sorted((ROOT / top).rglob("*.py"))}
    for package in PACKAGES - {""}:
        folder = MODULES[package].parent
        outside = "\n".join(text for path, text in everything.items() if folder not in path.parents)
        assert [name for name in sorted(listed(package)) if not re.search(rf"\b{name}\b", outside)] == [], package


def test_private_names_of_the_frameworks_live_in_compat_alone():
    for module, path in MODULES.items():
        if room(module) != "compat":
            code = re.sub(r'""".*?"""|#[^\n]*', "", path.read_text(), flags=re.DOTALL)
            assert not PRIVATE.search(code), module


def test_rooms_are_small_and_three_deep_at_most():
    assert [name for name, path in MODULES.items() if path.read_text().count("\n") > 250 or name.count(".") > 2] == []


def test_functions_that_are_traced_for_each_model_are_not_counted():
    """TensorFlow counts calls of a `tf.function` by its code, and warns of the fifth model; see `compat.traced`."""
    for path in MODULES.values():
        for outer in ast.walk(ast.parse(path.read_text())):
            inner = [one for one in ast.walk(outer) if isinstance(one, ast.FunctionDef) and one is not outer]
            for one in inner if isinstance(outer, ast.FunctionDef) else ():
                decorators = [ast.unparse(decorator) for decorator in one.decorator_list]
                assert not any(text.startswith("tf.function") for text in decorators), f"{path}: {one.name}"
