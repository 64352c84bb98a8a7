"""An embedding tied to an output layer, trained by PyTorch in double precision.

usage: python tied.py           writes tied.safetensors beside this file (needs torch, numpy and safetensors)

logits = tanh(E[ids] W^T + b) E^T, cross-entropy, plain gradient descent of 0.5 for six steps. The file holds the parameters
before (`start.…`) and after (`end.…`) in PyTorch's layout, `ids`, `labels`, the `losses` of the steps, and the gradient of
the table at the first.
"""
import pathlib
import numpy as np
import torch
from safetensors.numpy import save_file

torch.manual_seed(0)
VOCABULARY, DIM, STEPS, RATE = 11, 6, 6, 0.5

embedding = torch.nn.Embedding(VOCABULARY, DIM)
hidden = torch.nn.Linear(DIM, DIM)
output = torch.nn.Linear(DIM, VOCABULARY, bias=False)
output.weight = embedding.weight  # one parameter under two names
model = torch.nn.ModuleDict({"embed": embedding, "hidden": hidden, "output": output})
start = {name: value.float().clone() for name, value in model.state_dict().items()}
model.double()

ids = torch.randint(VOCABULARY, (4, 5))
labels = torch.randint(VOCABULARY, (4, 5))
optimiser = torch.optim.SGD(model.parameters(), lr=RATE)
losses, gradient = [], None
for _ in range(STEPS):
    logits = output(torch.tanh(hidden(embedding(ids))))
    loss = torch.nn.functional.cross_entropy(logits.reshape(-1, VOCABULARY), labels.reshape(-1))
    optimiser.zero_grad()
    loss.backward()
    gradient = embedding.weight.grad.clone() if gradient is None else gradient
    losses.append(loss.item())
    optimiser.step()

out = {f"start.{name}": value.numpy() for name, value in start.items()}
out |= {f"end.{name}": value.float().numpy() for name, value in model.state_dict().items()}
out |= {"ids": ids.numpy(), "labels": labels.numpy(), "losses": np.array(losses, np.float32),
        "gradient": gradient.float().numpy()}
save_file({name: np.ascontiguousarray(value) for name, value in out.items()},
          pathlib.Path(__file__).with_name("tied.safetensors"), metadata={"made by": "tied.py"})
print("losses", losses, "torch", torch.__version__)
