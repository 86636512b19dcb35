"""Queries, keys and values; heads side by side."""

import math

import torch
from jaxtyping import Bool, Float
from torch.nn import functional

from stlearnkit.models.attention._checks import (
    check_extra,
    check_leading,
    check_mask,
    check_rows,
    check_share,
    check_sizes,
    check_width,
)


def scaled_dot_product(
    queries: Float[torch.Tensor, "... _ features"],
    keys: Float[torch.Tensor, "... tokens features"],
    values: Float[torch.Tensor, "... tokens _"],
    *,
    bias: Float[torch.Tensor, "..."] | None = None,
    mask: Bool[torch.Tensor, "..."] | None = None,
) -> tuple[Float[torch.Tensor, "... _ _"], Float[torch.Tensor, "... _ tokens"]]:
    r"""Return, for each query, the mean of the values weighted by how keys match it.

    .. math:: \mathrm{softmax}\Bigl(\frac{Q K^\top}{\sqrt d} + B\Bigr) V

    The dot product of vectors of length :math:`d` with independent entries of variance
    1 has variance :math:`d`; the root keeps the softmax from choosing one key outright.

    Parameters
    ----------
    queries, keys, values
        One row each per token; leading axes (batch, heads) are worked on alike.
    bias
        Added to the scores, finite; broadcasts to leading axes × queries × keys.
    mask
        True where a query may see a key; broadcasts likewise.

    Returns
    -------
    The weighted means, and the weights: rows of queries that sum to 1, or to 0 for a
    query that may see no key.

    Raises
    ------
    ValueError
        If keys do not fit queries or values, `bias` or `mask` does not broadcast, or
        `mask` is not boolean.

    References
    ----------
    Vaswani et al., "Attention is all you need", NeurIPS 2017, equation 1.

    Examples
    --------
    A query between two keys takes the mean of their values:

    >>> keys, values = torch.eye(2), torch.tensor([[0.0], [4.0]])
    >>> scaled_dot_product(torch.ones(1, 2), keys, values)
    (tensor([[2.]]), tensor([[0.5000, 0.5000]]))
    """
    check_rows(queries, keys, values)
    scores = queries @ keys.mT / queries.shape[-1] ** 0.5
    check_mask(mask, scores.shape)
    check_extra("bias", bias, scores.shape)
    if bias is not None:
        scores = scores + bias.to(scores.dtype)
    if mask is None:
        weights = scores.softmax(-1)
    else:
        # Not -inf: a row of it alone has the softmax 0/0.
        lowest = torch.finfo(scores.dtype).min
        weights = scores.masked_fill(~mask, lowest).softmax(-1) * mask
    return weights @ values, weights


