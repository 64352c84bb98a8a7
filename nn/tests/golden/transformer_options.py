"""Writes torch_transformer_options.safetensors: what PyTorch's blocks make of masks of pairs, without biases, with gates and shared heads, and
torch.nn.MultiheadAttention by itself.

    pip install torch safetensors && python nn/tests/golden/transformer_options.py

For each case its weights under PyTorch's names, or, of blocks that PyTorch has not, under Cairn's and in its layout; `CASE/x` and what else
goes in; `CASE/y`, and the gradients of sum(y * CASE/g) with respect to x and each weight (`CASE/grad/…`).
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

torch.manual_seed(1)
FEATURES, HEADS, HIDDEN = 8, 2, 12
tensors = {}


def sequences(batch, time, features=FEATURES):
    return torch.randn(batch, time, features)


def drawn(shape):
    return torch.empty(shape).uniform_(-0.6, 0.6)


def pairs(*shape):
    """A mask, True where PyTorch hides: about half of the pairs, but the first key, which all see."""
    mask = torch.rand(shape) < 0.5
    mask[..., 0] = False
    return mask


def keep(case, values):
    for name, value in values.items():
        if value is not None:
            value = value.detach().clone().contiguous()
            tensors[f"{case}/{name}"] = value.to(torch.uint32) if name.endswith("lengths") else value


def save(case, weights, run, **inputs):
    """`weights` by name, `run(**inputs)` with them."""
    inputs["x"].requires_grad_()
    y = run(**inputs)
    g = torch.randn_like(y)
    (y * g).sum().backward()
    keep(case, weights | inputs | {"y": y, "g": g, "grad/x": inputs["x"].grad})
    keep(case, {f"grad/{name}": value.grad for name, value in weights.items()})


def layer(kind, **more):
    module = kind(**(dict(d_model=FEATURES, nhead=HEADS, dim_feedforward=HIDDEN, batch_first=True, dropout=0.0) | more))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-0.6, 0.6)
    return module, dict(module.named_parameters())


Encoder, Decoder = torch.nn.TransformerEncoderLayer, torch.nn.TransformerDecoderLayer

# Masks of pairs in an encoder's block: of truth values, of numbers, by sequence and head, with padding.
module, weights = layer(Encoder)
save("hidden", weights, lambda x, mask: module(x, src_mask=mask), x=sequences(2, 5), mask=pairs(5, 5))
module, weights = layer(Encoder)
scores = torch.randn(5, 5).masked_fill(pairs(5, 5), float("-inf"))
save("added", weights, lambda x, mask: module(x, src_mask=mask), x=sequences(2, 5), mask=scores)
module, weights = layer(Encoder)
run = lambda x, mask: module(x, src_mask=mask.flatten(0, 1))
save("by_head", weights, run, x=sequences(3, 4), mask=pairs(3, HEADS, 4, 4))
module, weights = layer(Encoder)


def padded(x, mask, lengths):
    padding = torch.arange(x.shape[1])[None, :] >= lengths[:, None]
    return module(x, src_mask=mask, src_key_padding_mask=padding) * ~padding[:, :, None]


save("padded", weights, padded, x=sequences(3, 5), mask=pairs(5, 5), lengths=torch.tensor([5, 1, 3]))

# Of both attentions of a decoder's block.
module, weights = layer(Decoder)
inputs = dict(x=sequences(2, 4), memory=sequences(2, 6), mask=pairs(4, 4), memory_mask=torch.randn(4, 6))
save("decoder", weights, lambda x, memory, mask, memory_mask: module(x, memory, mask, memory_mask), **inputs)

# Without biases.
module, weights = layer(Encoder, bias=False, norm_first=True, activation="gelu")
save("encoder_no_bias", weights, lambda x: module(x), x=sequences(2, 5))
module, weights = layer(Decoder, bias=False)
save("decoder_no_bias", weights, lambda x, memory: module(x, memory), x=sequences(2, 4), memory=sequences(2, 6))
whole = torch.nn.Transformer(FEATURES, HEADS, 1, 1, HIDDEN, dropout=0.0, batch_first=True, bias=False)
with torch.no_grad():
    for parameter in whole.parameters():
        parameter.uniform_(-0.6, 0.6)
causal = torch.nn.Transformer.generate_square_subsequent_mask(4)
run = lambda x, source: whole(source, x, tgt_mask=causal)
save("whole_no_bias", dict(whole.named_parameters()), run, x=sequences(2, 4), source=sequences(2, 6))


# Blocks that PyTorch has not: weights [inputs, outputs] under Cairn's names.
def dense(weights, name, x):
    bias = weights.get(f"{name}.bias")
    y = x @ weights[f"{name}.weight"]
    return y if bias is None else y + bias


def norm(weights, name, x):
    return F.layer_norm(x, (FEATURES,), weights[f"{name}.weight"], weights.get(f"{name}.bias"))


def attend(q, k, v, heads, key_heads, mask=None, cap=None):
    """Of [batch, time, heads * size], query heads in groups that share a head of keys; `mask` is True where a query may attend."""
    split = lambda x, heads: x.unflatten(-1, (heads, -1)).transpose(1, 2)
    q, k, v = split(q, heads), split(k, key_heads), split(v, key_heads)
    k, v = [x.repeat_interleave(heads // key_heads, 1) for x in (k, v)]
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if cap is not None:
        scores = cap * torch.tanh(scores / cap)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


def gated(weights, x, activation):
    gate, up = dense(weights, "feed_forward.up", x).chunk(2, -1)
    return dense(weights, "feed_forward.down", activation(gate) * up)


def parameters(shapes):
    return {name: drawn(shape).requires_grad_() for name, shape in shapes.items()}


def norms(*names, bias=True):
    values = ["weight", "bias"] if bias else ["weight"]
    return {f"{name}.{value}": (FEATURES,) for name in names for value in values}


# An encoder's block with SwiGLU and biases, normalised last.
weights = parameters(
    {
        "attention.projection.weight": (8, 24),
        "attention.projection.bias": (24,),
        "attention.output.weight": (8, 8),
        "attention.output.bias": (8,),
        "feed_forward.up.weight": (8, 24),
        "feed_forward.up.bias": (24,),
        "feed_forward.down.weight": (12, 8),
        "feed_forward.down.bias": (8,),
    }
    | norms("attention_norm", "feed_forward_norm")
)


def encode(x):
    q, k, v = dense(weights, "attention.projection", x).chunk(3, -1)
    y = dense(weights, "attention.output", attend(q, k, v, 2, 2))
    x = norm(weights, "attention_norm", x + y)
    return norm(weights, "feed_forward_norm", x + gated(weights, x, F.silu))


save("encoder_gated", weights, encode, x=sequences(2, 5))

# A decoder's block with GeGLU, without biases, normalised first: four heads of queries and two of keys, a window of three and a soft cap.
weights = parameters(
    {
        "attention.projection.weight": (8, 16),
        "attention.output.weight": (8, 8),
        "cross_attention.projection.weight": (8, 8),
        "cross_attention.memory.weight": (8, 8),
        "cross_attention.output.weight": (8, 8),
        "feed_forward.up.weight": (8, 24),
        "feed_forward.down.weight": (12, 8),
    }
    | norms("attention_norm", "cross_attention_norm", "feed_forward_norm", bias=False)
)


def decode(x, memory):
    back = torch.arange(5)[:, None] - torch.arange(5)[None, :]
    normal = norm(weights, "attention_norm", x)
    q, k, v = dense(weights, "attention.projection", normal).split([8, 4, 4], -1)
    x = x + dense(weights, "attention.output", attend(q, k, v, 4, 2, (back >= 0) & (back < 3), 2.0))
    normal = norm(weights, "cross_attention_norm", x)
    k, v = dense(weights, "cross_attention.memory", memory).chunk(2, -1)
    y = attend(dense(weights, "cross_attention.projection", normal), k, v, 4, 2, cap=2.0)
    x = x + dense(weights, "cross_attention.output", y)
    return x + gated(weights, norm(weights, "feed_forward_norm", x), F.gelu)


save("decoder_gated", weights, decode, x=sequences(2, 5), memory=sequences(2, 6))

# Attention by itself: of a sequence to itself, to another, and with keys and values of two others.
for case, sizes in [("own", {}), ("cross", {}), ("far", dict(kdim=6, vdim=6)), ("apart", dict(kdim=6, vdim=10))]:
    for bias in (True, False):
        module = torch.nn.MultiheadAttention(FEATURES, HEADS, batch_first=True, bias=bias, **sizes)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.uniform_(-0.6, 0.6)
        x = sequences(2, 4)
        keys = x if case == "own" else sequences(2, 5, sizes.get("kdim", FEATURES))
        values = sequences(2, 5, 10) if case == "apart" else keys
        name = f"attention_{case}" + ("" if bias else "_no_bias")
        with torch.no_grad():
            y = module(x, keys, values)[0]
        keep(name, module.state_dict() | {"x": x, "keys": keys, "values": values, "y": y})

save_file(tensors, Path(__file__).parent / "torch_transformer_options.safetensors")
