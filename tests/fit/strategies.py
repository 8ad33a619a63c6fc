"""The matrix of docs/machines.md: what was done x strategy x Keras; each cell is a test that was run."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "machines.md"
BEGIN = "<!-- made by make_machines.py -->\n"
WORKS, REFUSES, ELSEWHERE = "works", "refused in words", "in a process of its own"
REFUSAL = "tests/fit/test_strategy.py::test_keras_3_cannot_train_with_several_workers"
_STRATEGY = "tests/fit/test_strategy.py::test_"
_MIRRORED = f"{_STRATEGY}mirrored_replicas_keep_the_same_masks_and_weights_after_every_step[float32]"
_WORKERS = f"{_STRATEGY}workers_keep_the_same_masks_and_weights_after_every_step"
NODES = {  # strategy -> what was done -> the test of it
    "none": {
        "prune": "tests/fit/test_matrix.py::test_situation[functional]",
        "cluster": "tests/clustering/test_callback.py::test_the_order_in_the_list_does_not_change_the_result",
        "quantize": "tests/quantization/test_callback.py::test_training_learns_through_the_rounding",
        "export": "tests/export/test_saved_model.py::test_holds_each_weight_once_with_its_value",
        "resume": "tests/train_unet/test_backup.py"
        "::test_a_training_that_is_broken_off_three_times_ends_as_if_it_had_not_been",
    },
    "mirrored": {
        "prune": _MIRRORED,
        "cluster": f"{_STRATEGY}mirrored_replicas_share_few_values_after_every_step",
        "quantize": "tests/quantization/test_callback.py::test_replicas_learn_one_range",
        "export": "tests/export/test_conformance.py::test_a_model_of_replicas_goes_into_every_format",
        "resume": _MIRRORED,
    },
    "multi_worker": {
        "prune": _WORKERS,
        "cluster": _WORKERS,
        "quantize": f"{_STRATEGY}workers_learn_the_same_ranges_from_their_halves_of_each_batch",
        "export": f"{_STRATEGY}workers_leave_export_to_one_process_and_summaries_to_the_chief",
        "resume": f"{_STRATEGY}workers_go_on_from_the_backup_of_the_chief",
    },
}


def table(passed: tuple[set[str], set[str]]) -> str:
    """The matrix, from the tests that passed under Keras 3 and under Keras 2."""
    what = list(NODES["none"])
    lines = [f"| `--strategy` | Keras | {' | '.join(what)} |", "|---|---|" + "---|" * len(what)]
    for strategy, nodes in NODES.items():
        for keras, seen in zip((3, 2), passed, strict=True):
            cells = [_cell(node, seen) for node in nodes.values()]
            lines.append(f"| `{strategy}` | {keras} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(node: str, seen: set[str]) -> str:
    if node in seen:
        return ELSEWHERE if "leave_export_to_one_process" in node else WORKS
    return REFUSES if REFUSAL in seen else "did not run"
