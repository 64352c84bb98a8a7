"""Writes torch_rows.safetensors: a network with layer and root mean square normalisation, an input and its output, by PyTorch.

    pip install torch safetensors && python nn/tests/golden/make_rows.py
"""

from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file

torch.manual_seed(0)
model = torch.nn.Sequential(
    OrderedDict(
        dense=torch.nn.Linear(6, 5),
        layer_norm=torch.nn.LayerNorm(5),
        relu=torch.nn.ReLU(),
        dense_1=torch.nn.Linear(5, 4),
        rms_norm=torch.nn.RMSNorm(4, eps=1e-6),
    )
)
with torch.no_grad():
    for parameter in model.parameters():
        parameter.uniform_(-1, 1)
    x = torch.randn(7, 6) * 3
    y = model(x)
tensors = {name: value.clone().contiguous() for name, value in model.state_dict().items()}
save_file(tensors | {"input": x, "output": y}, Path(__file__).parent / "torch_rows.safetensors")
