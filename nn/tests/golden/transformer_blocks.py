"""Writes torch_blocks.safetensors: PyTorch's encoder and decoder blocks of several blocks of keys, in double precision.

    pip install torch safetensors && python nn/tests/golden/transformer_blocks.py

Weights and inputs are made by a formula that the test knows too. For each case the output `CASE/y` and the gradients of sum(y * g),
g by the formula, with respect to x, memory and each weight (`CASE/grad/…`): of each a few elements, one sum of all of them by weights
of the formula, and the size of the largest. Outputs at padding are set to 0 before the sum.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

FEATURES, HEADS, HIDDEN = 32, 4, 48
SAMPLES = 24
tensors = {}


def formula(count, phase):
    """Numbers without a visible pattern, of a deviation of about 1, in single precision."""
    i = np.arange(count, dtype=np.float64)
    return (1.4 * np.sin(0.7 * i + 0.013 * (i * i) + phase)).astype(np.float32).astype(np.float64)


def made(shape, phase):
    return torch.from_numpy(formula(int(np.prod(shape)), phase).reshape(shape))


def sampled(x):
    x = x.detach().contiguous().numpy().reshape(-1)
    places = np.arange(min(SAMPLES, x.size), dtype=np.int64) * 104729 % x.size
    return torch.from_numpy(np.append(x[places], [np.dot(x, formula(x.size, 5.6)), np.abs(x).max()])).float()


def beyond(lengths, time):
    """PyTorch's mask: True where there is padding."""
    return torch.arange(time)[None, :] >= lengths[:, None]


def causal(time):
    return torch.triu(torch.ones(time, time, dtype=torch.bool), 1)


def save(case, layer, run, time, memory=None, lengths=None, memory_lengths=None):
    layer = layer.double()
    with torch.no_grad():
        for k, (name, parameter) in enumerate(sorted(layer.named_parameters())):
            drawn = made(parameter.shape, 0.1 + 1.1 * k)
            parameter.copy_(1 + 0.2 * drawn if "norm" in name and name.endswith("weight") else 0.18 * drawn)
    inputs = {"x": made((2, time, FEATURES), 50.1).requires_grad_()}
    if memory:
        inputs["memory"] = made((2, memory, FEATURES), 51.2).requires_grad_()
    y = run(layer, *inputs.values(), lengths, memory_lengths)
    if lengths is not None:
        y = y * ~beyond(lengths, time)[:, :, None]
    (y * made(y.shape, 52.3)).sum().backward()
    tensors[f"{case}/y"] = sampled(y)
    for name, value in [*layer.named_parameters(), *inputs.items()]:
        tensors[f"{case}/grad/{name}"] = sampled(value.grad)


def encode(ahead=True):
    def run(layer, x, lengths, _):
        mask = None if ahead else causal(x.shape[1])
        return layer(x, src_mask=mask, src_key_padding_mask=None if lengths is None else beyond(lengths, x.shape[1]))
    return run


def decode(layer, x, memory, _, memory_lengths):
    padding = None if memory_lengths is None else beyond(memory_lengths, memory.shape[1])
    return layer(x, memory, tgt_mask=causal(x.shape[1]), memory_key_padding_mask=padding)


def settings(**more):
    return dict(d_model=FEATURES, nhead=HEADS, dim_feedforward=HIDDEN, batch_first=True, dropout=0.0) | more


Encoder, Decoder = torch.nn.TransformerEncoderLayer, torch.nn.TransformerDecoderLayer
save("encoder", Encoder(**settings()), encode(), 70)
save("encoder_padded", Encoder(**settings(activation="gelu")), encode(), 210, lengths=torch.tensor([210, 33]))
save("encoder_causal", Encoder(**settings(norm_first=True, activation="gelu")), encode(ahead=False), 210)
save("decoder", Decoder(**settings()), decode, 50, memory=230)
save("decoder_first_padded", Decoder(**settings(norm_first=True, activation="gelu")), decode, 200, memory=230,
     memory_lengths=torch.tensor([195, 230]))
save_file(tensors, Path(__file__).parent / "torch_blocks.safetensors")
