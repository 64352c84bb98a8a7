"""Makes trajectories.json: what PyTorch's optimisers, and Keras's where PyTorch has none, do to four parameters over 50
steps of gradients that are written down as a formula. Run once with PyTorch 2 and Keras 3:
`python trajectories.py > trajectories.json`.
"""
import json
import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import torch

START = [1.0, -2.0, 0.5, 3.0]


def gradient(step, parameter):
    """Of a bowl whose centre moves, different for each element."""
    centre = torch.tensor([0.1 * step, 1.0, -0.02 * step, 0.0], dtype=torch.float32)
    slope = torch.tensor([1.0, 0.5, 2.0, 0.01], dtype=torch.float32)
    return slope * (parameter - centre)


def trajectory(make):
    p = torch.nn.Parameter(torch.tensor(START))
    optimizer = make([p])
    rows = []
    for step in range(50):
        p.grad = gradient(step, p.detach())
        optimizer.step()
        rows.append(p.detach().tolist())
    return rows


def keras_trajectory(optimizer):
    p = keras.Variable(START)
    rows = []
    for step in range(50):
        optimizer.apply([gradient(step, p.value.detach())], [p])
        rows.append(p.value.detach().tolist())
    return rows


def lamb(rate, decay):
    """With weight decay in the ratio, as in algorithm 2 of You et al. 2020; Keras decays apart from it."""
    p = torch.tensor(START, dtype=torch.float64)
    m, v = torch.zeros(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    rows = []
    for step in range(50):
        g = gradient(step, p.float()).double()
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        r = m / (1 - 0.9 ** (step + 1)) / ((v / (1 - 0.999 ** (step + 1))).sqrt() + 1e-6) + decay * p
        p = p - rate * p.norm() / r.norm() * r
        rows.append(p.tolist())
    return rows


def lbfgs(**settings):
    """On a bowl that has no exact solution in one step: sum of (p - c)^4 / 4 + slope (p - c)^2 / 2."""
    p = torch.nn.Parameter(torch.tensor(START))
    centre, slope = torch.tensor([0.1, 1.0, -0.2, 0.0]), torch.tensor([1.0, 0.5, 2.0, 0.1])
    optimizer = torch.optim.LBFGS([p], **settings)

    def closure():
        optimizer.zero_grad()
        d = p - centre
        loss = (d ** 4 / 4 + slope * d ** 2 / 2).sum()
        loss.backward()
        return loss

    rows = []
    for _ in range(8):
        optimizer.step(closure)
        rows.append(p.detach().tolist())
    return rows


o = torch.optim
print(json.dumps({
    "sgd": trajectory(lambda p: o.SGD(p, lr=0.1)),
    "sgd_decay": trajectory(lambda p: o.SGD(p, lr=0.1, weight_decay=0.05)),
    "momentum": trajectory(lambda p: o.SGD(p, lr=0.05, momentum=0.9)),
    "nesterov": trajectory(lambda p: o.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)),
    "adam": trajectory(lambda p: o.Adam(p, lr=0.05)),
    "adam_l2": trajectory(lambda p: o.Adam(p, lr=0.05, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)),
    "adamw": trajectory(lambda p: o.AdamW(p, lr=0.05, weight_decay=0.1)),
    "nadam": trajectory(lambda p: o.NAdam(p, lr=0.05)),
    "nadam_l2": trajectory(lambda p: o.NAdam(p, betas=(0.8, 0.95), momentum_decay=0.02, weight_decay=0.1)),
    "radam": trajectory(lambda p: o.RAdam(p, lr=0.05)),
    "radam_l2": trajectory(lambda p: o.RAdam(p, lr=0.05, betas=(0.8, 0.95), weight_decay=0.1)),
    "rmsprop": trajectory(lambda p: o.RMSprop(p)),
    "rmsprop_l2": trajectory(lambda p: o.RMSprop(p, alpha=0.9, eps=1e-6, weight_decay=0.1)),
    "rmsprop_momentum": trajectory(lambda p: o.RMSprop(p, lr=0.005, momentum=0.9)),
    "rmsprop_centered": trajectory(lambda p: o.RMSprop(p, centered=True, alpha=0.9)),
    "rmsprop_both": trajectory(lambda p: o.RMSprop(p, lr=0.005, centered=True, momentum=0.9, alpha=0.9)),
    "adagrad": trajectory(lambda p: o.Adagrad(p, lr=0.1)),
    "adagrad_all": trajectory(
        lambda p: o.Adagrad(p, lr=0.1, lr_decay=0.01, weight_decay=0.1, initial_accumulator_value=0.5, eps=1e-6)),
    "adadelta": trajectory(lambda p: o.Adadelta(p)),
    "adadelta_l2": trajectory(lambda p: o.Adadelta(p, lr=0.5, rho=0.95, eps=1e-4, weight_decay=0.1)),
    "adamax": trajectory(lambda p: o.Adamax(p, lr=0.05)),
    "adamax_l2": trajectory(lambda p: o.Adamax(p, betas=(0.8, 0.95), weight_decay=0.1)),
    "lion": keras_trajectory(keras.optimizers.Lion(learning_rate=0.01)),
    "lion_decay": keras_trajectory(
        keras.optimizers.Lion(learning_rate=0.01, beta_1=0.8, beta_2=0.95, weight_decay=0.1)),
    "lamb": keras_trajectory(keras.optimizers.Lamb(learning_rate=0.01, epsilon=1e-6)),
    "lamb_decay": lamb(0.01, 0.1),
    "lbfgs": lbfgs(lr=0.5, max_iter=3, history_size=2),
    "lbfgs_wolfe": lbfgs(max_iter=3, line_search_fn="strong_wolfe"),
}))
