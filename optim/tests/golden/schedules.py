"""Makes schedules.json: the learning rates of PyTorch's schedulers over 40 steps, for a rate of 1, and what
ReduceLROnPlateau makes of a series of losses. Run once with PyTorch 2: `python schedules.py > schedules.json`.
"""
import json
import torch
from torch.optim import lr_scheduler as s


def rates(make):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    rows = []
    for _ in range(40):
        rows.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rows


LOSSES = [1.0, 0.9, 0.95, 0.9, 0.91, 0.92, 0.8, 0.80001, 0.79999, 0.8, 0.81, 0.7, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]


def plateau(**settings):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = s.ReduceLROnPlateau(optimizer, **settings)
    rows = []
    for loss in LOSSES:
        scheduler.step(loss)
        rows.append(optimizer.param_groups[0]["lr"])
    return rows


print(json.dumps({
    "constant": rates(lambda o: s.ConstantLR(o, factor=1 / 3, total_iters=5)),
    "linear": rates(lambda o: s.LinearLR(o, start_factor=1 / 3, total_iters=5)),
    "step": rates(lambda o: s.StepLR(o, 7, gamma=0.5)),
    "multi_step": rates(lambda o: s.MultiStepLR(o, [3, 10, 11], gamma=0.3)),
    "exponential": rates(lambda o: s.ExponentialLR(o, 0.9)),
    "polynomial": rates(lambda o: s.PolynomialLR(o, total_iters=20, power=2.0)),
    "cosine": rates(lambda o: s.CosineAnnealingLR(o, T_max=39, eta_min=0.1)),
    "restarts": rates(lambda o: s.CosineAnnealingWarmRestarts(o, T_0=5, T_mult=2, eta_min=0.05)),
    "even_restarts": rates(lambda o: s.CosineAnnealingWarmRestarts(o, T_0=8)),
    "one_cycle": rates(lambda o: s.OneCycleLR(o, max_lr=1.0, total_steps=41)),
    "one_cycle_settings": rates(
        lambda o: s.OneCycleLR(o, max_lr=1.0, total_steps=41, pct_start=0.5, div_factor=10, final_div_factor=100)),
    "vaswani": rates(lambda o: s.LambdaLR(o, lambda t: 64 ** -0.5 * min((t + 1) ** -0.5, (t + 1) * 10 ** -1.5))),
    "chained": rates(lambda o: s.ChainedScheduler([s.ConstantLR(o, 0.5, 4), s.ExponentialLR(o, 0.95)])),
    "sequential": rates(lambda o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=5), s.ExponentialLR(o, 0.9), s.StepLR(o, 4)], milestones=[5, 20])),
    "plateau": plateau(factor=0.5, patience=2),
    "plateau_settings": plateau(factor=0.1, patience=1, cooldown=2, threshold=0.05, min_lr=0.005),
}))
