"""A training run on toys, as a script: for tests that kill it or run it twice at once.

python fit_toys.py FOLDER [--die-in-epoch N]
"""

import argparse
import os
import signal
from pathlib import Path

import torch
import toys

from stlearnkit.batches import Prediction, SectionBatch
from stlearnkit.models.cnn import STNet
from stlearnkit.training import FitConfig, Fitted, fit

CONFIG = FitConfig(max_epochs=4, spots_per_step=8, learning_rate=1e-3, patience=4)


class Mortal(STNet):
    """An ST-Net whose process is killed in the middle of an epoch."""

    steps_to_live: int

    def forward(self, batch: SectionBatch) -> Prediction:
        if self.training:
            self.steps_to_live -= 1
            if self.steps_to_live == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(batch)


def run(folder: Path, model: STNet, **options: object) -> Fitted:
    """Train on two toys of 21 spots each, which 8 does not divide, and a third."""
    train = [toys.batch("A", n_spots=21, seed=1), toys.batch("B", n_spots=21, seed=2)]
    validation = [toys.batch("V", seed=3)]
    settings = {"accelerator": "cpu", "progress": False, "config": CONFIG, **options}
    return fit(model, train, validation, folder=folder, **settings)


def main() -> None:
    """Train in the folder given, as one of as many processes as there are."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--die-in-epoch", type=int, default=0)
    arguments = parser.parse_args()
    n_processes = int(os.environ.get("WORLD_SIZE", "1"))
    torch.set_num_threads(1)
    model = toys.network(dropout=0.0 if n_processes > 1 else 0.2)
    if arguments.die_in_epoch:
        model.__class__ = Mortal
        model.steps_to_live = 6 * (arguments.die_in_epoch - 1) + 3
        Mortal.__name__ = STNet.__name__
    strategy = "ddp" if n_processes > 1 else "auto"
    run(arguments.folder, model, devices=n_processes, strategy=strategy)


if __name__ == "__main__":
    main()
