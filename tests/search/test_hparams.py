"""What TensorBoard's HParams reads of a trial."""

from __future__ import annotations

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.util import tensor_util

from segopt_callbacks.search.demand import Figures
from segopt_callbacks.search.hparams import write_run
from segopt_callbacks.search.record import Record
from segopt_callbacks.search.settings import Settings


def test_a_trial_is_a_run_with_its_settings_and_results(tmp_path):
    settings = Settings(sparsity=0.9, bits=8, pattern="pairs")
    record = Record(7, "ok", "search", 3, settings=settings, figures=Figures(1234, 0.75, 1.5), curve=(0.5, 0.7))
    write_run(tmp_path, record, "mIoU")
    (run,) = tmp_path.iterdir()
    assert run.name == "0007-search"
    events = EventAccumulator(str(run)).Reload()
    content = events.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
    told = metadata.parse_session_start_info_plugin_data(content).hparams
    assert (told["sparsity"].number_value, told["pattern"].string_value, told["seed"].number_value) == (0.9, "pairs", 3)

    def values(tag):
        return [float(tensor_util.make_ndarray(one.tensor_proto)) for one in events.Tensors(tag)]

    assert values("file/gzip_bytes") == [1234]
    assert values("file/latency_ms") == [1.5]
    assert [round(one, 6) for one in (*values("file/mIoU"), *values("epoch/mIoU"))] == [0.75, 0.5, 0.7]


def test_a_trial_that_was_refused_has_no_run(tmp_path):
    write_run(tmp_path, Record(0, "refused", "search", 0, settings=Settings()), "mIoU")
    assert list(tmp_path.iterdir()) == []
