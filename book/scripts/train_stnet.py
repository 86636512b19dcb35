"""Train ST-Net on sections of HER2ST: on one machine, or on as many as there are.

    python train_stnet.py --folder runs/stnet
    torchrun --nproc_per_node=2 train_stnet.py --folder runs/stnet
    sbatch train_stnet.sbatch

Started again after an interruption, with the same arguments, it goes on where it was.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import torch

import stlearnkit as stk
from stlearnkit.batches import SectionBatch
from stlearnkit.models.cnn import STNet, STNetConfig
from stlearnkit.training import FitConfig, fit


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description="Train ST-Net on HER2ST.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--train", nargs="+", default=["C2", "C3", "C4"])
    parser.add_argument("--validate", nargs="+", default=["C5"])
    parser.add_argument("--n-genes", type=int, default=250)
    parser.add_argument("--side-px", type=int, default=224)
    parser.add_argument("--backbone", help="any timm network; the book's without it")
    parser.add_argument("--no-pretraining", action="store_true")
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def size_of_cluster() -> dict[str, int]:
    """Return devices per node and nodes, as torchrun or SLURM set them up."""
    world = int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1")))
    per_node = int(
        os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("SLURM_NTASKS_PER_NODE", "1"))
    )
    return {"devices": per_node, "num_nodes": world // per_node}


def main() -> None:
    """Train, and let one process say how it went."""
    asked = arguments()
    sections = {n: stk.datasets.her2st(n) for n in [*asked.train, *asked.validate]}
    training = [sections[name] for name in asked.train]
    among = stk.expression.shared_genes(list(sections.values()))
    panel = stk.expression.top_genes(training, asked.n_genes, among=among)
    batches = {
        name: SectionBatch.of_section(
            section,
            panel.genes,
            patches=stk.patches.extract(
                section.slide, section.coords_px, 224.0, output_px=asked.side_px
            ),
            targets=stk.expression.log_normalised(section, panel.genes),
        )
        for name, section in sections.items()
    }
    targets = [batches[name].targets.numpy() for name in asked.train]
    config = STNetConfig(
        backbone=asked.backbone,
        pretrained=not asked.no_pretraining,
        dropout=asked.dropout,
    )
    torch.manual_seed(asked.seed)
    cluster = size_of_cluster()
    fitted = fit(
        STNet(np.concatenate(targets).mean(axis=0), config),
        [batches[name] for name in asked.train],
        [batches[name] for name in asked.validate],
        folder=asked.folder,
        config=FitConfig(max_epochs=asked.epochs, seed=asked.seed),
        strategy="ddp" if cluster["devices"] * cluster["num_nodes"] > 1 else "auto",
        **cluster,
    )
    if int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0:
        print(fitted.history.round(4).to_string(index=False))
        print(f"epoch kept: {fitted.best_epoch}; weights in {asked.folder}")


if __name__ == "__main__":
    main()
