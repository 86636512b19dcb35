"""Features of one real section: computing them, loading them, and a plain loop.

Run with `STLEARNKIT_DATA` and `STLEARNKIT_WEIGHTS` set, or with a network:

    python benchmarks/features.py

Ratios come from one run on one machine; times of a busy machine mean little.
"""

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stlearnkit.datasets import her2st
from stlearnkit.encoders import Encoder, default_encoder, features
from stlearnkit.patches import Scale, extract

SCALES = (Scale("spot", 112.0), Scale("ring", 224.0), Scale("region", 560.0))


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that a call took, and its result."""
    started = time.perf_counter()
    result = function()
    return time.perf_counter() - started, result


def plain_loop(encoder: Encoder, patches: np.ndarray) -> np.ndarray:
    """Encode one patch at a time, as a first script would."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (encoder.mean, encoder.std))
    rows = []
    with torch.no_grad():
        for patch in patches:
            image = torch.from_numpy(patch).permute(2, 0, 1).float() / 255
            image = ((image - mean) / std).to(encoder.device)
            rows.append(encoder.network(image[None])[0].cpu().numpy())
    return np.stack(rows)


def main() -> None:
    """Print times, ratios and the peak of memory."""
    section, encoder = her2st("C3"), default_encoder()
    with tempfile.TemporaryDirectory() as folder:

        def all_scales() -> list[np.ndarray]:
            """Return the features of the section at each scale."""
            cache = Path(folder)
            return [features(section, encoder, s, cache_folder=cache) for s in SCALES]

        computing, first = timed(all_scales)
        loading, again = timed(all_scales)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    print(f"three scales, {section.n_spots} spots, on {encoder.device}")
    print(f"compute {computing:.2f} s, load {1e3 * loading:.1f} ms")
    print(f"ratio compute / load: {computing / loading:.0f}")
    patches = extract(section.slide, section.coords_px, 112.0)
    batched, ours = timed(lambda: encoder.encode(patches))
    looped, theirs = timed(lambda: plain_loop(encoder, patches))
    assert np.allclose(ours, theirs, atol=1e-3 if encoder.device == "cpu" else 0.1)
    print(f"encode {len(patches) / batched:.0f} images/s")
    print(f"plain loop {len(patches) / looped:.0f} images/s")
    print(f"ratio plain loop / encode: {looped / batched:.2f}")
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory {peak_kb / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
