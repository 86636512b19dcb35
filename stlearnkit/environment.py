"""What this machine is, and how long a chapter takes on it.

The first cell of every chapter asks for a `Report`, so that a reader sees before the
work begins whether a GPU is in use, and how long to wait.

Taught in the chapter "What a section is".
"""

__all__ = ["Report", "gpu_name", "n_cores", "report"]

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version

import torch

_SHOWN = ("stlearnkit", "numpy", "scanpy", "squidpy", "torch")


@dataclass(frozen=True)
class Report:
    """Versions, device and the minutes to expect; its text is what a reader sees.

    Parameters
    ----------
    versions
        Of Python and the packages that the numbers depend on.
    gpu
        Name of the GPU, or None.
    n_cores
        CPU cores that this process may use.
    cpu_minutes, gpu_minutes
        Minutes that the chapter takes on two CPU cores, and on a GPU.

    Examples
    --------
    >>> Report({"numpy": "2.4.6"}, gpu=None, n_cores=2, cpu_minutes=3, gpu_minutes=1)
    numpy 2.4.6
    No GPU found: this chapter runs on 2 CPU cores, in about 3 min (1 min on a GPU).
    """

    versions: dict[str, str]
    gpu: str | None
    n_cores: int
    cpu_minutes: float
    gpu_minutes: float

    @property
    def minutes(self) -> float:
        """Minutes to expect on this machine."""
        return self.cpu_minutes if self.gpu is None else self.gpu_minutes

    def __repr__(self) -> str:
        """Write versions on one line, device and minutes on the next."""
        versions = ", ".join(
            f"{name} {number}" for name, number in self.versions.items()
        )
        if self.gpu is None:
            device = (
                f"No GPU found: this chapter runs on {self.n_cores} CPU cores, in "
                f"about {self.cpu_minutes:g} min ({self.gpu_minutes:g} min on a GPU)."
            )
        else:
            device = (
                f"GPU: {self.gpu}. This chapter takes about {self.gpu_minutes:g} min "
                f"({self.cpu_minutes:g} min on two CPU cores)."
            )
        return f"{versions}\n{device}"


def report(*, cpu_minutes: float, gpu_minutes: float) -> Report:
    """Look at this machine.

    Parameters
    ----------
    cpu_minutes, gpu_minutes
        Minutes that the chapter takes on two CPU cores, and on a GPU; positive.

    Returns
    -------
    Report
        Shown by a notebook when it is the last line of a cell.

    Raises
    ------
    ValueError
        If a number of minutes is not positive.

    Examples
    --------
    >>> report(cpu_minutes=2, gpu_minutes=1).minutes in (1, 2)
    True
    """
    for name, minutes in [("cpu_minutes", cpu_minutes), ("gpu_minutes", gpu_minutes)]:
        if not minutes > 0:
            raise ValueError(
                f"{name} is {minutes}, expected a positive number. Give the minutes "
                "that the whole chapter was measured to take."
            )
    versions = {"Python": platform.python_version()}
    versions |= {name: version(name) for name in _SHOWN}
    return Report(versions, gpu_name(), n_cores(), cpu_minutes, gpu_minutes)


def gpu_name() -> str | None:
    """Return the name of the GPU that torch would use, or None."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def n_cores() -> int:
    """Count the CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
