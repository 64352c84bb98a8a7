"""Random cases of operations and PyTorch's values and gradients for them, in double precision.

usage: python differential.py [--cases N] [--seed S] [--out FILE]      (needs torch and numpy)

Without arguments it writes differential.npz beside this file, which the tests always read: one case of each operation. For a night's
comparison write many to another file, and run

    CAIRN_DIFFERENTIAL=FILE cargo test --release -p cairn-autograd --test laws differential -- --nocapture

which prints a table of the largest deviation of each operation. Case k of an operation is the arrays `OPERATION/k/NAME`: the inputs `x0`, `x1`,
…, whole numbers `how` (axes, sizes, ids, whatever the operation needs), the output `y`, the gradient `g` given to it, and the gradients
`d0`, `d1`, … of the inputs. Shapes, scales and settings are drawn at random; images are [batch, height, width, channels].
"""
import argparse
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--cases", type=int, default=1)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).with_name("differential.npz"))
arguments = parser.parse_args()
draw = np.random.default_rng(arguments.seed)
torch.manual_seed(arguments.seed)
out = {}


def size(most=5):
    return int(draw.integers(1, most + 1))


def shape(least=1, most=4):
    return [size() for _ in range(int(draw.integers(least, most + 1)))]


def normal(dims, scaled=True):
    scale = 10.0 ** draw.uniform(-3, 2) if scaled and draw.random() < 0.5 else 1.0
    return torch.tensor(draw.normal(size=dims) * scale, dtype=torch.double)


def positive(dims):
    return torch.tensor(draw.uniform(0.05, 3.0, size=dims), dtype=torch.double)


def apart(dims):
    """Numbers of which no two are equal or nearly so: where maxima and sorted orders have one derivative."""
    count = int(np.prod(dims))
    return torch.tensor(draw.permutation(count).reshape(dims) * 0.37 - count * 0.17, dtype=torch.double)


def axis(dims):
    return int(draw.integers(0, len(dims)))


def channels_first(x):
    return x.permute(0, 3, 1, 2).contiguous()


def channels_last(x):
    return x.permute(0, 2, 3, 1)


def unary(function, domain=normal):
    return lambda: ([domain(shape())], [], lambda x: function(x))


def binary(function, domain=normal, second=None):
    def make():
        dims = shape()
        other = [1 if draw.random() < 0.3 else n for n in dims[int(draw.integers(0, len(dims))):]]
        inputs = [domain(dims), (second or domain)(other)]
        if draw.random() < 0.5 and second is None:
            inputs.reverse()
        return inputs, [], function
    return make


def along(function, domain=normal, least=1):
    def make():
        dims = shape(least)
        a = axis(dims)
        return [domain(dims)], [a], lambda x: function(x, a)
    return make


def matmul():
    batch = shape(0, 2)
    m, k, n = size(9), size(9), size(9)
    other = batch[int(draw.integers(0, len(batch) + 1)):]
    return [normal([*batch, m, k]), normal([*other, k, n])], [], torch.matmul


def linear():
    k, n = size(9), size(9)
    return [normal([*shape(1, 3), k]), normal([k, n]), normal([n])], [], lambda x, w, b: x @ w + b


def conv2d():
    groups, inner, outer = size(2), size(3), size(3)
    kernel, stride, dilation = [size(3), size(3)], [size(2), size(2)], [size(2), size(2)]
    padding = [int(draw.integers(0, 3)), int(draw.integers(0, 3))]
    image = [(kernel[i] - 1) * dilation[i] + size(6) for i in (0, 1)]
    inputs = [normal([size(3), *image, groups * inner]), normal([*kernel, inner, groups * outer]), normal([groups * outer])]
    how = [*stride, *padding, *dilation, groups]
    return inputs, how, lambda x, w, b: channels_last(F.conv2d(
        channels_first(x), w.permute(3, 2, 0, 1).contiguous(), b, stride, padding, dilation, groups))


def conv_transpose2d():
    kernel, stride = [size(3), size(3)], [size(3), size(3)]
    extra = [int(draw.integers(0, s)) for s in stride]
    inputs, outputs = size(4), size(4)
    tensors = [normal([size(2), size(4), size(4), inputs]), normal([*kernel, outputs, inputs]), normal([outputs])]
    return tensors, [*stride, *extra], lambda x, w, b: channels_last(F.conv_transpose2d(
        channels_first(x), w.permute(3, 2, 0, 1).contiguous(), b, stride, 0, extra))


