r"""Attention that one can read, and that equals PyTorch's own.

A token is a row of numbers: a spot, a patch, a corner of a patch. Attention lets each
token, as a *query* :math:`q`, take a weighted mean over other tokens, each with a *key*
:math:`k_j` that says how well it answers and a *value* :math:`v_j` that it gives:

.. math:: \sum_j w_j v_j \quad\text{with}\quad
          w = \mathrm{softmax}\Bigl(\frac{q \cdot k_j}{\sqrt d} + b_j\Bigr)

`scaled_dot_product` is this line. `MultiHeadAttention` learns what queries, keys and
values are; `Block` and `CrossBlock` add what makes attention trainable in depth. The
models that look at several scales are made of these.

**Masks.** True where a key may be seen. A query that may see no key at all gets 0, with
weights 0, and passes no gradient; the bare softmax would be 0/0.

**Long sections.** With N tokens the weights are N × N numbers. The fused kernel never
holds them all (Dao et al., "FlashAttention", NeurIPS 2022), so that its memory grows
with N. On a CPU it steps aside for a learned `bias` and for dropout of weights in
training, and memory grows with N² again.

Taught in the chapter "Attention across scales".
"""

__all__ = [
    "Block",
    "CrossBlock",
    "MultiHeadAttention",
    "RelativeBias",
    "scaled_dot_product",
]

from stlearnkit.models.attention._blocks import Block, CrossBlock, RelativeBias
from stlearnkit.models.attention._heads import MultiHeadAttention, scaled_dot_product
