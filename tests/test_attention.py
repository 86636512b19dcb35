"""Attention: by hand, against PyTorch's own, and the laws it obeys."""

import math

import pytest
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

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


def layer(**options):
    """Return attention with nothing at 0, so that every part counts."""
    torch.manual_seed(0)
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
    )
    layers = (ours.to_queries, ours.to_keys, ours.to_values)
    weights = [each.weight for each in layers]
    names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    if width == context_width:
        names, weights = ("in_proj_weight",), [torch.cat(weights)]
    biases = torch.cat([each.bias for each in layers])
    theirs.out_proj = ours.to_output
    for name, tensor in zip((*names, "in_proj_bias"), (*weights, biases), strict=True):
        delattr(theirs, name)  # what is no leaf cannot stand where a parameter is
        setattr(theirs, name, tensor)
    return theirs


def gradients(output, inputs):
    """Return what a loss without symmetry sends back to each input."""
    weight = torch.linspace(-1, 1, output.numel(), dtype=output.dtype)
    return torch.autograd.grad((output.flatten() * weight).sum(), inputs)


def assert_same(found, expected, inputs, atol):
    """Compare values, and gradients relative to the largest."""
    assert torch.allclose(found, expected, rtol=0, atol=atol)
    pairs = list(
        zip(gradients(found, inputs), gradients(expected, inputs), strict=True)
    )
    size = max(other.abs().max().item() for _, other in pairs)
    assert size > 1e-3
    assert all(
        torch.allclose(*pair, rtol=0, atol=atol * max(size, 1)) for pair in pairs
    )


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
    hidden = (
        None if mask is None else ~mask.repeat_interleave(3, 0).repeat(1, N_KEYS, 1)
    )
    expected, weights = oracle(ours)(
        x, x, x, attn_mask=hidden, average_attn_weights=False
    )
    found = ours(x, mask=mask, return_weights=return_weights)
    if return_weights:
        found, our_weights = found
        assert torch.allclose(our_weights, weights, rtol=0, atol=1e-12)
    assert_same(found, expected, [x, *ours.parameters()], atol=1e-12)


@pytest.mark.parametrize("return_weights", [False, True])
@pytest.mark.parametrize("context_width", [WIDTH, 8])
def test_equals_torch_in_cross_attention(context_width, return_weights):
    ours = layer(context_width=context_width)
    x, context = tokens(2, N_QUERIES, WIDTH), tokens(2, N_KEYS, context_width, seed=1)
    bias, mask = tokens(3, N_QUERIES, N_KEYS), seen(2, N_QUERIES, N_KEYS)
    added = bias.masked_fill(~mask[:, None], -math.inf).flatten(0, 1)
    expected, _ = oracle(ours)(x, context, context, attn_mask=added)
    found = ours(x, context, bias=bias, mask=mask, return_weights=return_weights)
    found = found[0] if return_weights else found
    assert_same(found, expected, [x, context, bias, *ours.parameters()], atol=1e-12)


def test_equals_torch_in_single_precision():
    ours = MultiHeadAttention(WIDTH, 3)
    x = tokens(2, N_KEYS, WIDTH, dtype=torch.float32)
    for found in (ours(x), ours(x, return_weights=True)[0]):
        expected, _ = oracle(ours)(x, x, x)
        assert_same(found, expected, [x, *ours.parameters()], atol=1e-6)


EXTRAS = [None, (1, 1), (N_QUERIES, 1), (1, N_KEYS), (N_QUERIES, N_KEYS)]


@pytest.mark.parametrize("leading", [(), (2,), (2, 4)])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("mask_shape", EXTRAS)
@pytest.mark.parametrize("bias_shape", EXTRAS)
def test_asking_for_weights_changes_nothing(leading, whole, mask_shape, bias_shape):
    ours = layer()
    x, context = tokens(*leading, N_QUERIES, WIDTH), tokens(*leading, N_KEYS, WIDTH)
    before = leading if whole else ()
    bias = None if bias_shape is None else tokens(*before, 3, *bias_shape)
    mask = None if mask_shape is None else seen(*before, *mask_shape)
    fused = ours(x, context, bias=bias, mask=mask)
    readable, weights = ours(x, context, bias=bias, mask=mask, return_weights=True)
    assert weights.shape == (*leading, 3, N_QUERIES, N_KEYS)
    inputs = [x, context, *ours.parameters(), *([] if bias is None else [bias])]
    assert_same(fused, readable, inputs, atol=1e-12)


