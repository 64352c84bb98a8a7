"""Golden values for attention over a grid of shapes and options, made with PyTorch in double precision.

usage: python attention_grid.py        writes attention_grid.npz beside this file (needs torch and numpy)

To keep the file small, inputs are made by a formula that the test knows too, and of each result there are a few elements, one sum of all
of them by weights of the formula, and the size of the largest. `how` has a row for each case (see HOW), `values` the results of all cases one after the
other: the output, and the gradients of queries, keys, values and, where there is one, bias.

Scores are computed by the definitions of the options, softmax and derivatives by PyTorch. Where PyTorch's own
scaled_dot_product_attention can be told the same (all but a soft cap), it is held to give the same output.
"""
import pathlib
import numpy as np
import torch
import torch.nn.functional as F

# Sizes, then what is asked for; 0 is none. Causal: 1 top left, 2 bottom right. Bias: 1 [heads, queries, keys], 2 [batch, 1, 1, keys],
# 3 [heads, 1, keys]. Mask: 1 [queries, keys], 2 [batch, 1, 1, keys]. Lengths: 1 a longer one for each sequence, 2 the first is empty.
HOW = ["batch", "queries", "keys", "heads", "key_heads", "size", "value_size", "causal", "window", "scale", "cap", "alibi",
       "bias", "mask", "key_lengths", "query_lengths"]
SIZES = [
    (2, 5, 7, 2, 2, 8, 8),
    (2, 37, 64, 4, 2, 16, 16),
    (2, 50, 50, 3, 1, 5, 9),
    (3, 20, 200, 2, 2, 12, 12),
    (2, 40, 25, 2, 2, 8, 8),  # more queries than keys
    (1, 70, 430, 4, 2, 16, 32),  # three blocks of keys
    (1, 3, 450, 4, 4, 16, 16),  # few queries
]
OPTIONS = [
    {},
    dict(scale=0.3),
    dict(causal=1),
    dict(causal=2),
    dict(window=9),
    dict(causal=1, window=6),
    dict(causal=2, window=21),
    dict(cap=1.5),
    dict(alibi=1),
    dict(causal=2, alibi=1),
    dict(bias=1),
    dict(bias=2),
    dict(bias=3),
    dict(mask=1),
    dict(mask=2),
    dict(key_lengths=1),
    dict(key_lengths=2),
    dict(query_lengths=1),
    dict(causal=2, key_lengths=1, query_lengths=1),
    dict(causal=2, window=90, scale=0.4, cap=2.5, alibi=1, bias=1, mask=2, key_lengths=1, query_lengths=1),
]
SAMPLES = 24


def formula(count, phase):
    """Numbers without a visible pattern, of a deviation of about 1, in single precision."""
    i = np.arange(count, dtype=np.float64)
    return (1.4 * np.sin(0.7 * i + 0.013 * (i * i) + phase)).astype(np.float32).astype(np.float64)


def made(shape, phase):
    return torch.from_numpy(formula(int(np.prod(shape)), phase).reshape(shape)).requires_grad_()


def sampled(x):
    """Some elements of an array, the sum of all, weighted, and the size of the largest."""
    x = x.detach().contiguous().numpy().reshape(-1)
    places = np.arange(min(SAMPLES, x.size), dtype=np.int64) * 104729 % x.size
    return np.append(x[places], [np.dot(x, formula(x.size, 5.6)), np.abs(x).max()])


def pattern(shape):
    i = np.arange(int(np.prod(shape)), dtype=np.int64)
    return torch.from_numpy(((3 * i * i + i) % 7 < 5).reshape(shape))


def lengths(kind, batch, time):
    """One for each sequence."""
    each = torch.tensor([time * (b + 1) // batch if kind else time for b in range(batch)])
    if kind == 2:
        each[0] = 0
    return each


def slopes(heads):
    """Those of the paper, for any number of heads."""
    below = 2 ** (heads.bit_length() - 1)
    of = lambda n: [2.0 ** (-8 * i / n) for i in range(1, n + 1)]
    return torch.tensor((of(below) + of(2 * below)[::2])[:heads], dtype=torch.double)


def case(batch, queries, keys, heads, key_heads, size, value_size, causal=0, window=0, scale=0.0, cap=0.0, alibi=0, bias=0, mask=0,
         key_lengths=0, query_lengths=0):
    q = made((batch, queries, heads, size), 0.1)
    k, v = made((batch, keys, key_heads, size), 1.2), made((batch, keys, key_heads, value_size), 2.3)
    shape = {1: (heads, queries, keys), 2: (batch, 1, 1, keys), 3: (heads, 1, keys)}
    added = made(shape[bias], 3.4) if bias else None
    heads_first = lambda x: x.transpose(1, 2)
    shared = lambda x: heads_first(x).repeat_interleave(heads // key_heads, 1)
    scale = scale or size**-0.5
    scores = scale * heads_first(q) @ shared(k).transpose(2, 3)
    if cap:
        scores = cap * torch.tanh(scores / cap)
    extra = torch.zeros((), dtype=torch.double)
    if added is not None:
        extra = extra + added
    real_keys, real_queries = lengths(key_lengths, batch, keys), lengths(query_lengths, batch, queries)
    shift = (real_keys - real_queries)[:, None] if causal == 2 else 0
    at = (torch.arange(queries)[None] + shift).expand(batch, queries)[:, None, :, None]
    key = torch.arange(keys)
    if alibi:
        extra = extra - slopes(heads)[:, None, None] * (key - at).abs()
    seen = (key < real_keys[:, None, None, None]) & (torch.arange(queries)[:, None] < real_queries[:, None, None, None])
    if causal:
        seen = seen & (key <= at)
    if window:
        seen = seen & ((key - at).abs() < window)
    if mask:
        seen = seen & pattern((queries, keys) if mask == 1 else (batch, 1, 1, keys))
    seen = seen.expand(batch, heads, queries, keys)
    # A row that sees nothing is given scores of its own, and taken out again.
    some = seen.any(-1, keepdim=True)
    weights = torch.softmax((scores + extra).masked_fill(~seen & some, float("-inf")), -1) * some
    y = heads_first(weights @ shared(v))
    if not cap:
        hidden = (extra + torch.zeros_like(scores)).masked_fill(~seen, float("-inf"))
        own = F.scaled_dot_product_attention(
            heads_first(q), heads_first(k), heads_first(v), attn_mask=hidden, scale=scale, enable_gqa=heads != key_heads)
        assert ((own - heads_first(y)) * some).nan_to_num(0.0).abs().max() < 1e-12
    g = torch.from_numpy(formula(y.numel(), 4.5).reshape(y.shape))
    y.backward(g)
    results = [y] + [x.grad for x in (q, k, v, added) if x is not None]
    return np.concatenate([sampled(x) for x in results])


if __name__ == "__main__":
    how, values = [], []
    for sizes in SIZES:
        for options in OPTIONS:
            row = dict(zip(HOW, sizes)) | options
            how.append([row.get(name, 0) for name in HOW])
            values.append(case(**row))
    np.savez_compressed(
        pathlib.Path(__file__).with_name("attention_grid.npz"),
        how=np.array(how, dtype=np.float64), values=np.concatenate(values).astype(np.float32))
