"""Every command killed at random moments: what the next run makes of it.

    python benchmarks/interrupted.py [--kills 10] [--only report] [--predictor ridge]

Each command is run on a small block of synthetic tissue, once in peace and then as many
times as asked from the same start, killed with SIGKILL at a moment drawn between its
begin and its usual end, and run again. Printed is, for each command, how many kills
came before the end, how many files were whole by then, and whether afterwards

- all files are to the byte those of the run in peace,
- no file that was whole was written again,
- no temporary file is left, in the study or in the cache of features.

Commands run in forked processes that have imported all before, so that kills hit their
work and not the imports; Linux or macOS. Exit code 1 if anything differs.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import timm
import torch
from safetensors.torch import save_file

from stlearnkit.commands import app

COMMANDS = (
    *("data", "features", "train", "predict", "align", "impute", "evaluate"),
    "report",
)
UNFINISHED = "*.tmp"
NOT_COMPARED = {"runs"}  # logs of training differ by the time of day
STUDY = """
sections = ["synthetic:S1", "synthetic:S2", "synthetic:S3"]
folder = "out"
[features]
encoder = "local-dir:weights"
scales_um = [112.0, 224.0]
[train]
predictor = "{predictor}"
sections = ["S1", "S2"]
n_genes = 20
[predict]
sections = ["S2", "S3"]
[align]
sections = ["S1", "S2", "S3"]
z_um = [0, 48, 96]
[impute]
observed = ["S2"]
sections = ["S1", "S3"]
n_genes = 20
[evaluate]
sections = ["S1", "S2", "S3"]
n_genes = 20
"""


@dataclass
class Tally:
    """What was seen of one command."""

    command: str
    seconds: float
    kills: int = 0
    before_the_end: int = 0
    whole_by_then: int = 0
    different: int = 0
    written_again: int = 0
    leftovers: int = 0

    @property
    def is_right(self) -> bool:
        """Whether no kill had a consequence."""
        return not (self.different or self.written_again or self.leftovers)


def save_encoder(folder: Path) -> None:
    """Save a tiny network with weights drawn at random, as a folder of timm."""
    torch.manual_seed(0)
    network = timm.create_model("test_efficientnet", pretrained=False, num_classes=0)
    folder.mkdir()
    save_file(network.state_dict(), folder / "model.safetensors")
    about = {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.2] * 3}
    config = {"architecture": "test_efficientnet", "pretrained_cfg": about}
    (folder / "config.json").write_text(json.dumps({**config, "num_classes": 0}))


def invoke(command: str, place: Path) -> None:
    """Run a command in this process, with its cache beside the study."""
    os.environ["STLEARNKIT_CACHE"] = str(place / "cache")
    with (place / "log").open("w") as log, contextlib.redirect_stdout(log):
        app([command, str(place / "study.toml")], prog_name="stlearnkit")


def run(command: str, place: Path, kill_after_s: float | None = None) -> float:
    """Run a command in a process of its own, perhaps kill it; return its seconds."""
    process = get_context("fork").Process(target=invoke, args=(command, place))
    started = time.perf_counter()
    process.start()
    process.join(kill_after_s)
    if process.is_alive():
        process.kill()
    process.join()
    if kill_after_s is None and process.exitcode:
        sys.exit(f"{command} failed in {place}: {(place / 'log').read_text()}")
    return time.perf_counter() - started


def files(place: Path) -> Iterator[Path]:
    """Find what is to be the same in the end."""
    for file in sorted((place / "out").rglob("*")):
        inside = file.relative_to(place)
        if file.is_file() and NOT_COMPARED.isdisjoint(inside.parts):
            yield inside


def whole(place: Path) -> dict[Path, int]:
    """Return the files that a ledger vouches for, with the time of their writing."""
    found = {}
    for ledger in (place / "out").rglob("*.made"):
        names = json.loads(ledger.read_text())["files"]
        found |= {ledger.with_name(name): 0 for name in names}
    return {file: file.stat().st_mtime_ns for file in found}


def trial(command: str, start: Path, peace: Path, moment_s: float) -> Tally:
    """Kill a command once, run it again, and compare."""
    place = start.with_name("study")  # always the same: files may name their encoder
    shutil.copytree(start, place)
    took_s = run(command, place, moment_s)
    kept = whole(place)
    run(command, place)
    different = [
        file
        for file in {*files(place), *files(peace)}
        if content(place / file) != content(peace / file)
    ]
    if different:
        print("different:", *different)
    tally = Tally(
        command,
        took_s,
        kills=1,
        before_the_end=int(took_s >= moment_s),
        whole_by_then=len(kept) - len(whole(start)),
        different=len(different),
        written_again=sum(f.stat().st_mtime_ns != at for f, at in kept.items()),
        leftovers=len(list(place.rglob(UNFINISHED))),
    )
    shutil.rmtree(place)
    return tally


def content(file: Path) -> bytes | None:
    """Return what a file holds, or None if it is not there."""
    return file.read_bytes() if file.exists() else None


def main() -> None:
    """Kill every command, and print a row for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--predictor", default="ridge")
    parser.add_argument("--only", nargs="+", default=COMMANDS, help="kill only these")
    asked = parser.parse_args()
    for step in COMMANDS:
        import_module(f"stlearnkit.commands._{step}")
    draw = random.Random(asked.seed)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        start, peace = Path(folder) / "start", Path(folder) / "peace"
        start.mkdir()
        save_encoder(start / "weights")
        (start / "study.toml").write_text(STUDY.format(predictor=asked.predictor))
        for command in COMMANDS:
            shutil.copytree(start, start.with_name("study"))
            seconds = run(command, start.with_name("study"))
            start.with_name("study").rename(peace)
            tally = Tally(command, round(seconds, 1))
            for _ in range(asked.kills if command in asked.only else 0):
                one = trial(command, start, peace, draw.uniform(0, seconds))
                for name in list(vars(tally))[2:]:
                    setattr(tally, name, getattr(tally, name) + getattr(one, name))
            rows.append(tally)
            print(tally, flush=True)
            shutil.rmtree(start)
            peace.rename(start)
    print(pd.DataFrame(map(vars, rows)).to_string(index=False))
    sys.exit(not all(tally.is_right for tally in rows))


if __name__ == "__main__":
    main()
