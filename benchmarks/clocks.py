"""Clocks of the benchmarks that train: by the clock, and of the processor."""

import time

from lightning.pytorch.callbacks import Callback


def now() -> tuple[float, float]:
    """Return the clock's time and the processor's, of all threads."""
    return time.perf_counter(), time.process_time()


def since(started: tuple[float, float]) -> str:
    """Return what has passed, in seconds, that of the processor in brackets."""
    wall, processor = (b - a for a, b in zip(started, now(), strict=True))
    return f"{wall:.2f} ({processor:.2f})"


class EpochClock(Callback):
    """Seconds of each epoch up to its validation."""

    def __init__(self) -> None:
        self.seconds: list[str] = []

    def on_train_epoch_start(self, *_: object) -> None:
        """Start."""
        self.started = now()

    def on_validation_start(self, trainer: object, *_: object) -> None:
        """Stop, if an epoch came before."""
        if not trainer.sanity_checking:
            self.seconds.append(since(self.started))
