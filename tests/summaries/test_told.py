"""Settings and results of a fit as flat tables: pure functions, one fit's tables are in `test_browser.py`."""

from __future__ import annotations

import numpy as np
import pytest

from segopt_callbacks import (
    ClusterOnTrainEndCallback,
    CompressionSummaries,
    ConstantSparsity,
    ExportQuantizedCallback,
    PruningScheduleCallback,
    block,
    ramp_by_fraction,
)
from segopt_callbacks.records import Codebook, Density, board
from segopt_callbacks.summaries.flat import flat_settings
from segopt_callbacks.summaries.told import overall_error, result_scalars, results_record, weights_record

DATA = np.ones((2, 2)), np.ones((2, 2))


def test_settings_are_told_with_those_of_schedules_and_patterns(tmp_path):
    callbacks = [
        PruningScheduleCallback(ramp_by_fraction(0.7, 0.1, 0.6), pattern=block(2, 1)),
        PruningScheduleCallback(ConstantSparsity(0.5, 0), "head/kernel"),
        ClusterOnTrainEndCallback(16, filters=["a", "b"]),
        ExportQuantizedCallback(tmp_path, ("float32", "int8"), evaluation_data=DATA, metadata={"classes": ["a"]}),
    ]
    told = flat_settings(callbacks)
    assert told["PruningSchedule.schedule"] == "Ramp"
    assert told["PruningSchedule.schedule.final_sparsity"] == 0.7
    assert (told["PruningSchedule.pattern"], told["PruningSchedule.pattern.rows"]) == ("Block", 2)
    assert told["PruningSchedule_2.schedule"] == "ConstantSparsity"
    assert told["PruningSchedule_2.schedule.target_sparsity"] == 0.5
    assert told["PruningSchedule_2.filters"] == "head/kernel"
    assert told["ClusterOnTrainEnd.filters"] == "a, b"
    assert told["ClusterOnTrainEnd.number_of_clusters"] == 16
    assert told["ExportQuantized.formats"] == "float32, int8"
    assert {type(value) for value in told.values()} <= {bool, int, float, str}
    assert not any(word in name for name in told for word in ("dir", "evaluation_data", "metadata", "verbose"))
    assert flat_settings([CompressionSummaries(tmp_path)]) == {"CompressionSummaries.update_freq": "epoch"}


def test_long_words_are_cut_numpy_numbers_are_numbers_and_objects_are_not_asked():
    class Model:
        def get_config(self):
            raise NotImplementedError("a subclassed model tells nothing")

    class Odd:
        def get_config(self):
            words = {"rate": np.float32(0.5), "text": "x" * 200}
            return {**words, "teacher": Model(), "kind": dict, "call": len, "none": None, "empty": []}

    assert flat_settings([Odd()]) == {"Odd.rate": 0.5, "Odd.text": "x" * 80}


def test_a_record_holds_at_most_256_shared_values_and_nothing_that_json_lacks():
    values = {"a": np.arange(257, dtype="float32"), "b": np.array([np.nan, np.inf, 1.23456789], "float32")}
    codebooks = {path: Codebook(Density.of(np.zeros(1)), 0.125) for path in values}
    record = weights_record(values, values, codebooks)
    assert record["a"] == {"shape": [257], "low": 0.0, "high": 256.0, "error": 0.125}
    assert record["b"]["values"] == [1.235]
    assert board.decoded(board.encoded(record)) == record


def test_the_overall_error_is_weighted_by_elements():
    values = {"a": np.zeros(3), "b": np.zeros(1), "dense": np.zeros(100)}
    codebooks = {"a": Codebook(Density.of(np.zeros(1)), 0.2), "b": Codebook(Density.of(np.zeros(1)), 0.6)}
    assert overall_error(codebooks, values) == pytest.approx((3 * 0.2 + 0.6) / 4)


def test_results_without_an_export_are_those_of_the_last_epoch():
    record = results_record(None, {"loss": 0.5, "lr": np.float32(0.25), "broken": float("nan"), "text": "x"})
    assert record == {"last_epoch": {"loss": 0.5, "lr": 0.25}, "metrics": {}, "formats": {}}
    assert result_scalars(record) == {"epoch/loss": 0.5, "epoch/lr": 0.25}


def test_a_format_that_failed_has_no_figures():
    report = {"model": {"metrics": {}}, "formats": {"tvm": {"status": "failed", "error": "no compiler"}}}
    record = results_record(report, {})
    assert record["formats"] == {"tvm": {"status": "failed"}}
    assert result_scalars(record) == {}
