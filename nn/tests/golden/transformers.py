"""Writes torch_transformers.safetensors: PyTorch's encoder and decoder blocks, inputs, outputs and gradients.

    pip install torch safetensors && python nn/tests/golden/transformers.py

For each case its weights under PyTorch's names (`CASE/self_attn.in_proj_weight`), `CASE/x`, of a decoder `CASE/memory`, the lengths
of both where they are padded, `CASE/y`, and the gradients of sum(y * CASE/g) with respect to x, memory and each weight
(`CASE/grad/…`). Outputs at padding are set to 0 before the sum.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

torch.manual_seed(0)
FEATURES, HEADS, HIDDEN = 8, 2, 12
tensors = {}


def beyond(lengths, time):
    """PyTorch's mask: True where there is padding."""
    return torch.arange(time)[None, :] >= lengths[:, None]


def save(case, layer, run, **inputs):
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-0.6, 0.6)
    for name in ("x", "memory"):
        if name in inputs:
            inputs[name].requires_grad_()
    y = run(layer, **inputs)
    if "lengths" in inputs:
        y = y * ~beyond(inputs["lengths"], y.shape[1])[:, :, None]
    g = torch.randn_like(y)
    (y * g).sum().backward()
    state = layer.state_dict() | inputs | {"y": y, "g": g}
    state |= {f"grad/{name}": value.grad for name, value in layer.named_parameters()}
    state |= {f"grad/{name}": value.grad for name, value in inputs.items() if value.requires_grad}
    for name, value in state.items():
        value = value.detach().clone().contiguous()
        tensors[f"{case}/{name}"] = value.to(torch.uint32) if name.endswith("lengths") else value


def encode(layer, x, lengths=None, causal=False):
    time = x.shape[1]
    mask = torch.nn.Transformer.generate_square_subsequent_mask(time) if causal else None
    padding = None if lengths is None else beyond(lengths, time)
    if causal and padding is not None:
        padding = torch.zeros_like(padding, dtype=torch.float32).masked_fill(padding, float("-inf"))
    return layer(x, src_mask=mask, src_key_padding_mask=padding)


def decode(layer, x, memory, lengths=None, memory_lengths=None):
    causal = torch.nn.Transformer.generate_square_subsequent_mask(x.shape[1])
    padding = None if memory_lengths is None else beyond(memory_lengths, memory.shape[1])
    return layer(x, memory, tgt_mask=causal, memory_key_padding_mask=padding)


def settings(**more):
    return dict(d_model=FEATURES, nhead=HEADS, dim_feedforward=HIDDEN, batch_first=True, dropout=0.0) | more


def sequences(batch, time):
    return torch.randn(batch, time, FEATURES)


Encoder, Decoder = torch.nn.TransformerEncoderLayer, torch.nn.TransformerDecoderLayer
save("encoder", Encoder(**settings()), encode, x=sequences(2, 5))
save("encoder_first_gelu", Encoder(**settings(norm_first=True, activation="gelu")), encode, x=sequences(2, 5))
save("encoder_padded", Encoder(**settings()), encode, x=sequences(3, 5), lengths=torch.tensor([5, 1, 3]))
causal = lambda layer, **inputs: encode(layer, causal=True, **inputs)
save("encoder_causal", Encoder(**settings(norm_first=True)), causal, x=sequences(2, 6))
save("encoder_causal_padded", Encoder(**settings()), causal, x=sequences(2, 6), lengths=torch.tensor([2, 6]))
save("decoder", Decoder(**settings()), decode, x=sequences(2, 4), memory=sequences(2, 6))
save(
    "decoder_first_padded",
    Decoder(**settings(norm_first=True, activation="gelu")),
    decode,
    x=sequences(2, 4),
    memory=sequences(2, 6),
    lengths=torch.tensor([4, 2]),
    memory_lengths=torch.tensor([3, 6]),
)
save_file(tensors, Path(__file__).parent / "torch_transformers.safetensors")