class MultiHeadAttention(torch.nn.Module):
    r"""Several attentions side by side, each on its own projection of the tokens.

    With :math:`X` the tokens that ask and :math:`C` those that answer, head
    :math:`h` is

    .. math:: A_h = \mathrm{attention}(X W^Q_h, C W^K_h, C W^V_h)

    and the heads, joined, are projected once more. Where :math:`C = X` this is called
    self-attention, else cross-attention.

    The fused kernel of PyTorch does the work. If weights are asked for,
    `scaled_dot_product` does, with the same result. Dropout of weights acts in training
    only: in evaluation the same tokens always give the same result.

    Parameters
    ----------
    width
        Numbers per token.
    n_heads
        Number of heads; each works on width / n_heads numbers.
    dropout
        Share of weights set to 0 at random in training.
    context_width
        Numbers per token that answers; None for `width`.

    Raises
    ------
    ValueError
        If `width` is not a multiple of `n_heads`, a size is below 1, or `dropout` not
        in [0, 1).

    References
    ----------
    Vaswani et al., "Attention is all you need", NeurIPS 2017, section 3.2.2.

    Examples
    --------
    One query each for two spots, and nine tokens around each of them:

    >>> attention = MultiHeadAttention(8, 2)
    >>> attention(torch.ones(2, 1, 8), torch.ones(2, 9, 8)).shape
    torch.Size([2, 1, 8])
    """

    def __init__(
        self,
        width: int,
        n_heads: int,
        *,
        dropout: float = 0.0,
        context_width: int | None = None,
    ) -> None:
        super().__init__()
        context_width = width if context_width is None else context_width
        check_sizes(width=width, n_heads=n_heads, context_width=context_width)
        if width % n_heads:
            raise ValueError(
                f"width is {width} and n_heads {n_heads}, expected a multiple: each "
                "head works on width / n_heads numbers."
            )
        self.n_heads, self.dropout = n_heads, check_share("dropout", dropout)
        self.to_queries = torch.nn.Linear(width, width)
        self.to_keys = torch.nn.Linear(context_width, width)
        self.to_values = torch.nn.Linear(context_width, width)
        self.to_output = torch.nn.Linear(width, width)
        for layer in (self.to_queries, self.to_keys, self.to_values, self.to_output):
            torch.nn.init.xavier_uniform_(layer.weight)
            torch.nn.init.zeros_(layer.bias)

    def forward(
        self,
        queries: Float[torch.Tensor, "... tokens features"],
        context: Float[torch.Tensor, "... _ _"] | None = None,
        *,
        bias: Float[torch.Tensor, "..."] | None = None,
        mask: Bool[torch.Tensor, "..."] | None = None,
        return_weights: bool = False,
    ) -> (
        Float[torch.Tensor, "... tokens features"]
        | tuple[
            Float[torch.Tensor, "... tokens features"],
            Float[torch.Tensor, "... heads tokens _"],
        ]
    ):
        """Let the queries attend to the context, or to each other.

        Parameters
        ----------
        queries
            Tokens that ask, for any number of leading axes.
        context
            Tokens that answer, with the same leading axes; None for the queries.
        bias
            Added to the scores; broadcasts to leading axes × heads × queries × keys.
        mask
            True where a query may see a key; broadcasts to leading axes × queries ×
            keys. One value for each key is `keys_seen[:, None, :]`.
        return_weights
            Return the weights of each head as well, those before dropout.

        Raises
        ------
        ValueError
            If `queries` or `context` has other widths than the layer, their leading
            axes differ, `bias` or `mask` does not broadcast, or `mask` is not boolean.
        """
        context = queries if context is None else context
        check_width("queries", queries, self.to_queries.in_features)
        check_width("context", context, self.to_keys.in_features)
        check_leading(queries, context)
        heads = [
            layer(tokens).unflatten(-1, (self.n_heads, -1)).transpose(-3, -2)
            for layer, tokens in (
                (self.to_queries, queries),
                (self.to_keys, context),
                (self.to_values, context),
            )
        ]
        pairs = (queries.shape[-2], context.shape[-2])
        check_mask(mask, (*queries.shape[:-2], *pairs))
        check_extra("bias", bias, (*queries.shape[:-2], self.n_heads, *pairs))
        if mask is not None:
            mask = torch.atleast_2d(mask).unsqueeze(-3)
        dropout = self.dropout if self.training else 0.0
        if not return_weights:
            return self._joined(_fused(*heads, bias=bias, mask=mask, dropout=dropout))
        mean, weights = scaled_dot_product(*heads, bias=bias, mask=mask)
        if dropout:
            mean = functional.dropout(weights, dropout) @ heads[2]
        return self._joined(mean), weights

    def _joined(
        self, mean: Float[torch.Tensor, "... heads tokens _"]
    ) -> Float[torch.Tensor, "... tokens features"]:
        """Put the heads side by side and project them."""
        return self.to_output(mean.transpose(-3, -2).flatten(-2))


def _fused(
    queries: Float[torch.Tensor, "... heads _ features"],
    keys: Float[torch.Tensor, "... heads tokens features"],
    values: Float[torch.Tensor, "... heads tokens features"],
    *,
    bias: Float[torch.Tensor, "..."] | None,
    mask: Bool[torch.Tensor, "..."] | None,
    dropout: float,
) -> Float[torch.Tensor, "... heads _ features"]:
    """Do as `scaled_dot_product`, without the weights."""
    leading = queries.shape[:-3]
    extra, sees_any = mask, None
    if mask is not None:
        sees_any = mask.any(-1, keepdim=True)
        extra = mask | ~sees_any  # kernels differ on a row without keys
    if bias is not None:
        bias = bias.to(queries.dtype)
        extra = bias if extra is None else bias.masked_fill(~extra, float("-inf"))
    # The kernel that saves memory wants four axes, of tokens and of what is added.
    n_sets = math.prod(leading)
    q, k, v = (
        part.reshape(n_sets, *part.shape[-3:]) for part in (queries, keys, values)
    )
    if extra is not None:
        extra = extra.reshape((1,) * (4 - extra.ndim) + extra.shape)
        if len(leading) > 1:
            extra = extra.expand(*leading, *extra.shape[-3:]).flatten(0, -4)
    mean = functional.scaled_dot_product_attention(
        q, k, v, attn_mask=extra, dropout_p=dropout
    ).reshape(queries.shape)
    return mean if sees_any is None else mean * sees_any
