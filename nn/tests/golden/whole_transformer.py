"""Writes torch_transformer.safetensors: a whole transformer of PyTorch, attention to a memory of other features, and T5's attention.

    pip install torch transformers safetensors && python -P nn/tests/golden/whole_transformer.py
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5Attention

torch.manual_seed(0)
FEATURES, HEADS, HIDDEN = 8, 2, 12


def sequences(batch, time):
    return torch.randn(batch, time, FEATURES)


# A whole transformer, under the names of its state: `x`, `memory`, which the encoder reads, and `y`.
whole = torch.nn.Transformer(FEATURES, HEADS, 2, 2, HIDDEN, dropout=0.0, batch_first=True)
with torch.no_grad():
    for parameter in whole.parameters():
        parameter.uniform_(-0.6, 0.6)
    x, memory = sequences(2, 4), sequences(2, 6)
    y = whole(memory, x, tgt_mask=torch.nn.Transformer.generate_square_subsequent_mask(4))
    # Attention to a memory of other features, which has matrices of its own.
    other = torch.nn.MultiheadAttention(FEATURES, HEADS, kdim=6, vdim=6, batch_first=True)
    for parameter in other.parameters():
        parameter.uniform_(-0.6, 0.6)
    far = torch.randn(2, 5, 6)
    z = other(x, far, far)[0]
state = whole.state_dict() | {"x": x, "memory": memory, "y": y, "far": far, "z": z}
# Attention with relative positions, forwards and back, as in T5: the weights by their names, and the output.
for name, decoder in [("both", False), ("back", True)]:
    config = T5Config(d_model=FEATURES, d_kv=4, num_heads=HEADS, dropout_rate=0.0, is_decoder=decoder)
    config.relative_attention_num_buckets, config.relative_attention_max_distance = 8, 12
    attention = T5Attention(config, has_relative_attention_bias=True).eval()
    read = sequences(2, 15)
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.uniform_(-0.6, 0.6)
        mask = torch.triu(torch.full((15, 15), float("-inf")), 1)[None, None] if decoder else None
        state |= {f"{name}/{key}": value for key, value in attention.state_dict().items()}
        state |= {f"{name}/x": read, f"{name}/y": attention(read, mask=mask)[0]}
state |= {f"other.multihead_attn.{name}": value for name, value in other.state_dict().items()}
save_file({name: value.clone().contiguous() for name, value in state.items()}, Path(__file__).parent / "torch_transformer.safetensors")
