r"""TRIPLEX and BG-TRIPLEX: attention within the spot, around it and over the section.

A spot is looked at three times. Its patch gives tokens :math:`T`, one for each place
of a convolutional map; the square around it gives tokens :math:`N`, one for each of
5 × 5 patches; and all spots of the section, which attend to each other, give the token
:math:`g` of the spot. That token asks the other two what they hold:

.. math:: z = C(g, T) + C(g, N), \qquad \hat y = b + W\, \mathrm{LN}(z)

with one cross-attention :math:`C` for both. Each branch predicts for itself as well,
from the mean of its tokens, and is trained to agree with the measurement and with the
fused prediction:

.. math:: L = \|\hat y - y\|^2 + \sum_{b \in \{T, N, g\}} \bigl[(1 - \alpha)
          \|\hat y_b - y\|^2 + \alpha \|\hat y_b - \hat y\|^2\bigr]

In **BG-TRIPLEX** tokens of two maps, edges and nuclei, guide :math:`T` and :math:`N`
first; see `TriplexConfig.guided`.

Of the published code's faults none is here: evaluation is deterministic, nothing is
kept from one section to the next, all heads are trained, and the epoch is never chosen
on the test section.

Taught in the chapters "Attention across scales" and "Boundaries".
"""

__all__ = ["Triplex", "TriplexAttention", "TriplexConfig", "TriplexPrediction"]

from stlearnkit.models.triplex._config import TriplexConfig
from stlearnkit.models.triplex._model import Triplex
from stlearnkit.models.triplex._outputs import TriplexAttention, TriplexPrediction
