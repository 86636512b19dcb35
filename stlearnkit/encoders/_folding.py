"""Frozen convolutional networks with fewer steps, for prediction alone."""

__all__ = ["fold_normalisation"]

import copy
from collections import Counter
from typing import Any

import torch
from torch.nn.utils import fuse_conv_bn_eval

_TOLERANCE = 1e-3  # of the largest feature; rounding makes 1e-5, a mistake far more

Pair = tuple[torch.nn.Conv2d, torch.nn.BatchNorm2d]


@torch.inference_mode()
def fold_normalisation(network: torch.nn.Module, input_px: int) -> torch.nn.Module:
    """Return a copy in which batch normalisation is part of the convolutions.

    A frozen normalisation multiplies each feature by a number and adds another; so can
    the convolution just before it, if its weights are multiplied and its bias raised.
    That spares a walk through every map, which in small networks on a CPU takes as long
    as the convolutions.

    Which normalisation follows which convolution is seen by watching the network at
    work, not guessed from names. The network itself is returned if there is no such
    pair, or if its copy disagrees with it, as where a convolution's result is used
    twice.

    Parameters
    ----------
    network
        In evaluation mode, on a CPU.
    input_px
        Side of the picture to watch it at.
    """
    random = torch.Generator().manual_seed(0)
    picture = torch.randn(1, 3, input_px, input_px, generator=random)
    folded = copy.deepcopy(network)
    pairs = _consecutive(folded, picture)
    if not pairs:
        return network
    names = {module: name for name, module in folded.named_modules()}
    for convolution, norm in pairs:
        folded.set_submodule(names[convolution], fuse_conv_bn_eval(convolution, norm))
        # Those of timm go on to an activation of their own.
        after = getattr(norm, "act", torch.nn.Identity())
        folded.set_submodule(names[norm], after)
    expected, found = network(picture), folded(picture)
    agrees = (found - expected).abs().max() <= _TOLERANCE * expected.abs().max()
    return folded if agrees else network


def _consecutive(network: torch.nn.Module, picture: torch.Tensor) -> list[Pair]:
    """Return each normalisation whose input is what one convolution returned.

    Those that are used more than once are left out.
    """
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    norms = [
        norm
        for norm in network.modules()
        if isinstance(norm, torch.nn.BatchNorm2d)
        and norm.running_mean is not None  # else it normalises by the batch at hand
    ]
    if not norms:
        return []  # such as transformers: no need to run them
    n_uses: Counter[torch.nn.Module] = Counter()
    made: list[tuple[torch.nn.Conv2d, torch.Tensor]] = []
    pairs: list[Pair] = []

    def after_convolution(module: Any, inputs: Any, output: torch.Tensor) -> None:
        n_uses[module] += 1
        made.append((module, output))

    def after_norm(module: Any, inputs: Any, output: torch.Tensor) -> None:
        n_uses[module] += 1
        pairs.extend((maker, module) for maker, map_ in made if map_ is inputs[0])

    hooks = [part.register_forward_hook(after_convolution) for part in convolutions]
    hooks += [norm.register_forward_hook(after_norm) for norm in norms]
    network(picture)
    for hook in hooks:
        hook.remove()
    return [pair for pair in pairs if all(n_uses[module] == 1 for module in pair)]