def pool(function, domain):
    def make():
        window, stride = [size(3), size(3)], [size(3), size(3)]
        image = [window[0] + size(5), window[1] + size(5)]
        return [domain([size(2), *image, size(3)])], [*window, *stride], lambda x: channels_last(
            function(channels_first(x), window, stride))
    return make


def norm(function):
    def make():
        dims = [*shape(1, 3), size(9) + 1]
        return [normal(dims), normal(dims[-1:]), normal(dims[-1:])], [], function
    return make


def group_norm():
    groups, each = size(3), size(3) + 1
    channels = groups * each
    inputs = [normal([size(3), size(4), size(4), channels]), normal([channels]), normal([channels])]
    return inputs, [groups], lambda x, w, b: channels_last(F.group_norm(channels_first(x), groups, w, b, 1e-3))


def batch_norm():
    channels = size(4)
    inputs = [normal([size(4) + 1, size(5), channels]), normal([channels]), normal([channels])]
    return inputs, [], lambda x, w, b: F.batch_norm(
        x.flatten(0, 1), None, None, w, b, training=True, eps=1e-3).reshape(x.shape)


def cross_entropy():
    rows, classes = size(6), size(9)
    labels = draw.integers(0, classes, size=rows)
    return [normal([rows, classes])], labels.tolist(), lambda x: F.cross_entropy(x, torch.tensor(labels))


def picked(function):
    def make():
        dims = shape(1, 3)
        a = axis(dims)
        ids = draw.integers(0, dims[a], size=size(7))
        return [normal(dims)], [a, *ids.tolist()], lambda x: function(x, a, torch.tensor(ids))
    return make


def lookup():
    rows = size(7)
    ids = draw.integers(0, rows, size=size(9))
    return [normal([rows, size()])], ids.tolist(), lambda w: w[torch.tensor(ids)]


def pad():
    dims = shape(1, 3)
    widths = [[int(draw.integers(0, 3)), int(draw.integers(0, 3))] for _ in dims]
    flat = [w for pair in widths for w in pair]
    return [normal(dims)], flat, lambda x: F.pad(x, [w for pair in reversed(widths) for w in pair], value=0.5)


def cat():
    dims = shape(1, 3)
    a = axis(dims)
    other = [size() if i == a else n for i, n in enumerate(dims)]
    return [normal(dims), normal(other)], [a], lambda x, y: torch.cat([x, y], a)


def corner(function):
    def make():
        offset = int(draw.integers(0, 4))
        return [normal([*shape(0, 2), size(), size()])], [offset], lambda x: function(x, offset - 2)
    return make


def attention(causal):
    def make():
        heads, groups, width = size(2), size(2), size(8)
        batch, keys = size(2), size(9)
        queries = keys if causal else size(9)
        inputs = [normal([batch, queries, heads * groups, width], False), normal([batch, keys, heads, width], False),
                  normal([batch, keys, heads, width], False)]
        turn = lambda x: x.transpose(1, 2)
        return inputs, [], lambda q, k, v: turn(F.scaled_dot_product_attention(
            turn(q), turn(k), turn(v), is_causal=causal, enable_gqa=True))
    return make


def lstm():
    batch, steps, inputs, units = size(3), size(5), size(4), size(4)
    tensors = [normal([batch, steps, inputs], False), normal([inputs, 4 * units], False),
               normal([units, 4 * units], False), normal([4 * units], False)]

    def run(x, w, u, b):
        h = c = torch.zeros(batch, units, dtype=torch.double)
        steps_out = []
        for t in range(steps):
            i, f, g, o = (x[:, t] @ w + h @ u + b).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            steps_out.append(h)
        return torch.stack(steps_out, 1)

    return tensors, [], run


def square(function, condition):
    def make():
        n = size(5)
        return [condition(normal([*shape(0, 1), n, n], False), n)], [], function
    return make


def well(a, n):
    return a + 3 * torch.eye(n, dtype=torch.double)


def huge_offset(dims):
    return normal(dims) + (10.0 ** draw.uniform(0, 6) if draw.random() < 0.5 else 0.0)


