"""Makes trajectories.json: what PyTorch's optimisers do to four parameters over 50 steps of gradients that are written
down as a formula. Run once with PyTorch 2: `python trajectories.py > trajectories.json`.
"""
import json
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


o = torch.optim
print(json.dumps({
    "sgd": trajectory(lambda p: o.SGD(p, lr=0.1)),
    "sgd_decay": trajectory(lambda p: o.SGD(p, lr=0.1, weight_decay=0.05)),
    "momentum": trajectory(lambda p: o.SGD(p, lr=0.05, momentum=0.9)),
    "nesterov": trajectory(lambda p: o.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)),
    "adam": trajectory(lambda p: o.Adam(p, lr=0.05)),
    "adam_l2": trajectory(lambda p: o.Adam(p, lr=0.05, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)),
    "adamw": trajectory(lambda p: o.AdamW(p, lr=0.05, weight_decay=0.1)),
}))