@pytest.mark.parametrize("leading", [(), (2,), (2, 4)])
@pytest.mark.parametrize("with_mask", [False, True])
def test_memory_is_saved_for_any_leading_axes(leading, with_mask):
    # With no other kernel allowed, PyTorch refuses what would take memory N².
    ours, x = layer(), tokens(*leading, N_KEYS, WIDTH)
    mask = seen(*leading, 1, N_KEYS) if with_mask else None
    expected, _ = ours(x, mask=mask, return_weights=True)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        assert_same(ours(x, mask=mask), expected, [x], atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_order_of_keys_does_not_count_and_that_of_queries_is_kept(seed):
    ours = layer()
    x, context = (
        tokens(N_QUERIES, WIDTH, seed=seed),
        tokens(N_KEYS, WIDTH, seed=seed + 9),
    )
    mask = seen(N_QUERIES, N_KEYS, seed=seed)
    torch.manual_seed(seed)
    rows, columns = torch.randperm(N_QUERIES), torch.randperm(N_KEYS)
    moved = ours(x[rows], context[columns], mask=mask[rows][:, columns])
    assert torch.allclose(moved, ours(x, context, mask=mask)[rows])


@pytest.mark.parametrize("return_weights", [False, True])
def test_a_hidden_key_is_as_one_that_is_not_there(return_weights):
    ours, x = layer(), tokens(2, N_QUERIES, WIDTH)
    context = tokens(2, N_KEYS, WIDTH, seed=1)
    mask = torch.arange(N_KEYS)[None] != 3
    hidden = ours(x, context, mask=mask, return_weights=return_weights)
    without = ours(x, context[:, mask[0]])
    assert torch.allclose(hidden[0] if return_weights else hidden, without)


@pytest.mark.parametrize("return_weights", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_a_query_that_sees_nothing_gets_nothing(return_weights, with_bias):
    ours, x = layer(), tokens(2, N_QUERIES, WIDTH)
    context = tokens(2, N_KEYS, WIDTH, seed=1)
    bias = tokens(3, N_QUERIES, N_KEYS) if with_bias else None
    mask = seen(2, N_QUERIES, N_KEYS)
    mask[0, 2] = False
    found = ours(x, context, bias=bias, mask=mask, return_weights=return_weights)
    if return_weights:
        found, weights = found
        assert not weights[0, :, 2].any()
    assert found[0, 2].equal(ours.to_output.bias)
    of_x, of_context = gradients(found, [x, context])
    assert of_x.isfinite().all()
    assert of_context.isfinite().all()
    blind = torch.zeros(2, N_QUERIES, dtype=torch.bool)
    blind[0, 2] = True
    assert (of_x == 0).all(-1).equal(blind)


@pytest.mark.parametrize("return_weights", [False, True])
@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize(("n_queries", "n_keys"), [(3, 0), (0, 4), (0, 0)])
def test_no_tokens_give_nothing(n_queries, n_keys, with_mask, return_weights):
    ours = layer()
    mask = torch.ones(2, n_queries, n_keys, dtype=torch.bool) if with_mask else None
    found = ours(
        tokens(2, n_queries, WIDTH),
        tokens(2, n_keys, WIDTH),
        mask=mask,
        return_weights=return_weights,
    )
    found = found[0] if return_weights else found
    assert found.equal(ours.to_output.bias.expand(2, n_queries, WIDTH))


@pytest.mark.parametrize("with_mask", [False, True])
def test_gradient_is_that_of_finite_differences(with_mask):
    mask = seen(3, 4) if with_mask else None
    if with_mask:
        mask[1] = False
    inputs = (tokens(3, 2), tokens(4, 2, seed=1), tokens(4, 3, seed=2), tokens(3, 4))
    assert torch.autograd.gradcheck(
        lambda q, k, v, b: scaled_dot_product(q, k, v, bias=b, mask=mask), inputs
    )


@pytest.mark.parametrize("return_weights", [False, True])
def test_dropout_stops_at_inference_whatever_was_called_before(return_weights):
    # In released code the switch was lost on the way, and predictions were random.
    model = torch.nn.ModuleDict({"block": Block(WIDTH, 3, weight_dropout=0.5)}).double()
    attention, x = model["block"].attention, tokens(2, N_KEYS, WIDTH)

    def attend():
        found = attention(x, return_weights=return_weights)
        return found[0] if return_weights else found

    model.eval()
    expected = attend()
    model.train()
    assert not torch.allclose(attend(), attend())
    for prepare in (
        lambda: model.eval(),
        lambda: model.train().eval(),
        lambda: model.eval().train().eval(),
        lambda: (model.train(), attend(), model.eval(), attend()),
        lambda: model.eval().requires_grad_(False),
    ):
        prepare()
        assert torch.allclose(attend(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("return_weights", [False, True])
def test_dropout_is_right_on_average(return_weights):
    attention, x = layer(dropout=0.3), tokens(N_KEYS, WIDTH).detach()
    torch.manual_seed(1)
    many = x.expand(4000, -1, -1)
    found = attention.train()(many, return_weights=return_weights)
    found = found[0] if return_weights else found
    error = (found.mean(0) - attention.eval()(x)) / (found.std(0) / 4000**0.5)
    assert found.std(0).min() > 0
    assert error.abs().max() < 5


def test_weights_are_those_before_dropout():
    attention, x = layer(dropout=0.5), tokens(N_KEYS, WIDTH)
    _, weights = attention.train()(x, return_weights=True)
    assert weights.equal(attention.eval()(x, return_weights=True)[1])


def test_half_precision_takes_a_bias_in_full():
    block = Block(WIDTH, 3)
    x = tokens(2, 4, WIDTH, dtype=torch.float32)
    bias = tokens(3, 4, 4, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        half = block(x, bias=bias)
        readable, _ = block.attention(x, bias=bias, return_weights=True)
        assert torch.allclose(readable, block.attention(x, bias=bias), atol=0.05)
    assert torch.allclose(half.float(), block(x, bias=bias), atol=0.1)


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


def test_relative_bias_depends_on_the_offset_alone():
    rows, columns = 3, 4
    bias = RelativeBias((rows, columns), n_heads=2)
    torch.nn.init.normal_(bias.by_offset)
    places = [(row, column) for row in range(rows) for column in range(columns)]
    for i, (row, column) in enumerate(places):
        for j, (other_row, other_column) in enumerate(places):
            offset = abs(row - other_row) * columns + abs(column - other_column)
            assert bias()[:, i, j].equal(bias.by_offset[:, offset])


def test_relative_bias_learns_through_both_ways_of_attention():
    attention, bias = layer(), RelativeBias((2, 3), n_heads=3).double()
    x = tokens(2, 6, WIDTH)
    fused = attention(x, bias=bias())
    readable, _ = attention(x, bias=bias(), return_weights=True)
    assert_same(fused, readable, [bias.by_offset], atol=1e-12)


def test_block_whose_steps_end_in_zero_changes_nothing():
    block, x = Block(WIDTH, 3), tokens(2, N_KEYS, WIDTH, dtype=torch.float32)
    for last in (block.attention.to_output, block.feed_forward[4]):
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
    assert block(x).equal(x)


@pytest.mark.parametrize("option", ["dropout", "weight_dropout"])
def test_blocks_drop_in_training_only(option):
    x, context = tokens(2, 4, WIDTH), tokens(2, N_KEYS, WIDTH)
    for block, inputs in (
        (Block(WIDTH, 3, **{option: 0.5}).double(), (x,)),
        (CrossBlock(WIDTH, 3, **{option: 0.5}).double(), (x, context)),
    ):
        assert not torch.allclose(block(*inputs), block(*inputs))
        block.eval()
        assert block(*inputs).equal(block(*inputs))


def test_blocks_hand_on_bias_and_mask():
    block, cross = Block(WIDTH, 3).double(), CrossBlock(WIDTH, 3).double()
    x, context = tokens(2, 4, WIDTH), tokens(2, N_KEYS, WIDTH, seed=1)
    shown, kept = seen(1, 4), seen(1, N_KEYS)
    assert torch.allclose(block(x, mask=shown)[:, shown[0]], block(x[:, shown[0]]))
    assert torch.allclose(cross(x, context, mask=kept), cross(x, context[:, kept[0]]))
    lone = torch.full((1, 1, N_KEYS), -1e4).double()
    lone[..., 2] = 0.0
    assert torch.allclose(cross(x, context, bias=lone), cross(x, context[:, [2]]))
    lone = torch.full((1, 1, 4), -1e4).double()
    lone[..., 2] = 0.0
    assert torch.allclose(block(x, bias=lone)[:, 2], block(x[:, [2]])[:, 0])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: MultiHeadAttention(12, 5),
            "width is 12 and n_heads 5, expected a mul",
        ),
        (lambda: MultiHeadAttention(12, 0), "n_heads is 0, expected 1 or more"),
        (lambda: MultiHeadAttention(0, 1), "width is 0, expected 1 or more"),
        (lambda: MultiHeadAttention(4, 1, context_width=0), "context_width is 0, expe"),
        (
            lambda: MultiHeadAttention(4, 1, dropout=1.0),
            r"^dropout is 1\.0, expected 0 t",
        ),
        (
            lambda: Block(4, 1, dropout=-0.1),
            r"^dropout is -0\.1, expected 0 to below 1",
        ),
        (
            lambda: Block(4, 1, weight_dropout=2.0),
            r"weight_dropout is 2\.0, expected 0",
        ),
        (lambda: CrossBlock(4, 1, expansion=0), "expansion is 0, expected 1 or more"),
        (lambda: RelativeBias((0, 3), 1), "rows is 0, expected 1 or more"),
        (lambda: RelativeBias((3, 3), 0), "n_heads is 0, expected 1 or more"),
    ],
)
def test_sizes_that_cannot_be_meant(build, message):
    with pytest.raises(ValueError, match=message):
        build()


X, CONTEXT = torch.ones(2, 5, 12), torch.ones(2, 7, 8)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("queries", "context", "options", "message"),
    [
        (
            X[..., :3],
            CONTEXT,
            {},
            r"queries has shape \(2, 5, 3\), .*\(..., tokens, 12\)",
        ),
        (X[0, 0], CONTEXT, {}, r"queries has shape \(12,\), expected"),
        (X, X, {}, r"context has shape \(2, 5, 12\), expected \(..., tokens, 8\)"),
        (X, CONTEXT[:1], {}, r"context has leading axes \(1,\), .* of queries, \(2,\)"),
        (
            X,
            CONTEXT,
            {"mask": torch.ones(2, 7, dtype=torch.bool)},
            r"mask has shape \(2, 7\), expected one that broadcasts to \(2, 5, 7\)",
        ),
        (
            X,
            CONTEXT,
            {"mask": torch.ones(2, 1, 1, 7, dtype=torch.bool)},
            r"mask has shape \(2, 1, 1, 7\), expected one that broadcasts",
        ),
        (
            X,
            CONTEXT,
            {"mask": torch.ones(5, 7)},
            r"mask has dtype torch\.float32, expe",
        ),
        (
            X,
            CONTEXT,
            {"bias": torch.ones(2, 5, 7)},
            r"bias has shape \(2, 5, 7\), expected .* to \(2, 3, 5, 7\), of which the",
        ),
    ],
)
@pytest.mark.parametrize("kind", [MultiHeadAttention, CrossBlock])
def test_tokens_that_do_not_fit(kind, queries, context, options, message):
    with pytest.raises(ValueError, match=message):
        kind(12, 3, context_width=8)(queries, context, **options)


@pytest.mark.usefixtures("unchecked")
def test_context_is_asked_for_where_the_queries_cannot_be_it():
    with pytest.raises(ValueError, match=r"context has shape \(2, 5, 12\), expected"):
        MultiHeadAttention(12, 3, context_width=8)(X)


@pytest.mark.usefixtures("unchecked")
def test_tokens_of_a_block_that_do_not_fit():
    with pytest.raises(ValueError, match=r"tokens has shape \(2, 7, 8\), expected"):
        Block(12, 3)(CONTEXT)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("keys", "values", "options", "message"),
    [
        (
            torch.ones(7, 3),
            X[0],
            {},
            "keys have 3 features, expected the 12 of queries",
        ),
        (
            X[0],
            torch.ones(4, 2),
            {},
            "there are 4 values, expected one for each of the 5",
        ),
        (X[0], X[0], {"bias": torch.ones(4, 5)}, r"bias has shape \(4, 5\), expected"),
        (X[0], X[0], {"mask": torch.ones(5, 5)}, r"mask has dtype torch\.float32"),
    ],
)
def test_rows_that_do_not_fit(keys, values, options, message):
    with pytest.raises(ValueError, match=message):
        scaled_dot_product(X[0], keys, values, **options)
