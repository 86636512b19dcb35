"""Training and predicting with ST-Net, beside plain PyTorch loops of the same work.

Run with `STLEARNKIT_DATA` and `STLEARNKIT_WEIGHTS` set, or with a network:

    python benchmarks/training.py [--side-px 64] [--frozen 4]

Both train on the same patches in the same order: two sections to learn from, one to
predict and score after every epoch, weights and state saved after every epoch so that
no crash leaves half a file. What is compared is the time of further epochs, so that
setting up counts for neither. Processor time, pooled over rounds taken in turn, as the
speed of a shared machine scatters; run it with OMP_NUM_THREADS=1.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import stlearnkit as stk
from stlearnkit.batches import SectionBatch
from stlearnkit.metrics import pcc_per_gene, summarise
from stlearnkit.models.cnn import STNet, STNetConfig
from stlearnkit.symmetries import SYMMETRIES
from stlearnkit.training import FitConfig, fit, predict
from stlearnkit.training._steps import plan_epoch

FEW, MANY = 1, 4  # epochs; their difference is what is timed
N_ROUNDS = 5
ACCELERATOR = "gpu" if torch.cuda.is_available() else "cpu"
# Processor time, as shared machines scatter; a GPU works while the processor waits.
CLOCK = time.perf_counter if torch.cuda.is_available() else time.process_time
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def make_batches(side_px: int) -> list[SectionBatch]:
    """Return C2, C3 and C4 with patches of 224 µm and their 250 most frequent genes."""
    sections = [stk.datasets.her2st(name) for name in ("C2", "C3", "C4")]
    genes = stk.expression.top_genes(sections, 250).genes
    return [
        SectionBatch.of_section(
            section,
            genes,
            patches=stk.patches.extract(
                section.slide, section.coords_px, 224.0, output_px=side_px
            ),
            targets=stk.expression.log_normalised(section, genes),
        )
        for section in sections
    ]


def by_library(model: STNet, batches: list[SectionBatch], config: FitConfig) -> float:
    """Return the processor seconds that `fit` takes."""
    with tempfile.TemporaryDirectory() as folder:
        started = CLOCK()
        fit(
            model,
            batches[:2],
            batches[2:],
            folder=Path(folder),
            config=config,
            progress=False,
            accelerator=ACCELERATOR,
            precision="32-true",
        )
        return CLOCK() - started


def store(content: object, file: Path) -> None:
    """Save so that a crash leaves the old file or the new one, as `fit` does."""
    unfinished = file.with_suffix(".tmp")
    torch.save(content, unfinished)
    with unfinished.open("r+b") as stream:
        os.fsync(stream.fileno())
    unfinished.replace(file)


def by_hand(model: STNet, batches: list[SectionBatch], config: FitConfig) -> float:
    """Return the processor seconds that a plain loop takes for the same.

    Raises
    ------
    RuntimeError
        If the loss is no number.
    """
    started = CLOCK()
    model.to(DEVICE).train()
    optimizer = torch.optim.AdamW(
        model.parameter_groups(config.learning_rate), weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1000)
    *training, validation = batches
    sizes = [batch.n_queries for batch in training]
    measured = validation.targets.double().numpy()
    with tempfile.TemporaryDirectory() as folder:
        for epoch in range(config.max_epochs):
            for step in plan_epoch(sizes, 32, augment=True, seed=0, epoch=epoch):
                batch, rows = training[step.batch], torch.from_numpy(step.rows)
                x = step.symmetry.of_images(batch.patches[rows].to(DEVICE))
                y = batch.targets[rows].to(DEVICE)
                optimizer.zero_grad()
                loss = torch.nn.functional.mse_loss(model.of_patches(x), y)
                if not torch.isfinite(loss):
                    raise RuntimeError("the loss is no number")
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
            model.eval()
            with torch.inference_mode():
                parts = validation.patches.split(32)
                predicted = torch.cat(
                    [model.of_patches(p.to(DEVICE)).cpu() for p in parts]
                )
            scores = pcc_per_gene(predicted.double().numpy(), measured)
            model.train()
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            store({**state, "pcc": summarise(scores).mean}, Path(folder) / "last.pt")
            store(model.state_dict(), Path(folder) / "best.pt")
    return CLOCK() - started


def encode_by_hand(model: STNet, batch: SectionBatch) -> None:
    """Predict all eight views in a plain loop."""
    model.eval()
    with torch.inference_mode():
        for symmetry in SYMMETRIES:
            for part in batch.patches.split(32):
                model.of_patches(symmetry.of_images(part.to(DEVICE))).cpu()


def timed(function: object, *arguments: object) -> float:
    """Return the processor seconds of a call."""
    started = CLOCK()
    function(*arguments)
    return CLOCK() - started


def main() -> None:
    """Print images a second for both, and their ratio; and the memory it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--side-px", type=int, default=112)
    parser.add_argument("--frozen", type=int, default=4)
    arguments = parser.parse_args()
    batches = make_batches(arguments.side_px)
    profile = np.concatenate([b.targets.numpy() for b in batches[:2]]).mean(axis=0)
    config = STNetConfig(n_frozen_stages=arguments.frozen)
    n_images = (MANY - FEW) * sum(b.n_queries for b in batches[:2])
    seconds: dict[str, list[float]] = {"fit": [], "plain loop": []}
    for _ in range(N_ROUNDS):
        for name, train in (("fit", by_library), ("plain loop", by_hand)):
            of_many, of_few = (
                train(STNet(profile, config), batches, FitConfig(max_epochs=n))
                for n in (MANY, FEW)
            )
            seconds[name].append(of_many - of_few)
    print(
        f"{ACCELERATOR}, {torch.get_num_threads()} threads, {arguments.side_px} px, "
        f"{arguments.frozen} stages frozen"
    )
    total = {name: sum(some) for name, some in seconds.items()}
    for name, some in total.items():
        print(f"training, {name}: {N_ROUNDS * n_images / some:.0f} images/s")
    rounds = np.array(seconds["plain loop"]) / np.array(seconds["fit"])
    print(f"ratio: {total['plain loop'] / total['fit']:.3f}, rounds {rounds.round(2)}")
    model = STNet(profile, config).to(DEVICE)
    views = 8 * batches[2].n_queries
    library = min(timed(predict, model, batches[2]) for _ in range(N_ROUNDS))
    plain = min(timed(encode_by_hand, model, batches[2]) for _ in range(N_ROUNDS))
    print(
        f"predicting: {views / library:.0f} images/s, plain {views / plain:.0f}, "
        f"ratio {plain / library:.3f}"
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of the process: {peak:.2f} GiB")


if __name__ == "__main__":
    main()
