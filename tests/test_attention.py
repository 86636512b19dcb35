"""Attention: by hand, against PyTorch's own, and the laws it obeys."""

import math

import pytest
import torch
from torch.nn import functional

from stlearnkit.models.attention import (
    Block,
    CrossBlock,
    MultiHeadAttention,
    RelativeBias,
    scaled_dot_product,
)

N_QUERIES, N_KEYS, WIDTH = 5, 7, 12


def tokens(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()


def layer(*, seed=0, **options):
    """Return attention with nothing at 0, so that every part counts."""
    torch.manual_seed(seed)
    attention = MultiHeadAttention(WIDTH, 3, **options).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return attention


def seen(*shape, seed=0):
    """Return a mask that hides a third of the keys, never the first."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(*shape, generator=generator) > 1 / 3
    mask[..., 0] = True
    return mask


def oracle(ours):
    """Return PyTorch's own layer, with the weights of ours."""
    width, context_width = ours.to_queries.in_features, ours.to_keys.in_features
    theirs = torch.nn.MultiheadAttention(
        width, ours.n_heads, batch_first=True, kdim=context_width, vdim=context_width
    ).double()
    layers = (ours.to_queries, ours.to_keys, ours.to_values)
    weights = [each.weight for each in layers]
    biases = torch.cat([each.bias for each in layers])
    names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    state = {"in_proj_bias": biases, "out_proj.weight": ours.to_output.weight}
    state["out_proj.bias"] = ours.to_output.bias
    if width == context_width:
        state["in_proj_weight"] = torch.cat(weights)
    else:
        state.update(zip(names, weights, strict=True))
    return lambda *args, **kw: torch.func.functional_call(theirs, state, args, kw)


def gradients(output, inputs):
    """Return what a loss without symmetry sends back to each input."""
    weight = torch.linspace(-1, 1, output.numel(), dtype=output.dtype)
    return torch.autograd.grad((output.flatten() * weight).sum(), inputs)


def assert_same(found, expected, inputs, atol):
    """Compare values and gradients."""
    assert torch.allclose(found, expected, rtol=0, atol=atol)
    pairs = zip(gradients(found, inputs), gradients(expected, inputs), strict=True)
    for one, other in pairs:
        assert other.any()
        assert torch.allclose(one, other, rtol=0, atol=atol)


def test_three_tokens_by_hand():
    # Scores ln 2 · (0, 1, 2) after division by √4: weights 1/7, 2/7, 4/7.
    queries = torch.tensor([[2 * math.log(2), 0.0, 0.0, 0.0]])
    keys = torch.zeros(3, 4)
    keys[:, 0] = torch.tensor([0.0, 1.0, 2.0])
    values = torch.tensor([[7.0, 0.0], [0.0, 7.0], [7.0, 7.0]])
    mean, weights = scaled_dot_product(queries, keys, values)
    assert torch.allclose(weights, torch.tensor([[1 / 7, 2 / 7, 4 / 7]]))
    assert torch.allclose(mean, torch.tensor([[5.0, 6.0]]))


def test_bias_multiplies_weights_by_its_exponential():
    same = torch.zeros(1, 4)
    keys, values = torch.zeros(3, 4), torch.eye(3)
    bias = torch.tensor([[0.0, math.log(2), math.log(5)]])
    mean, _ = scaled_dot_product(same, keys, values, bias=bias)
    assert torch.allclose(mean, torch.tensor([[1 / 8, 2 / 8, 5 / 8]]))


def test_mask_by_hand():
    keys, values = torch.zeros(3, 4), torch.eye(3)
    mask = torch.tensor([[True, False, True], [False, True, False]])
    mean, _ = scaled_dot_product(torch.zeros(2, 4), keys, values, mask=mask)
    assert mean.tolist() == [[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]


def test_weights_of_each_query_sum_to_one():
    queries, keys = tokens(2, 3, N_QUERIES, 4), tokens(2, 3, N_KEYS, 4, seed=1)
    mask = seen(2, 1, N_QUERIES, N_KEYS)
    _, weights = scaled_dot_product(queries, keys, keys, mask=mask)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 3, N_QUERIES).double())
    assert not weights.masked_select(~mask).any()


def test_equal_scores_give_the_plain_mean():
    values = tokens(N_KEYS, 3)
    keys = torch.zeros(N_KEYS, 4).double()
    mean, _ = scaled_dot_product(torch.zeros(1, 4).double(), keys, values)
    assert torch.allclose(mean[0], values.mean(0))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("with_mask", [False, True])
def test_readable_equation_equals_the_fused_kernel(seed, with_bias, with_mask):
    parts = [tokens(2, 3, n, 4, seed=10 * seed + n) for n in (N_QUERIES, N_KEYS)]
    parts.append(tokens(2, 3, N_KEYS, 4, seed=seed + 100))
    bias = tokens(3, N_QUERIES, N_KEYS, seed=seed) if with_bias else None
    mask = seen(2, 1, N_QUERIES, N_KEYS, seed=seed) if with_mask else None
    extra = mask
    if with_bias:
        extra = bias if mask is None else bias.masked_fill(~mask, -math.inf)
    expected = functional.scaled_dot_product_attention(*parts, attn_mask=extra)
    found, _ = scaled_dot_product(*parts, bias=bias, mask=mask)
    assert_same(found, expected, parts + [bias] * with_bias, atol=1e-12)


@pytest.mark.parametrize("return_weights", [False, True])
@pytest.mark.parametrize("with_mask", [False, True])
def test_equals_torch_in_self_attention(with_mask, return_weights):
    ours, x = layer(), tokens(2, N_KEYS, WIDTH)
    mask = seen(2, 1, N_KEYS) if with_mask else None
    hidden = None if mask is None else ~mask[:, 0]
    expected, _ = oracle(ours)(x, x, x, key_padding_mask=hidden)
    found = ours(x, mask=mask, return_weights=return_weights)
    inputs = [x, *ours.parameters()]
    found = found[0] if return_weights else found
    assert_same(found, expected, inputs, atol=1e-12)


def test_block_is_two_steps_added():
    block = Block(WIDTH, 3).double()
    x = tokens(2, N_KEYS, WIDTH)
    y = x + block.attention(block.norm(x))
    norm, hidden, _, _, out, _ = block.feed_forward
    z = y + out(functional.gelu(hidden(norm(y))))
    assert torch.allclose(block(x), z)


def test_cross_block_is_two_steps_added():
    block = CrossBlock(WIDTH, 3, context_width=8).double()
    x, context = tokens(2, N_QUERIES, WIDTH), tokens(2, N_KEYS, 8, seed=1)
    y = x + block.attention(block.norm(x), block.norm_context(context))
    assert torch.allclose(block(x, context), y + block.feed_forward(y))


def test_relative_bias_by_hand():
    bias = RelativeBias((2, 2), n_heads=1)
    assert not bias().any()
    with torch.no_grad():
        bias.by_offset.copy_(torch.tensor([[0.0, 1.0, 2.0, 3.0]]))
    # Same place 0, next column 1, next row 2, both 3; tokens go row by row.
    assert bias().tolist() == [[[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]]]
