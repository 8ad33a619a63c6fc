"""Ray Train starts the workers, and sets TF_CONFIG in each: `python ray_train.py`, with the project on every node."""

import subprocess
import sys

from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.tensorflow import TensorflowTrainer

FLAGS = [
    "--strategy=multi_worker",
    "--resume",
    "--prune",
    "--cluster",
    "--batch_size=16",
    "--data_dir=/shared/data/landcover",
    "--output_dir=/shared/runs/landcover",
]


def train(config):
    """Runs one worker in a process of its own: Ray calls this in a thread, where no signal can be handled."""
    subprocess.run([sys.executable, "train.py", *config["flags"]], cwd=config["folder"], check=True)


trainer = TensorflowTrainer(
    train,
    train_loop_config={"flags": FLAGS, "folder": "/shared/segopt/train_unet"},
    scaling_config=ScalingConfig(num_workers=2, use_gpu=True),
    run_config=RunConfig(failure_config=FailureConfig(max_failures=-1)),  # start again, with --resume
)
trainer.fit()
