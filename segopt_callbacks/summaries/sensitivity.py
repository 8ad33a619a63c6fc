"""What TensorBoard shows of a measured sensitivity."""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf

from segopt_callbacks.records import Sensitivity, changes_markdown
from segopt_callbacks.summaries.pictures import bars_picture


def write_sensitivity(log_dir: str | os.PathLike[str], sensitivity: Sensitivity, *, step: int) -> None:
    """Writes how sensitive each weight is, as the run `sensitivity` of a log directory.

    | tag | what |
    |---|---|
    | `sensitivity/table` | text: the change of the monitored metric, by weight and treatment |
    | `sensitivity/losses` | picture of the table, see `pictures.bars_picture`: a line for each weight, in its order |

    Args:
        log_dir: TensorBoard's log directory.
        sensitivity: what was measured.
        step: of training.
    """
    by_treatment = [list(sensitivity.losses(one).values()) for one in sensitivity.treatments]
    picture = bars_picture(np.array(by_treatment, np.float64).T)
    # A run of its own: TensorBoard reads the files of a run one after another, and none that was left again.
    writer = tf.summary.create_file_writer(os.path.join(os.fspath(log_dir), "sensitivity"))
    with writer.as_default():
        tf.summary.text("sensitivity/table", "\n".join(changes_markdown(sensitivity.entry())), step)
        tf.summary.image("sensitivity/losses", picture[np.newaxis, :, :, np.newaxis], step)
    writer.close()
