"""Golden values for the loss over a vocabulary, made with PyTorch's linear and cross_entropy in double precision.

usage: python linear_cross_entropy.py        writes linear_cross_entropy.npz beside this file (needs torch and numpy)

Each case is a set of arrays `CASE/NAME`: rows `x`, the table `w` and the bias `b`, labels as integers of which -1 is ignored, where there
are some `weights` of classes, the summed loss `y`, the gradient `g` given to it, the gradients `dx`, `dw`, `db`, and the `mean`.
`CASE/how` is the label smoothing in hundredths.
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


def plain(t):
    return t.detach().numpy().astype(np.float32)


def case(name, smoothing, weighted, ignored):
    x, w, b = randn(2, 5, 6), randn(11, 6), randn(11)
    labels = torch.randint(0, 11, (2, 5))
    if ignored:
        labels[0, 1:3] = -1
    weights = torch.rand(11, dtype=torch.float32).double() + 0.5 if weighted else None
    loss = lambda how: F.cross_entropy(
        F.linear(x, w, b).flatten(0, 1), labels.flatten(), weight=weights, ignore_index=-1,
        label_smoothing=smoothing / 100, reduction=how)
    y, g = loss("sum"), torch.tensor(1.5, dtype=torch.double)
    y.backward(g)
    name = f"linear_cross_entropy/{name}"
    out[f"{name}/how"] = np.array([smoothing], dtype=np.int64)
    out[f"{name}/labels"] = labels.numpy()
    arrays = dict(x=x, w=w, b=b, y=y, g=g, dx=x.grad, dw=w.grad, db=b.grad, mean=loss("mean"))
    for key, value in arrays.items():
        out[f"{name}/{key}"] = plain(value)
    if weighted:
        out[f"{name}/weights"] = plain(weights)


case("plain", 0, False, False)
case("ignored", 0, False, True)
case("smooth", 10, False, True)
case("weighted", 0, True, True)
case("everything", 20, True, True)

np.savez_compressed(pathlib.Path(__file__).with_name("linear_cross_entropy.npz"), **out)
