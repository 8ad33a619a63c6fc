"""The command line: what each flag means, and one line for whatever is wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import flags
from flags.export import ACCELERATORS, DEFAULT, FORMATS
from flags.recipes import GOALS

ROOT = Path(__file__).resolve().parents[2]
REQUIRED = [
    "data_dir",
    "tile",
    "ignore_class",
    "class_weights",
    "bands",
    "scale",
    "offset",
    "epochs",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "base_filters",
    "levels",
    "growth",
    "upsampling",
    "loss",
    "seed",
    "jit_compile",
    "mixed_precision",
    "output_dir",
    "log_dir",
    "baseline",
    "prune",
    "target_sparsity",
    "prune_begin",
    "prune_end",
    "prune_frequency",
    "distribution",
    "pattern",
    "filters",
    "cluster",
    "number_of_clusters",
    "cluster_begin",
    "cluster_per_channel",
    "quantize",
    "quantize_begin",
    "learn_ranges",
    "num_bits",
    "sensitivity",
    "goal",
    "export_formats",
    "latency",
    "search",
    "max_bytes",
    "max_latency_ms",
    "min_metric",
    "max_metric_loss",
    "trials",
    "storage",
    "resume",
    "overwrite",
    "backup_minutes",
    "strategy",
]
FLAG_FILES = sorted((ROOT / "flags").glob("*.flags"))


def all_flags():
    return {flag.name: flag for topic in flags.define_all().flags_by_module_dict().values() for flag in topic}


def test_every_promised_flag_exists():
    assert set(REQUIRED) <= set(all_flags())


@pytest.mark.parametrize("name", REQUIRED)
def test_each_help_says_unit_and_default(name, capsys):
    with pytest.raises(SystemExit) as stop:
        flags.parse(["train.py", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    entry = re.search(rf"^  --(?:\[no\])?{name}\n((?:      .*\n)+)", text, re.MULTILINE)
    assert entry, text
    entry = " ".join(entry[1].split())
    assert re.search(
        r"Unit: |A path|A URL|A name|Yes or no|A whole number|[Rr]egular expression|names separated", entry
    )
    assert re.search(r" Default: .+\.$", entry)


def test_help_survives_a_reader_that_has_seen_enough():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as broken:
        command = [sys.executable, "-c", "import flags; flags.parse(['train.py', '--help'])"]
        done = subprocess.run(command, stdout=broken, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_leaves_out_the_flags_of_tensorflow(capsys):
    with pytest.raises(SystemExit):
        flags.parse(["train.py", "--epochs=3", "--help"])
    names = re.findall(r"^  --(?:\[no\])?(\w+)$", capsys.readouterr().out, re.MULTILINE)
    assert set(names) == {*all_flags(), "flagfile"} - {"help", "helpfull"}


WRONG = {
    "unknown": (["--epoch=1"], "mean --epochs.* --epoch=1"),
    "unknown, unlike any": (["--zzz"], "--help"),
    "not a number": (["--epochs=x"], "integer"),
    "too small": (["--epochs=0"], "at least 1"),
    "batch": (["--batch_size=-1"], "at least 1"),
    "levels": (["--levels=1"], "at least 2"),
    "growth": (["--growth=0"], "at least 1"),
    "not finite": (["--learning_rate=nan"], "above 0"),
    "weight decay": (["--weight_decay=1"], r"\[0, 1\)"),
    "seed": (["--seed=-1"], "from 0"),
    "no such choice": (["--loss=hinge"], "cross_entropy, dice"),
    "no such boolean": (["--prune=maybe"], "true or false"),
    "tile": (["--tile=0"], "at least 1"),
    "bands": (["--bands=0,1"], "from 1"),
    "scale": (["--scale=1,x"], "numbers with commas"),
    "offset": (["--offset=inf"], "numbers with commas"),
    "positional": (["3"], "--name=value"),
    "value missing": (["--epochs"], "--epochs"),
    "no flag file": (["--flagfile=nowhere.flags"], "nowhere.flags"),
    "sparsity of 1": (["--prune", "--target_sparsity=1"], "fraction of zeros"),
    "sparsity in percent": (["--prune", "--target_sparsity=80"], "0.8"),
    "sparsity without prune": (["--target_sparsity=0.5"], "--prune or --sensitivity or --goal"),
    "no such goal": (["--goal=smalest"], "balanced, smallest"),
    "goal and what it decides": (["--goal=smallest", "--prune"], "decides by itself.*leave --prune out"),
    "goal and quantize": (["--quantize", "--goal=balanced"], "leave --quantize out"),
    "goal and a setting of what it decides": (
        ["--goal=smallest", "--num_bits=8"],
        "^--goal decides.*leave --num_bits out",
    ),
    "search and a setting": (["--search", "--max_bytes=9", "--num_bits=8"], "^--search decides.*leave --num_bits out"),
    "distribution with noprune": (["--noprune", "--distribution=erk"], "--prune"),
    "clusters without cluster": (["--number_of_clusters=8"], "--cluster or --sensitivity"),
    "cluster begin without cluster": (["--cluster_begin=0.5"], "--cluster"),
    "cluster begin in steps": (["--cluster", "--cluster_begin=100"], "fraction of the training"),
    "bits without quantize": (["--num_bits=4"], "--quantize"),
    "ranges without quantize": (["--learn_ranges"], "--quantize"),
    "two bits": (["--quantize", "--num_bits=2"], "4, 8"),
    "quantize begin in steps": (["--quantize", "--quantize_begin=100"], "fraction of the training"),
    "filters without either": (["--filters=kernel"], "--prune or --cluster"),
    "one cluster": (["--cluster", "--number_of_clusters=1"], "at least 2"),
    "end before begin": (["--prune", "--prune_begin=0.7", "--prune_end=0.7"], "smaller"),
    "begin in epochs": (["--prune", "--prune_begin=2"], "fraction of the training"),
    "frequency": (["--prune", "--prune_frequency=0"], "at least 1"),
    "latency without channels": (["--prune", "--distribution=latency"], "add --pattern=channel"),
    "n of m with erk": (["--prune", "--pattern=n_of_m"], "add --distribution=uniform"),
    "n of m, too few": (
        ["--prune", "--distribution=uniform", "--target_sparsity=0.4", "--pattern=n_of_m"],
        "at least 0.5",
    ),
    "no such pattern": (["--prune", "--pattern=2:4"], "none, pairs, block, n_of_m, channel"),
    "broken regex": (["--prune", "--filters=("], "regular expression"),
    "unknown format": (["--export_formats=int9"], "int8"),
    "search without a bound": (["--search"], "--max_bytes, --max_latency_ms, --min_metric"),
    "bound without search": (["--max_bytes=40000"], "add --search"),
    "trials without search": (["--trials=3"], "add --search"),
    "no bytes": (["--search", "--max_bytes=0"], "above 0"),
    "metric in percent": (["--search", "--min_metric=75"], "below 1"),
    "no trials": (["--search", "--max_bytes=9", "--trials=0"], "at least 1"),
    "search and prune": (["--search", "--max_bytes=9", "--prune"], "--prune must be left out with --search"),
    "search and formats": (["--search", "--max_bytes=9", "--export_formats=int8"], "left out with --search"),
    "resume and overwrite": (["--resume", "--overwrite"], "leave one out"),
    "no minutes": (["--backup_minutes=0"], "above 0"),
    "no such strategy": (["--strategy=mirror"], "none, mirrored, multi_worker"),
    "search on several devices": (["--search", "--max_bytes=9", "--strategy=mirrored"], "same --storage"),
    "sensitivity of several workers": (["--sensitivity", "--strategy=multi_worker"], "measured by one process"),
    "format twice": (["--export_formats=int8,int8"], "different"),
}


@pytest.mark.parametrize(("argv", "hint"), WRONG.values(), ids=WRONG)
def test_a_wrong_flag_gives_one_line_with_rule_value_and_remedy(argv, hint, capsys):
    with pytest.raises(SystemExit) as stop:
        flags.parse(["train.py", *argv])
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert re.search(hint, captured.err)
    assert argv[-1].partition("=")[2] in captured.err


def test_values_reach_the_caller():
    values = flags.parse(["train.py", "--prune", "--filters=a{1,2}", "--filters=b", "--export_formats=int8,float16"])
    assert values.prune is True
    assert values.filters == ["a{1,2}", "b"]
    assert values.export_formats == ["int8", "float16"]
    assert values.distribution == "erk"
    assert tuple(flags.parse(["train.py"]).export_formats) == DEFAULT
    assert flags.parse(["train.py", "--export_formats="]).export_formats == []
    assert flags.parse(["train.py", "--sensitivity", "--target_sparsity=0.9"]).target_sparsity == 0.9


def test_every_format_and_accelerator_of_the_library_has_its_name():
    from segopt_callbacks.export import ethos_u
    from segopt_callbacks.export.formats import TARGETS

    assert set(FORMATS) == set(TARGETS)
    assert ACCELERATORS == ethos_u.ACCELERATORS
    assert flags.parse(["train.py"]).accelerator == ethos_u.DEFAULT


def test_goals_are_those_of_the_library():
    from segopt_callbacks import recipes

    assert tuple(recipes.GOALS) == GOALS


def test_two_parses_do_not_know_of_each_other():
    flags.parse(["train.py", "--prune", "--target_sparsity=0.5"])
    assert flags.parse(["train.py"]).target_sparsity == 0.8


@pytest.mark.parametrize("path", FLAG_FILES, ids=lambda path: path.name)
def test_flag_files_are_accepted(path):
    given = re.findall(r"^--(\w+)", path.read_text(), re.MULTILINE)
    values = flags.parse(["train.py", f"--flagfile={path}"])
    assert given
    assert all(values[name].present for name in given)


@pytest.mark.parametrize("name", ["prune_cluster_int8", "qat", "pqat", "cqat", "pcqat", "smallest"])
def test_the_promised_flag_files_exist(name):
    assert f"{name}.flags" in [path.name for path in FLAG_FILES]


def test_flags_are_parsed_without_tensorflow():
    code = "import sys, flags; flags.parse(['train.py']); print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"


def test_choices_are_those_of_the_application():
    from flags.training import LOSSES, UPSAMPLINGS
    from train_unet.blocks import UPSAMPLINGS as BUILT
    from train_unet.losses import LOSSES as COMPUTED

    assert UPSAMPLINGS == BUILT
    assert set(LOSSES) == set(COMPUTED)
