"""Strategies, each in a process of its own: many in one process make the later ones fail."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from tests import situations, warm
from tests.fit import strategies

IS_KERAS_2 = os.environ.get("TF_USE_LEGACY_KERAS") == "1"


def start(*arguments):
    return warm.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.fit.strategy_case", *map(str, arguments)],
        cwd=pathlib.Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def results(processes, timeout=240):
    """What each printed last; a process that hangs is ended, and shown with its output."""
    outputs = []
    try:
        for process in processes:
            outputs.append(process.communicate(timeout=timeout)[0])
    except subprocess.TimeoutExpired:
        for process in processes:
            process.kill()
        pytest.fail("\n\n".join(process.communicate()[0][-4000:] for process in processes))
    assert all(process.returncode == 0 for process in processes), "\n\n".join(one[-4000:] for one in outputs)
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def check(result, replicas):
    assert result["replicas"] == replicas
    assert len(result["steps"]) == 8
    assert all(step["equal"] and step["exact"] for step in result["steps"])
    totals = [sum(step["zeros"]) for step in result["steps"]]
    assert totals == sorted(totals)
    assert 0 < totals[0] < totals[3] < totals[-1]
    assert result["steps"][-1]["zeros"] == result["expected"]
    assert result["few"]


def check_resumed(result):
    """The last step, done again from the backup before it, comes to the masks and weights that it came to before."""
    (step,) = result["resumed"]
    assert step["equal"]
    assert step["exact"]
    assert [step[name] for name in ("zeros", "masks")] == [result["steps"][-1][name] for name in ("zeros", "masks")]
    assert result["difference"] < 1e-5


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_mirrored_replicas_keep_the_same_masks_and_weights_after_every_step(policy):
    (result,) = results([start("mirrored", policy)])
    check(result, replicas=2)
    if policy == "float32":
        check_resumed(result)


def test_mirrored_replicas_agree_whatever_chooses_the_masks():
    (seen,) = results([start("methods")])
    for name, result in seen.items():
        assert all(step["equal"] for step in result["steps"]), name
        if name == "regrowth":  # what has come back is zero until its gradient is not
            assert all(np.greater_equal(step["zeros"], result["promised"]).all() for step in result["steps"])
        else:
            assert all(step["exact"] and step["zeros"] == result["promised"] for step in result["steps"]), name
    assert sum(seen["saliency"]["promised"]) == round(0.8 * sum(seen["saliency"]["sizes"]))
    assert seen["regrowth"]["promised"] == [round(0.8 * size) for size in seen["regrowth"]["sizes"]]
    assert [2 * zeros for zeros in seen["channels"]["promised"]] == seen["channels"]["sizes"]
    assert all(seen["saliency"]["recorded"])
    assert all(seen["regrowth"]["recorded"])


def test_mirrored_replicas_share_few_values_after_every_step():
    (seen,) = results([start("fine_tuning")])
    assert all(step["equal"] for step in seen["steps"])
    assert all(step["values"] <= 6 for step in seen["steps"][2:])
    assert seen["steps"][0]["values"] > 6
    assert seen["steps"][-1]["zeros"] == seen["expected"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def workers(folder):
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = ",".join(str(one.getsockname()[1]) for one in sockets)
    for one in sockets:
        one.close()
    return results([start("worker", index, ports, folder) for index in range(2)])


@pytest.mark.skipif(not IS_KERAS_2, reason="Keras 2 only")
def test_workers_keep_the_same_masks_and_weights_after_every_step(workers):
    for result in workers:
        check(result, replicas=1)
    first, second = workers
    assert first["steps"] == second["steps"]
    assert first["clustered"] == second["clustered"]


@pytest.mark.skipif(not IS_KERAS_2, reason="Keras 2 only")
def test_workers_go_on_from_the_backup_of_the_chief(workers):
    for result in workers:
        check_resumed(result)
    first, second = workers
    assert first["resumed"] == second["resumed"]


@pytest.mark.skipif(not IS_KERAS_2, reason="Keras 2 only")
def test_workers_learn_the_same_ranges_from_their_halves_of_each_batch(workers):
    first, second = (result["ranges"] for result in workers)
    assert len(first) > 3
    assert first == second


@pytest.mark.skipif(not IS_KERAS_2, reason="Keras 2 only")
def test_workers_leave_export_to_one_process_and_summaries_to_the_chief(workers, folder):
    assert all("`export_model` in a process of its own" in result["error"] for result in workers)
    assert not (folder / "exported").exists()
    written = [path.parent.name for path in (folder / "logs").rglob("events.*")]
    assert sorted(written) == sorted({*written, "results"})  # one file in each run


@pytest.mark.skipif(IS_KERAS_2, reason="Keras 3 only")
def test_keras_3_cannot_train_with_several_workers(workers):
    assert all("must train with Keras 2" in result["error"] for result in workers)
    assert all("TF_USE_LEGACY_KERAS=1" in result["error"] for result in workers)


@pytest.mark.either_keras
def test_the_page_says_that_all_of_it_works_and_that_keras_3_refuses_several_workers():
    alone = {node for name in ("none", "mirrored") for node in strategies.NODES[name].values()}
    all_of_them = alone | set(strategies.NODES["multi_worker"].values())
    table = strategies.table((alone | {strategies.REFUSAL}, all_of_them))
    page = situations.split_page(strategies.PAGE, strategies.BEGIN)[1]
    assert page.strip() == table.strip(), "run `python docs/make_machines.py`"
    for node in (*all_of_them, strategies.REFUSAL):
        module, _, name = node.partition("::")
        assert f"def {name.partition('[')[0]}(" in (pathlib.Path(__file__).parents[2] / module).read_text()
