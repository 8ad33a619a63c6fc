"""The table of docs/situations.md: each row is a test, which states what it has shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "situations.md"
BEGIN, END = "<!-- made by make_situations.py -->\n", "<!-- end -->\n"
SAME = "the same"  # what stands for Keras 2 where it does as Keras 3


@dataclass(frozen=True)
class Row:
    """A situation and the test of it.

    Attributes:
        what: the situation, in the user's words.
        node: pytest's name of the test; without its brackets, all cases of the test.
        shows: what the test shows where it passes, unless it states that itself (the fixture `outcome`).
    """

    what: str
    node: str
    shows: str = "holds"

    def covers(self, node: str) -> bool:
        """Whether `node` is this row's test, or a case of it."""
        return node == self.node or node.startswith(f"{self.node}[")


def _matrix(what: str, case: str) -> Row:
    return Row(what, f"tests/fit/test_matrix.py::test_situation[{case}]")


def _odd(what: str, test: str) -> Row:
    return Row(what, f"tests/fit/test_odd_models.py::test_{test}")


def _left(what: str, test: str, shows: str) -> Row:
    return Row(what, f"tests/fit/test_left_alone.py::test_{test}", shows)


def _strategy(what: str, who: str, case: str = "") -> Row:
    test = f"test_{who}_keep_the_same_masks_and_weights_after_every_step{case}"
    return Row(what, f"tests/fit/test_strategy.py::{test}", "exact, 8 steps, and equal on each replica")


