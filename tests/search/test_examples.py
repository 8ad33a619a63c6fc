"""The files of docs/search that are there to be copied."""

from __future__ import annotations

import ast
import inspect
import subprocess
from pathlib import Path

import yaml

from segopt_callbacks import search_compression

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "search"


def test_the_program_calls_the_search_as_it_is():
    tree = ast.parse((FOLDER / "search.py").read_text())
    (call,) = [one for one in ast.walk(tree) if getattr(getattr(one, "func", None), "id", "") == "search_compression"]
    keywords = {one.arg: None for one in call.keywords}
    inspect.signature(search_compression).bind(*call.args, **keywords)
    assert {"storage", "output_dir", "stale_after"} <= set(keywords)


def test_the_script_for_slurm_is_a_script_and_gives_what_the_program_reads():
    path = FOLDER / "slurm_array.sh"
    subprocess.run(["bash", "-n", path], check=True)
    text = path.read_text()
    assert text.startswith("#!/bin/bash\n")
    assert text.index("#SBATCH") < text.index("set -euo pipefail"), "Slurm reads no directive below a command"
    assert all(f"export {name}=" in text for name in ("STORAGE", "OUTPUT_DIR"))


def test_the_job_for_kubernetes_fits_together():
    claim, job = yaml.safe_load_all((FOLDER / "kubernetes_job.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert job["spec"]["parallelism"] == job["spec"]["completions"] > 1
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    given = {one["name"]: one.get("value") for one in container["env"]}
    assert set(given) == {"STORAGE", "OUTPUT_DIR"}
    assert container["volumeMounts"][0]["mountPath"] == given["OUTPUT_DIR"]
    assert container["volumeMounts"][0]["name"] == pod["volumes"][0]["name"]
