"""Golden values for what goes with attention in a transformer: rotary positions, gated activations, normalisation of rows.

usage: python transformer_parts.py     writes transformer_parts.npz beside this file (needs torch, transformers and numpy)

Rotary positions are those of Hugging Face's models of Llama (halves) and GPT-J (neighbours), gates and norms PyTorch's, all in double
precision. Inputs are made by a formula that the test knows too, and of each result there are a few elements, one sum of all of them
by weights of the formula, and the size of the largest, as in attention_grid.py. For each of `rotary`, `gates` and `norms` there is
`…_how`, a row for each case, and `…_values`, the output and the gradients of the inputs, in order.
"""
import pathlib
import numpy as np
import torch
import torch.nn.functional as F
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb as turn_neighbours
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb as turn_halves

from attention_grid import formula, made, sampled


def results(y, *inputs):
    """Samples of the output, and of the inputs' gradients of its sum by weights."""
    g = torch.from_numpy(formula(y.numel(), 4.5).reshape(y.shape))
    y.backward(g)
    return np.concatenate([sampled(x) for x in (y, *(x.grad for x in inputs))])


def frequencies(turned, scaling):
    """The angle between neighbouring positions of each pair: 0 plain, 1 linear, 2 Llama 3's."""
    plain = 500.0 ** (-torch.arange(0, turned, 2, dtype=torch.double) / turned)
    if scaling == 1:
        return plain / 4.0
    if scaling == 2:
        # Bounds between which there are pairs of each kind: fast, in between, slow.
        rope = dict(rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                    original_max_position_embeddings=64)
        config = LlamaConfig(hidden_size=turned, num_attention_heads=1, head_dim=turned, rope_parameters=rope,
                             max_position_embeddings=512)
        return ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")[0].double()
    return plain


def rotary(neighbours, size, turned, start, given, scaling):
    """`[batch, time, heads, size]` = [2, 9, 3, size]; where positions are given, they are 5 b + 7 t modulo 40."""
    x = made((2, 9, 3, size), 0.1)
    b, t = torch.arange(2)[:, None], torch.arange(9)[None]
    at = (5 * b + 7 * t) % 40 if given else (start + t).expand(2, 9)
    angles = at[..., None].double() * frequencies(turned, scaling)
    part, rest = x[..., :turned], x[..., turned:]
    if neighbours:
        y = turn_neighbours(part, angles.sin(), angles.cos())
    else:
        both = torch.cat([angles, angles], -1)
        y, _ = turn_halves(part, part, both.cos(), both.sin(), unsqueeze_dim=2)
    return results(torch.cat([y, rest], -1), x)


ACTIVATIONS = [F.relu, torch.sigmoid, F.silu, F.gelu, lambda x: F.gelu(x, approximate="tanh")]


def gates(kind, rows, features):
    """Of rows that hold the gate and then what it lets through, as `chunk(2, -1)` takes them apart."""
    both = made((3, rows, 2 * features), 0.1)
    gate, up = both.chunk(2, -1)
    return results(ACTIVATIONS[kind](gate) * up, both)


def norms(rms, added, rows, features, epsilon):
    """With an input to be added first, the output is the sum's normalisation beside the sum itself."""
    x, scale = made((2, rows, features), 0.1), made((features,), 1.2)
    inputs, total = [x], x
    if added:
        inputs.append(made((2, rows, features), 2.3))
        total = x + inputs[1]
    inputs.append(scale)
    if rms:
        y = F.rms_norm(total, (features,), scale, epsilon)
    else:
        inputs.append(made((features,), 3.4))
        y = F.layer_norm(total, (features,), scale, inputs[-1], epsilon)
    return results(torch.cat([y, total], -1) if added else y, *inputs)


grids = {
    rotary: [(neighbours, size, turned, start, given, scaling)
             for neighbours in (0, 1)
             for size, turned in ((8, 8), (24, 16), (64, 64))
             for start, given, scaling in ((0, 0, 0), (30, 0, 0), (0, 1, 0), (30, 0, 1), (0, 1, 2))],
    gates: [(kind, rows, features) for kind in range(5) for rows, features in ((4, 7), (5, 64), (2, 341))],
    norms: [(rms, added, rows, features, epsilon)
            for rms in (0, 1)
            for added in (0, 1)
            for rows, features, epsilon in ((5, 8, 1e-5), (3, 1, 1e-3), (20, 96, 1e-6), (2, 777, 1e-5))],
}
out = {}
for grid, cases in grids.items():
    out[f"{grid.__name__}_how"] = np.array(cases, dtype=np.float64)
    out[f"{grid.__name__}_values"] = np.concatenate([grid(*case) for case in cases]).astype(np.float32)
np.savez_compressed(pathlib.Path(__file__).with_name("transformer_parts.npz"), **out)
