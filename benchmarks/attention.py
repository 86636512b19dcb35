"""What attention costs as tokens become many: readable equation against fused kernel.

    python benchmarks/attention.py

Every figure is taken in a process of its own, on one thread: processor time of the call
alone, and the peak memory above that of a process that did the same for a few tokens.
Where weights of all pairs are held, it stops at 5,000 tokens, as 20,000 would take 16
times the memory.
"""

import argparse
import resource
import subprocess
import sys
import time

import torch

from stlearnkit.models.attention import MultiHeadAttention

WIDTH, N_HEADS = 128, 4
FEW, MANY = (1000, 5000), (1000, 5000, 20_000, 50_000)
N_REPEATS = 3  # of processes, up to 5,000 tokens; the least counts
CASES = {
    "predict, readable": FEW,
    "predict, fused": MANY,
    "predict, fused, half of the keys masked": MANY,
    "train, readable": FEW,
    "train, fused": MANY,
    "train, fused, learned bias": FEW,
    "train, fused, dropout of weights": FEW,
}


def attend(case: str, n_tokens: int) -> None:
    """Predict, or take a training step's forward and backward pass."""
    dropout = 0.1 if "dropout" in case else 0.0
    attention = MultiHeadAttention(WIDTH, N_HEADS, dropout=dropout)
    x = torch.randn(n_tokens, WIDTH)
    options = {}
    if "masked" in case:
        options["mask"] = torch.arange(n_tokens)[None] % 2 == 0
    if "bias" in case:
        options["bias"] = torch.zeros(N_HEADS, n_tokens, n_tokens, requires_grad=True)
    training = case.startswith("train")
    with torch.set_grad_enabled(training):
        found = attention.train(training)(
            x, return_weights="readable" in case, **options
        )
    mean = found[0] if isinstance(found, tuple) else found
    if training:
        mean.sum().backward()


def measure(case: str, n_tokens: int) -> None:
    """Print seconds of the processor and the peak memory in MiB of this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    attend(case, 16)
    started = time.process_time()
    attend(case, n_tokens)
    seconds = time.process_time() - started
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)


def in_its_own_process(case: str, n_tokens: int) -> tuple[float, float]:
    """Return the least seconds and the least peak memory in MiB of some processes."""
    words = [sys.executable, __file__, "--case", case, "--tokens", str(n_tokens)]
    runs = []
    for _ in range(N_REPEATS if n_tokens <= max(FEW) else 1):
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        runs.append([float(word) for word in done.stdout.split()])
    seconds, peaks = zip(*runs, strict=True)
    return min(seconds), min(peaks)


def main() -> None:
    """Print a row for each case and number of tokens."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--tokens", type=int)
    asked = parser.parse_args()
    if asked.case:
        measure(asked.case, asked.tokens)
        return
    print(
        f"torch {torch.__version__}, CPU, 1 thread, float32, width {WIDTH}, "
        f"{N_HEADS} heads"
    )
    for case, sizes in CASES.items():
        _, base = in_its_own_process(case, 16)
        for n_tokens in sizes:
            seconds, peak = in_its_own_process(case, n_tokens)
            print(
                f"| {case} | {n_tokens:,} | {seconds:.2f} s | {peak - base:,.0f} MiB |",
                flush=True,
            )


if __name__ == "__main__":
    main()