OPERATIONS = {
    **{name: unary(getattr(torch, name)) for name in
       "exp expm1 tanh sigmoid abs square sin cos erf relu neg floor sign".split()},
    **{name: unary(getattr(torch, name), positive) for name in "sqrt rsqrt log log1p".split()},
    "recip": unary(torch.reciprocal, positive),
    # PyTorch takes x itself from a threshold on, which is 20 unless one says otherwise.
    "softplus": unary(lambda x: F.softplus(x, threshold=700)), "silu": unary(F.silu), "gelu": unary(F.gelu), "selu": unary(F.selu),
    "gelu_tanh": unary(lambda x: F.gelu(x, approximate="tanh")),
    "leaky_relu": unary(lambda x: F.leaky_relu(x, 0.3)), "elu": unary(lambda x: F.elu(x, 0.7)),
    "clamp": unary(lambda x: x.clamp(-0.5, 1.5)), "powf": unary(lambda x: x ** 2.5, positive),
    "add": binary(torch.add), "sub": binary(torch.sub), "mul": binary(torch.mul),
    "div": binary(torch.div, second=positive), "pow": binary(torch.pow, positive),
    "maximum": binary(torch.maximum), "minimum": binary(torch.minimum),
    "sum": along(lambda x, a: x.sum(a)), "mean": along(lambda x, a: x.mean(a)),
    "max": along(lambda x, a: x.amax(a), apart), "min": along(lambda x, a: x.amin(a), apart),
    "prod": along(lambda x, a: x.prod(a)), "logsumexp": along(lambda x, a: x.logsumexp(a), huge_offset),
    "norm": along(lambda x, a: x.norm(dim=a)), "var": along(lambda x, a: x.var(a, correction=0)),
    "softmax": along(lambda x, a: x.softmax(a), huge_offset),
    "log_softmax": along(lambda x, a: x.log_softmax(a), huge_offset),
    "cumsum": along(lambda x, a: x.cumsum(a)), "cumprod": along(lambda x, a: x.cumprod(a)),
    "flip": along(lambda x, a: x.flip(a)), "sort": along(lambda x, a: x.sort(a)[0], apart),
    "topk": along(lambda x, a: x.topk(1, a)[0], apart),
    "matmul": matmul, "linear": linear, "conv2d": conv2d, "conv_transpose2d": conv_transpose2d,
    "max_pool2d": pool(F.max_pool2d, apart), "avg_pool2d": pool(F.avg_pool2d, normal),
    "layer_norm": norm(lambda x, w, b: F.layer_norm(x, x.shape[-1:], w, b, 1e-3)),
    "rms_norm": norm(lambda x, w, b: F.rms_norm(x, x.shape[-1:], w, 1e-3) + b),
    "group_norm": group_norm, "batch_norm": batch_norm, "cross_entropy": cross_entropy,
    "index_select": picked(lambda x, a, ids: x.index_select(a, ids)), "lookup": lookup,
    "pad": pad, "cat": cat, "tril": corner(torch.tril), "triu": corner(torch.triu),
    "attention": attention(False), "attention_causal": attention(True), "lstm": lstm,
    "det": square(torch.det, well), "inverse": square(torch.inverse, well),
    "cholesky": square(torch.linalg.cholesky, lambda a, n: well(a @ a.mT, n)),
}

for name, make in OPERATIONS.items():
    for k in range(arguments.cases):
        inputs, how, function = make()
        inputs = [x.requires_grad_() for x in inputs]
        y = function(*inputs)
        g = torch.tensor(draw.normal(size=list(y.shape)), dtype=torch.double)
        y.backward(g)
        case = f"{name}/{k}"
        out[f"{case}/how"] = np.array(how, dtype=np.int64)
        out[f"{case}/y"], out[f"{case}/g"] = y.detach().contiguous().numpy(), g.numpy()
        for i, x in enumerate(inputs):
            out[f"{case}/x{i}"] = x.detach().numpy()
            out[f"{case}/d{i}"] = (torch.zeros_like(x) if x.grad is None else x.grad).contiguous().numpy()

np.savez_compressed(arguments.out, **out)
print(len(OPERATIONS), "operations,", len(OPERATIONS) * arguments.cases, "cases,", arguments.out)
