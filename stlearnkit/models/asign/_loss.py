"""What ASIGN's training makes small, beside the squared error."""

__all__ = ["correlation_loss"]

import torch
from jaxtyping import Float, Int

_DAMPING = 0.01  # of a variance; a prediction that barely varies has no direction yet


def correlation_loss(
    predicted: Float[torch.Tensor, "queries genes"],
    measured: Float[torch.Tensor, "queries genes"],
    section_index: Int[torch.Tensor, " queries"],
) -> torch.Tensor:
    r"""Return 1 less the mean correlation of genes over the spots of each section.

    .. math:: 1 - \frac 1 G \sum_g \frac{\mathrm{cov}(\hat y_g, y_g)}
              {\sqrt{(\mathrm{var}\, \hat y_g + \epsilon)\, \mathrm{var}\, y_g}}

    the mean over sections by their number of queries. A gene that does not vary, and a
    section of a single query, count 1. Damped, the correlation of a prediction that
    does not vary is 0 and has a gradient.
    """
    total = predicted.new_zeros(())
    for number in section_index.unique():
        own = section_index == number
        p, m = (part[own] - part[own].mean(dim=0) for part in (predicted, measured))
        varies = m.square().mean(dim=0).clamp(min=1e-12)
        scale = ((p.square().mean(dim=0) + _DAMPING) * varies).sqrt()
        agree = (p * m).mean(dim=0) / scale
        total = total + own.sum() * (1 - agree.mean())
    return total / len(section_index)
