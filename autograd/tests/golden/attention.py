"""Golden values for attention, made with PyTorch's scaled_dot_product_attention in double precision.

usage: python attention.py        writes attention.npz beside this file (needs torch and numpy)

Each case is a set of arrays `CASE/NAME`: queries `q`, keys `k` and values `v` as Cairn takes them, [batch, time, heads, size], where
there is one a `bias` [batch, heads, queries, keys] and a `mask` that is true where a query may attend, the output `y`, the gradient `g`
given to it, and the gradients `dq`, `dk`, `dv`, `dbias`. `CASE/how` is 1 for a causal mask.
"""
import pathlib
import numpy as np
import torch
import torch.nn.functional as F

torch.manual_seed(0)
out = {}


def randn(*shape):
    """Normal numbers that single precision holds exactly; what is computed from them is in double precision."""
    return torch.randn(*shape, dtype=torch.float32).double().requires_grad_()


def turned(t):  # [batch, heads, time, size] <-> [batch, time, heads, size]
    return t.detach().transpose(1, 2).contiguous().numpy().astype(np.float32)


def plain(t):
    return t.detach().numpy().astype(np.float32)


def case(name, queries, keys, heads, key_heads, size, value_size, causal=False, bias=None, mask=None):
    q, k = randn(2, heads, queries, size), randn(2, key_heads, keys, size)
    v, g = randn(2, key_heads, keys, value_size), randn(2, heads, queries, value_size).detach()
    added = bias
    if mask is not None:
        hidden = torch.zeros(mask.shape, dtype=torch.double).masked_fill(~mask, float("-inf"))
        added = hidden if bias is None else bias + hidden
    y = F.scaled_dot_product_attention(
        q, k, v, attn_mask=added, is_causal=causal, enable_gqa=heads != key_heads)
    y.backward(g)
    name = f"attention/{name}"
    out[f"{name}/how"] = np.array([int(causal)], dtype=np.int64)
    for key, value in dict(q=q, k=k, v=v, y=y, g=g, dq=q.grad, dk=k.grad, dv=v.grad).items():
        out[f"{name}/{key}"] = turned(value)
    if bias is not None:
        out[f"{name}/bias"], out[f"{name}/dbias"] = plain(bias), plain(bias.grad)
    if mask is not None:
        out[f"{name}/mask"] = mask.numpy()


case("plain", 5, 7, 2, 2, 8, 8)
case("long", 6, 130, 1, 1, 4, 4)
case("causal", 9, 9, 2, 2, 8, 8, causal=True)
case("grouped", 6, 11, 4, 2, 8, 12)
mask = torch.rand(2, 1, 5, 7) < 0.6
mask[..., 0] = True
case("masked", 5, 7, 2, 2, 8, 8, mask=mask)
case("biased", 5, 7, 2, 2, 8, 8, bias=randn(1, 2, 5, 7))
case("everything", 6, 11, 4, 1, 8, 4, bias=randn(2, 4, 1, 11), mask=torch.arange(11)[None, None, None] < 9)

np.savez_compressed(pathlib.Path(__file__).with_name("attention.npz"), **out)
