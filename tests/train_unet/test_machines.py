"""Which Keras a strategy trains with, and which process writes."""

import ast
import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

import flags
from flags import FlagError
from train_unet import machines
from train_unet.process import PATIENCE

WORKERS = {"worker": ["a:1", "b:2"]}


@pytest.mark.parametrize(
    ("cluster", "kind", "index", "expected"),
    [
        (WORKERS, "worker", 0, True),
        (WORKERS, "worker", 1, False),
        ({**WORKERS, "chief": ["c:3"]}, "worker", 0, False),
        ({**WORKERS, "chief": ["c:3"]}, "chief", 0, True),
    ],
)
def test_the_chief_writes_or_else_worker_0(cluster, kind, index, expected, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}}))
    assert machines.is_chief("multi_worker") is expected
    assert machines.is_chief("mirrored")


@pytest.mark.parametrize("text", ["", "{", '{"cluster": {}}', '{"cluster": {"worker": []}, "task": []}'])
def test_a_cluster_that_is_not_described_is_told(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(FlagError, match=r"needs TF_CONFIG.*Received: TF_CONFIG="):
        machines.is_chief("multi_worker")


@pytest.mark.parametrize(
    ("strategy", "found", "began_with", "expected"),
    [
        ("mirrored", "0", None, 3),
        ("none", "1", None, 2),
        ("multi_worker", "0", None, 2),
        ("multi_worker", "1", 2, 2),
        ("none", "0", 2, 2),
        ("none", "1", 3, 3),
    ],
)
def test_the_keras_of_a_process_and_the_line_where_it_was_another(
    strategy, found, began_with, expected, monkeypatch, capsys
):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", found)
    assert machines.choose_keras(strategy, began_with) == expected
    assert os.environ["TF_USE_LEGACY_KERAS"] == {2: "1", 3: "0"}[expected]
    told = capsys.readouterr().out
    assert told.count("\n") == (found != {2: "1", 3: "0"}[expected])
    assert not told or f"Training with Keras {expected}" in told


def test_a_run_of_keras_3_cannot_go_on_with_several_workers():
    with pytest.raises(FlagError, match=r"Received: a run of Keras 3\.$"):
        machines.choose_keras("multi_worker", 3)


def test_a_missing_keras_2_is_told(monkeypatch):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "0")
    monkeypatch.setattr(machines.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FlagError, match="pip install tf_keras"):
        machines.choose_keras("multi_worker")


def test_a_batch_that_cannot_be_split_is_told():
    class Two:
        num_replicas_in_sync = 2

    machines.require_divisible(8, Two)
    with pytest.raises(FlagError, match=r"multiple of 2\. Received: --batch_size=7"):
        machines.require_divisible(7, Two)


FILES = Path(__file__).resolve().parents[2] / "examples" / "machines"


def parsed(arguments):
    return flags.parse(["train.py", *arguments])


def test_the_job_of_kubeflow_has_flags_that_exist_and_volumes_that_are_mounted():
    job = yaml.safe_load((FILES / "tfjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "TFJob")
    worker = job["spec"]["tfReplicaSpecs"]["Worker"]
    pod = worker["template"]["spec"]
    (container,) = pod["containers"]
    values = parsed(container["args"])
    assert values.resume  # a pod that is started again has the same command
    assert values.batch_size % worker["replicas"] == 0
    assert pod["terminationGracePeriodSeconds"] > max(PATIENCE.values())
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}


def test_the_job_of_slurm_tells_each_worker_of_all(tmp_path):
    """Run as it is, with Slurm's programs and Python replaced by some that print."""
    (tmp_path / "scontrol").write_text('#!/bin/sh\n[ "$1" = show ] && printf "node1\\nnode2\\n" || echo requeued\n')
    (tmp_path / "srun").write_text('#!/bin/sh\nSLURM_PROCID=0 "$@"; SLURM_PROCID=1 exec "$@"\n')
    (tmp_path / "python").write_text('#!/bin/sh\necho "$TF_CONFIG"\necho "$@"\nexit 143\n')
    for program in tmp_path.iterdir():
        program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node[1-2]"}
    done = subprocess.run(
        ["bash", str(FILES / "train.sbatch")], env=environment, capture_output=True, text=True, check=False
    )
    first, command, second, _, requeued = done.stdout.splitlines()
    workers = {"worker": ["node1:20007", "node2:20007"]}
    assert json.loads(first) == {"cluster": workers, "task": {"type": "worker", "index": 0}}
    assert json.loads(second)["task"]["index"] == 1
    assert parsed(command.split()[1:]).strategy == "multi_worker"
    assert (done.returncode, done.stderr, requeued) == (143, "", "requeued")


def test_the_script_for_ray_has_flags_that_exist():
    tree = ast.parse((FILES / "ray_train.py").read_text())
    (value,) = [one.value for one in tree.body if isinstance(one, ast.Assign) and one.targets[0].id == "FLAGS"]
    assert parsed(ast.literal_eval(value)).strategy == "multi_worker"
