"""Golden values for recurrent layers, made with PyTorch and Keras in single and double precision.

usage: python recurrent.py           writes recurrent.npz beside this file (needs torch, keras and numpy)

Each PyTorch case is a set of arrays `CASE/NAME`: the settings `how` (kind: 0 tanh, 1 relu, 2 LSTM, 3 GRU, 4 GRU that resets before the product; units, layers,
directions), the input `x`, `lengths`, the first states `h0` and `c0`, the outputs `y`, `hn`, `cn`, the gradients `gy` given to
y (those of the states are ones), the gradients `dx`, `dh0`, `dc0`, and PyTorch's parameters and their gradients as
`w0`, `dw0`, `w1`, … in the order of `torch.nn`. Each Keras case is `KIND/NAME` with `x`, `y`, `k0`, `k1`, `k2`.
"""
import os, pathlib
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

torch.manual_seed(0)
out = {}


def randn(*shape):
    """Normal numbers that single precision holds exactly; what is computed from them is in double precision."""
    return (torch.randn(*shape) * 0.7).double().requires_grad_()


KINDS = [lambda *a, **k: torch.nn.RNN(*a, nonlinearity="tanh", **k), lambda *a, **k: torch.nn.RNN(*a, nonlinearity="relu", **k),
         torch.nn.LSTM, torch.nn.GRU]
for kind, make in enumerate(KINDS):
    for layers, both, padded in [(1, False, False), (2, False, True), (2, True, True), (1, True, False)]:
        name = f"torch_{kind}_{layers}_{int(both)}_{int(padded)}"
        batch, steps, inputs, units, directions = 3, 5, 2, 4, 1 + both
        net = make(inputs, units, num_layers=layers, bidirectional=both, batch_first=True)
        for p in net.parameters():
            p.data = (torch.randn(p.shape) * 0.7)
        net = net.double()
        x, h0, c0 = randn(batch, steps, inputs), randn(layers * directions, batch, units), randn(layers * directions, batch, units)
        lengths = torch.tensor([5, 2, 4] if padded else [5, 5, 5])
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, states = net(packed, (h0, c0) if kind == 2 else h0)
        y = pad_packed_sequence(y, batch_first=True, total_length=steps)[0]
        hn, cn = states if kind == 2 else (states, None)
        gy = torch.randn(y.shape).double()
        loss = (y * gy).sum() + hn.sum() + (cn.sum() if kind == 2 else 0)
        loss.backward()
        keep = dict(how=np.array([kind, units, layers, directions], dtype=np.int64), lengths=lengths.numpy().astype(np.uint32), x=x, h0=h0, y=y, hn=hn, gy=gy, dx=x.grad, dh0=h0.grad)
        if kind == 2:
            keep.update(c0=c0, cn=cn, dc0=c0.grad)
        for i, p in enumerate(net.parameters()):
            keep[f"w{i}"], keep[f"dw{i}"] = p, p.grad
        for key, value in keep.items():
            value = value.detach().numpy() if isinstance(value, torch.Tensor) else value
            out[f"{name}/{key}"] = value.astype(np.float32) if value.dtype == np.float64 else value

import keras

keras.utils.set_random_seed(0)
for kind, layer in [(0, keras.layers.SimpleRNN(4, return_sequences=True)), (2, keras.layers.LSTM(4, return_sequences=True)),
                    (3, keras.layers.GRU(4, return_sequences=True)), (4, keras.layers.GRU(4, return_sequences=True, reset_after=False))]:
    x = np.random.default_rng(kind).normal(size=(3, 5, 2)).astype(np.float32)
    layer(x)
    weights = [np.random.default_rng(10 + i).normal(size=w.shape).astype(np.float32) * 0.7 for i, w in enumerate(layer.weights)]
    layer.set_weights(weights)
    out[f"keras_{kind}/how"] = np.array([kind, 4, 1, 1], dtype=np.int64)
    out[f"keras_{kind}/x"], out[f"keras_{kind}/y"] = x, np.array(layer(x))
    for i, w in enumerate(weights):
        out[f"keras_{kind}/k{i}"] = w
np.savez_compressed(pathlib.Path(__file__).with_suffix(".npz"), **out)
