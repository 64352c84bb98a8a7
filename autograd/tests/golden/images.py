"""Golden values for convolution, pooling and normalisation, made with PyTorch in double precision.

usage: python images.py           writes images.npz beside this file (needs torch and numpy)

Each case is a set of arrays `CASE/NAME`: inputs as Cairn takes them (images [batch, height, width, channels], filters
[height, width, channels / groups, outputs]), the output `y`, the gradient `g` given to it, and the gradients `dx`, `dw`,
`db` of what it was computed from. The settings of a case stand in `CASE/how` as integers.
"""
import pathlib
import numpy as np
import torch
import torch.nn.functional as F

torch.manual_seed(0)
out = {}


def randn(*shape, requires_grad=False):
    """Normal numbers that single precision holds exactly; what is computed from them is in double precision."""
    return torch.randn(*shape, dtype=torch.float32).double().requires_grad_(requires_grad)


def image(t):  # [n, c, h, w] -> [n, h, w, c]
    return t.detach().permute(0, 2, 3, 1).contiguous().numpy()


def filters(t):  # [o, i, h, w] -> [h, w, i, o]
    return t.detach().permute(2, 3, 1, 0).contiguous().numpy()


def keep(name, how, y, g, **arrays):
    y.backward(g)
    out[f"{name}/how"] = np.array(how, dtype=np.int64)
    out[f"{name}/y"], out[f"{name}/g"] = image(y), image(g)
    for key, (value, layout) in arrays.items():
        out[f"{name}/{key}"] = layout(value)
        out[f"{name}/d{key}"] = layout(value.grad)


def plain(t):
    return t.detach().numpy()


# name: batch, height, width, channels, outputs, kernel, stride, padding, dilation, groups
CONVOLUTIONS = {
    "plain": (2, 6, 7, 3, 5, (3, 3), (1, 1), (0, 0), (1, 1), 1),
    "same": (2, 5, 5, 4, 4, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "strided": (3, 9, 8, 2, 6, (3, 2), (2, 3), (1, 0), (1, 1), 1),
    "dilated": (1, 11, 10, 2, 3, (3, 3), (1, 2), (2, 1), (2, 3), 1),
    "grouped": (2, 6, 6, 6, 4, (3, 3), (1, 1), (1, 1), (1, 1), 2),
    "depthwise": (2, 7, 6, 5, 5, (3, 3), (2, 1), (1, 1), (1, 1), 5),
    "cube": (2, 4, 4, 4, 4, (2, 2), (1, 1), (0, 0), (1, 1), 1),  # channels = height = width
    "one": (1, 5, 5, 1, 1, (3, 3), (1, 1), (0, 0), (1, 1), 1),
    "point": (2, 3, 4, 5, 7, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    "wide": (1, 6, 5, 17, 33, (3, 3), (1, 1), (1, 1), (1, 1), 1),
}
for name, (n, h, w, c, o, k, s, p, d, groups) in CONVOLUTIONS.items():
    x = randn(n, c, h, w, requires_grad=True)
    f = randn(o, c // groups, *k, requires_grad=True)
    b = randn(o, requires_grad=True)
    y = F.conv2d(x, f, b, stride=s, padding=p, dilation=d, groups=groups)
    keep("conv/" + name, [*s, *p, *d, groups], y, randn(*y.shape), x=(x, image), w=(f, filters), b=(b, plain))

for name, (n, h, w, c, o, k, s, p, d, groups, extra) in {
    "plain": (2, 4, 5, 3, 2, (3, 3), (1, 1), (0, 0), (1, 1), 1, (0, 0)),
    "doubling": (2, 4, 3, 4, 3, (4, 4), (2, 2), (1, 1), (1, 1), 1, (0, 0)),
    "extra": (1, 3, 4, 4, 6, (3, 3), (2, 3), (1, 0), (1, 2), 2, (1, 2)),
}.items():
    x = randn(n, c, h, w, requires_grad=True)
    f = randn(c, o // groups, *k, requires_grad=True)  # [i, o, h, w]: Cairn's are [h, w, o, i]
    b = randn(o, requires_grad=True)
    y = F.conv_transpose2d(x, f, b, stride=s, padding=p, output_padding=extra, dilation=d, groups=groups)
    how = [*s, *p, *d, groups, *extra]
    keep("transposed/" + name, how, y, randn(*y.shape), x=(x, image), w=(f, filters), b=(b, plain))

for name, (h, w, k, s, p) in {
    "halves": (6, 8, (2, 2), (2, 2), (0, 0)),
    "overlapping": (7, 6, (3, 3), (2, 2), (1, 1)),
    "odd": (7, 5, (2, 3), (2, 1), (0, 1)),
}.items():
    x = randn(2, 3, h, w, requires_grad=True)
    for kind, y in (
        ("max", F.max_pool2d(x, k, s, p)),
        ("mean", F.avg_pool2d(x, k, s, p, count_include_pad=False)),
        ("mean_padded", F.avg_pool2d(x, k, s, p)),
    ):
        x.grad = None
        keep(f"pool/{kind}/{name}", [*k, *s, *p], y, randn(*y.shape), x=(x, image))
x = randn(2, 3, 7, 5, requires_grad=True)
y = F.adaptive_avg_pool2d(x, (3, 2))
keep("pool/adaptive/thirds", [3, 2], y, randn(*y.shape), x=(x, image))

for mode in ("nearest", "bilinear"):
    for name, size in {"up": (7, 9), "down": (2, 3), "double": (8, 10)}.items():
        x = randn(2, 3, 4, 5, requires_grad=True)
        kwargs = {} if mode == "nearest" else {"align_corners": False}
        y = F.interpolate(x, size=size, mode=mode, **kwargs)
        keep(f"resize/{mode}/{name}", [*size], y, randn(*y.shape), x=(x, image))

x = randn(4, 6, 3, 5, requires_grad=True)
gamma, beta = randn(6, requires_grad=True), randn(6, requires_grad=True)
y = F.batch_norm(x, None, None, gamma, beta, training=True, eps=1e-5)
keep("batch_norm/training", [], y, randn(*y.shape), x=(x, image), w=(gamma, plain), b=(beta, plain))
for groups in (1, 2, 6):
    for t in (x, gamma, beta):
        t.grad = None
    y = F.group_norm(x, groups, gamma, beta, eps=1e-5)
    keep(f"group_norm/{groups}", [groups], y, randn(*y.shape), x=(x, image), w=(gamma, plain), b=(beta, plain))

small = {name: x.astype(np.float32) if x.dtype == np.float64 else x for name, x in out.items()}
np.savez_compressed(pathlib.Path(__file__).with_name("images.npz"), **small)
print(len(out), "arrays")