GROUPS: dict[str, tuple[Row, ...]] = {
    "The model": (
        _matrix("subclassed, without weights before its first step", "subclassed_unbuilt"),
        _matrix("subclassed, built before", "subclassed_built"),
        _matrix("a model in a model", "nested"),
        _matrix("functional", "functional"),
        _matrix("sequential, without weights before its first step", "sequential"),
        _matrix("unbuilt, its inputs a dictionary", "dictionary_of_inputs"),
        _matrix("unbuilt, with a layer that is never called", "layer_never_called"),
        _matrix("fitted before without pruning, not compiled again", "already_fitted"),
        _matrix("two fits in a row", "two_fits_in_a_row"),
        Row("a plain fit after the pruned one", "tests/fit/test_matrix.py::test_a_plain_fit_afterwards"),
        _odd("separable, depthwise and recurrent kernels", "kernels_that_no_layer_calls_kernel"),
    ),
    "How it is compiled": (
        _matrix("`run_eagerly=True`", "run_eagerly"),
        _matrix("`jit_compile=True`", "jit_compile"),
        _matrix("`steps_per_execution=2`", "steps_per_execution"),
        _matrix("`steps_per_execution=8`, counted inside the compiled function", "steps_per_execution_8"),
        _matrix("`jit_compile=True, steps_per_execution=8`, counted inside", "jit_and_steps_per_execution"),
        _matrix("`mixed_float16` (loss scaling)", "mixed_float16"),
        _matrix("`mixed_float16` and `jit_compile=True`", "mixed_float16_and_jit"),
        _matrix("`mixed_bfloat16`", "mixed_bfloat16"),
        _matrix("`mixed_bfloat16` and `jit_compile=True`", "mixed_bfloat16_and_jit"),
        _matrix("SGD with momentum and weight decay", "momentum_and_weight_decay"),
        _matrix("AdamW with `clipnorm`", "adamw_and_clipnorm"),
        _matrix("Lion", "lion"),
        _matrix("Adam with `gradient_accumulation_steps=2`", "gradient_accumulation"),
        Row(
            "Adam with `use_ema=True`, also overwriting, with jit, eager",
            "tests/fit/test_averages.py::test_weights_and_averages_have_the_same_zeros_after_every_batch",
            "exact, 8 steps, in the averages too",
        ),
        Row("a constraint of your own: `MaxNorm`", "tests/fit/test_matrix.py::test_with_max_norm"),
        Row("a constraint of your own: `NonNeg`", "tests/fit/test_matrix.py::test_with_non_neg"),
    ),
    "How it trains": (
        _matrix("a `train_step` of your own that uses the optimizer", "own_train_step"),
        Row("a `train_step` that writes weights itself", "tests/fit/test_matrix.py::test_without_optimizer"),
        _matrix("a `tf.data.Dataset`", "dataset"),
        _matrix("a generator of unknown length", "generator"),
        _matrix("a generator of unknown length, `run_eagerly=True`", "generator_eagerly"),
        Row(
            "a schedule whose frequency never meets its end",
            "tests/pruning/test_callback.py::test_a_schedule_reaches_its_final_sparsity",
        ),
        _strategy("`MirroredStrategy` with two replicas", "mirrored_replicas", "[float32]"),
        _strategy("`MirroredStrategy` with two replicas and `mixed_float16`", "mirrored_replicas", "[mixed_float16]"),
        _strategy("`MultiWorkerMirroredStrategy` with two processes", "workers"),
        Row(
            "`MultiWorkerMirroredStrategy` under Keras 3",
            "tests/fit/test_strategy.py::test_keras_3_cannot_train_with_several_workers",
            "refused, in words",
        ),
    ),
    "What else is in the list": (
        Row(
            "`SwapEMAWeights` and `ModelCheckpoint` in any order",
            "tests/fit/test_averages.py::test_swapped_averages_in_any_order",
            "exact, 8 steps, in the averages and in each file too",
        ),
        Row(
            "`AtTargetSparsity` around `EarlyStopping` and `ModelCheckpoint`, in any order",
            "tests/fit/test_at_target.py::test_best_counts_at_the_target_in_any_order",
            "exact; the best is that of the epochs at the target",
        ),
        Row(
            "`EarlyStopping(restore_best_weights=True)` by itself",
            "tests/fit/test_at_target.py::test_early_stopping_that_restores_dense_weights_is_told_with_both_sparsities",
            "exact, with a warning that names both sparsities",
        ),
        Row(
            "`ModelCheckpoint(save_best_only=True)` by itself",
            "tests/fit/test_at_target.py::test_a_best_checkpoint_below_the_target_is_told_with_both_sparsities",
            "a warning that names both sparsities",
        ),
        Row(
            "killed; continued by `BackupAndRestore`, `.keras`, `.weights.h5`, `tf.train.Checkpoint`",
            "tests/fit/test_resume.py::test_masks_weights_and_schedule_are_those_before_the_kill",
            "the masks, weights and step of before",
        ),
    ),
    "Outside `fit`": (
        Row("`train_on_batch`", "tests/fit/test_custom_loops.py::test_train_on_batch", "exact, 8 steps"),
        Row(
            "a loop with `GradientTape`, eager or in a `tf.function`",
            "tests/fit/test_custom_loops.py::test_a_gradient_tape",
            "exact, 8 steps",
        ),
        _left(
            "a plain fit after a loop that never called `on_train_end`",
            "a_fit_after_a_loop_that_never_ended_trains_every_weight",
            "nothing is pruned any more, with a warning",
        ),
        _left(
            "a plain fit after one that another callback broke off",
            "a_fit_after_one_that_a_callback_broke_off_trains_every_weight",
            "nothing is pruned any more",
        ),
        Row(
            "the evaluation data are a generator, a `Sequence`, a loader, arrays, a dataset",
            "tests/data/test_batches.py::test_every_form_gives_the_metrics_that_keras_gives_for_arrays",
            "the metrics are those of Keras for arrays",
        ),
        Row(
            "a metric, targets or images that do not fit the model",
            "tests/data/test_rehearsal.py::test_data_and_metrics_that_do_not_fit_are_refused_before_the_first_step",
            "refused before the first step",
        ),
    ),
    "Which weights": (
        _left(
            "a teacher, or an average of the weights, inside of the model",
            "a_teacher_and_an_average_stay_as_they_are_and_it_is_said_once",
            "left alone, with a warning; the student exact",
        ),
        _left(
            "the same, named by a filter of its own", "a_filter_of_its_own_names_a_teacher", "pruned as the filter says"
        ),
        _left(
            "a GAN with two optimizers of its own, `call` is the generator",
            "the_discriminator_of_a_gan_with_two_optimizers_is_left_alone",
            "the generator exact; the discriminator left alone, with a warning",
        ),
        _left(
            "the same without a `call`",
            "of_a_gan_without_a_call_filters_tell_what_is_for_inference",
            "both are pruned; `filters` name the generator alone",
        ),
        _odd("nothing to prune", "nothing_to_prune"),
        _odd("`filters` that match nothing", "filters_that_match_nothing"),
        _odd("one weight selected by two callbacks", "two_callbacks_on_one_weight"),
        _odd("one weight under two names", "a_weight_under_two_names"),
        _odd("a shared layer", "a_shared_layer"),
        _odd("a frozen layer", "a_frozen_layer"),
        _odd("a layer frozen in the second of three fits", "a_layer_that_is_frozen_between_two_fits"),
        _odd("a layer frozen after `compile`", "a_layer_that_is_frozen_after_compile"),
        _odd("every layer frozen", "every_layer_frozen"),
        _odd("biases of two axes (attention, GRU), scales of two axes", "two_axes_and_no_kernel"),
        _odd("embeddings", "embeddings"),
        _odd("the matrix of a custom layer", "the_matrix_of_a_custom_layer"),
        _odd("a scalar", "a_scalar"),
        _odd("a kernel of one value", "a_kernel_of_one_value"),
        _odd("a kernel of no value", "a_kernel_of_no_value"),
        _odd("a layer with LoRA", "a_layer_with_lora"),
        _odd("LoRA in every layer", "lora_in_every_layer"),
        _odd("LoRA factors that a predicate takes", "lora_factors_that_a_predicate_takes"),
        _odd("LoRA merged with `save_weights` and `load_weights`", "lora_merged_as_the_warning_says"),
        _odd('a layer after `quantize("int8")` or `quantize("int4")`', "a_quantized_layer"),
        _odd('every layer after `quantize("int8")`', "every_layer_quantized"),
        _odd('a layer after `quantize("float8")`', "a_float8_layer_trains_its_kernel"),
    ),
    "Which values": (
        _odd("weights in float16, bfloat16 or float64", "weights_of_another_precision"),
        _odd("complex or integer weights that train", "trainable_weights_that_are_not_floating_point"),
        _odd("a kernel of zeros", "a_kernel_of_zeros"),
        _odd("NaN or infinity in a weight", "weights_that_are_not_finite"),
        _odd("training diverges, then the masks change", "training_that_diverges_before_a_change_of_the_masks"),
        _odd("training diverges, the masks stay", "training_that_diverges_while_the_masks_are_held"),
    ),
}

ROWS = tuple(row for rows in GROUPS.values() for row in rows)
Cells = dict[str, tuple[str, str]]  # row.what -> what Keras 3 and Keras 2 make of it


def table(cells: Cells) -> str:
    """The table of the page, one for each group."""
    parts = []
    for group, rows in GROUPS.items():
        pairs = [(row.what, *cells[row.what]) for row in rows]
        lines = [f"| {what} | {one} | {SAME if other == one else other} |" for what, one, other in pairs]
        parts.append("\n".join([f"### {group}\n", "| | Keras 3 | Keras 2 (`tf_keras`) |", "|---|---|---|", *lines, ""]))
    return "\n".join(parts)


def split_page(page: Path = PAGE, begin: str = BEGIN) -> tuple[str, str, str]:
    """The page: what stands before the table, the table, what follows."""
    before, rest = page.read_text().split(begin)
    between, behind = rest.split(END)
    return before + begin, between, END + behind


def cells_on_page() -> Cells:
    """What the page says, row by row."""
    lines = re.findall(r"^\| (\S.*) \| (.*) \| (.*) \|$", split_page()[1], re.MULTILINE)
    return {what: (keras_3, keras_3 if keras_2 == SAME else keras_2) for what, keras_3, keras_2 in lines}
