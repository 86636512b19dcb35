"""What attention is built into: residual blocks, and a bias that knows places."""

import torch
from jaxtyping import Bool, Float

from stlearnkit.models.attention._checks import check_share, check_sizes, check_width
from stlearnkit.models.attention._heads import MultiHeadAttention


class Block(torch.nn.Module):
    r"""Self-attention, then a small network on each token, both added to the token.

    .. math:: Y = X + \mathrm{attention}(\mathrm{LN}\, X), \qquad
              Z = Y + \mathrm{FFN}(\mathrm{LN}\, Y)

    Normalising before each step, not after it, leaves a path from output to input
    that nothing bends, so that deep stacks train without a warm-up.

    Parameters
    ----------
    width
        Numbers per token.
    n_heads
        Number of heads.
    expansion
        Width of the hidden layer of the FFN as a multiple of `width`.
    dropout
        Share of the numbers of both steps and of the hidden layer that is set to 0 at
        random in training.
    weight_dropout
        Share of attention weights set to 0 at random in training. Above 0 the weights
        of all pairs are held in memory while a CPU trains.

    Raises
    ------
    ValueError
        If `width` is not a multiple of `n_heads`, a size is below 1, or a share of
        dropout not in [0, 1).

    References
    ----------
    Vaswani et al., "Attention is all you need", NeurIPS 2017; normalised first as in
    Xiong et al., "On layer normalization in the transformer architecture", ICML 2020.

    Examples
    --------
    >>> Block(8, 2)(torch.ones(1, 5, 8)).shape
    torch.Size([1, 5, 8])
    """

    def __init__(
        self,
        width: int,
        n_heads: int,
        *,
        expansion: int = 4,
        dropout: float = 0.0,
        weight_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(
            width, n_heads, dropout=check_share("weight_dropout", weight_dropout)
        )
        self.norm = torch.nn.LayerNorm(width)
        self.dropout = torch.nn.Dropout(check_share("dropout", dropout))
        self.feed_forward = _feed_forward(width, expansion, dropout)

    def forward(
        self,
        tokens: Float[torch.Tensor, "... tokens features"],
        *,
        bias: Float[torch.Tensor, "..."] | None = None,
        mask: Bool[torch.Tensor, "..."] | None = None,
    ) -> Float[torch.Tensor, "... tokens features"]:
        """Let the tokens attend to each other; `bias` and `mask` as for attention.

        Raises
        ------
        ValueError
            As for `MultiHeadAttention`.
        """
        check_width("tokens", tokens, self.attention.to_queries.in_features)
        seen = self.attention(self.norm(tokens), bias=bias, mask=mask)
        tokens = tokens + self.dropout(seen)
        return tokens + self.feed_forward(tokens)


class CrossBlock(torch.nn.Module):
    r"""A block whose tokens attend to a context in place of each other.

    .. math:: Y = X + \mathrm{attention}(\mathrm{LN}\, X, \mathrm{LN}\, C), \qquad
              Z = Y + \mathrm{FFN}(\mathrm{LN}\, Y)

    Parameters
    ----------
    width
        Numbers per query.
    n_heads, expansion, dropout, weight_dropout
        As for `Block`.
    context_width
        Numbers per token of the context; None for `width`.

    Raises
    ------
    ValueError
        As for `Block`.

    Examples
    --------
    >>> block = CrossBlock(8, 2, context_width=6)
    >>> block(torch.ones(2, 1, 8), torch.ones(2, 9, 6)).shape
    torch.Size([2, 1, 8])
    """

    def __init__(
        self,
        width: int,
        n_heads: int,
        *,
        expansion: int = 4,
        dropout: float = 0.0,
        weight_dropout: float = 0.0,
        context_width: int | None = None,
    ) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(
            width,
            n_heads,
            dropout=check_share("weight_dropout", weight_dropout),
            context_width=context_width,
        )
        self.norm = torch.nn.LayerNorm(width)
        self.norm_context = torch.nn.LayerNorm(self.attention.to_keys.in_features)
        self.dropout = torch.nn.Dropout(check_share("dropout", dropout))
        self.feed_forward = _feed_forward(width, expansion, dropout)

    def forward(
        self,
        queries: Float[torch.Tensor, "... tokens features"],
        context: Float[torch.Tensor, "... _ _"],
        *,
        bias: Float[torch.Tensor, "..."] | None = None,
        mask: Bool[torch.Tensor, "..."] | None = None,
    ) -> Float[torch.Tensor, "... tokens features"]:
        """Let the queries attend to the context; all else as for attention.

        Raises
        ------
        ValueError
            As for `MultiHeadAttention`.
        """
        check_width("queries", queries, self.attention.to_queries.in_features)
        check_width("context", context, self.attention.to_keys.in_features)
        seen = self.attention(
            self.norm(queries), self.norm_context(context), bias=bias, mask=mask
        )
        queries = queries + self.dropout(seen)
        return queries + self.feed_forward(queries)


class RelativeBias(torch.nn.Module):
    r"""A learned bias for each distance between two tokens of a grid.

    The dot product does not know where tokens lie. On a grid of patches, the bias of
    head :math:`h` from place :math:`(r, c)` to place :math:`(r', c')` is

    .. math:: B^h_{|r - r'|, |c - c'|}

    so that what is learned for one pair holds for all pairs as far apart, in all four
    directions. It starts at 0: position does not count until training says so.

    Parameters
    ----------
    side_tokens
        Rows and columns of the grid; tokens are numbered row by row.
    n_heads
        Number of heads.

    Raises
    ------
    ValueError
        If a number is below 1.

    References
    ----------
    Graham et al., "LeViT: a vision transformer in ConvNet's clothing for faster
    inference", ICCV 2021.

    Examples
    --------
    Two rows of three have six distances, and 36 pairs:

    >>> bias = RelativeBias((2, 3), n_heads=4)
    >>> bias.by_offset.shape, bias().shape
    (torch.Size([4, 6]), torch.Size([4, 6, 6]))
    """

    offset: torch.Tensor

    def __init__(self, side_tokens: tuple[int, int], n_heads: int) -> None:
        super().__init__()
        rows, columns = side_tokens
        check_sizes(rows=rows, columns=columns, n_heads=n_heads)
        place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
        steps = (place[:, None] - place[None]).abs()
        offset = steps[..., 0] * columns + steps[..., 1]
        self.register_buffer("offset", offset, persistent=False)
        self.by_offset = torch.nn.Parameter(torch.zeros(n_heads, rows * columns))

    def forward(self) -> Float[torch.Tensor, "heads tokens tokens"]:
        """Return the bias of each head for each pair of tokens."""
        return self.by_offset[:, self.offset]


def _feed_forward(width: int, expansion: int, dropout: float) -> torch.nn.Sequential:
    """Return a network of one hidden layer, normalising first."""
    check_sizes(expansion=expansion)
    return torch.nn.Sequential(
        torch.nn.LayerNorm(width),
        torch.nn.Linear(width, expansion * width),
        torch.nn.GELU(),
        torch.nn.Dropout(dropout),
        torch.nn.Linear(expansion * width, width),
        torch.nn.Dropout(dropout),
    )
