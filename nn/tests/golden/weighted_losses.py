"""Makes weighted_losses.json: PyTorch's cross-entropy with label smoothing and class weights, and its gradient. Run once with
PyTorch 2: `python weighted_losses.py > weighted_losses.json`.
"""
import json
import torch

logits = [[0.5, -1.0, 2.0], [1.5, 0.25, -0.5], [-0.75, 0.0, 0.5], [3.0, -2.0, 1.0]]
labels = torch.tensor([2, 1, 0, 2])
out = {"logits": sum(logits, []), "labels": labels.tolist()}
for name, settings in {
    "smooth": {"label_smoothing": 0.1},
    "weighted": {"weight": torch.tensor([0.5, 2.0, 1.25])},
    "both": {"label_smoothing": 0.2, "weight": torch.tensor([0.5, 2.0, 1.25])},
}.items():
    x = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(x, labels, **settings)
    loss.backward()
    out[name] = {"loss": loss.item(), "gradient": x.grad.flatten().tolist()}
print(json.dumps(out))
