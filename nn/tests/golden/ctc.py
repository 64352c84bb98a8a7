"""Makes ctc.safetensors: PyTorch's CTC loss and its gradients with respect to logits, for sequences and labels of other lengths.
Run once: python ctc.py
"""
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(3)
tensors = {}


def case(name, time, classes, blank, lengths, labels, skip=False):
    logits = (torch.randn(len(labels), time, classes) * 2).requires_grad_()
    flat = torch.tensor([label for row in labels for label in row])
    losses = F.ctc_loss(logits.log_softmax(-1).transpose(0, 1), flat, torch.tensor(lengths),
                        torch.tensor([len(row) for row in labels]), blank=blank, reduction="none",
                        zero_infinity=skip)
    weights = torch.arange(1.0, len(labels) + 1)
    (losses * weights).sum().backward()
    most = max(map(len, labels))
    padded = torch.tensor([row + [999] * (most - len(row)) for row in labels])
    tensors.update({f"{name}/logits": logits.detach(), f"{name}/losses": losses.detach(), f"{name}/gradient": logits.grad,
                    f"{name}/lengths": torch.tensor(lengths), f"{name}/labels": padded.reshape(len(labels), most)})


case("plain", 6, 4, 0, [6, 6], [[1, 2, 3], [3, 1]])
case("repeated", 7, 4, 0, [7, 7, 7], [[1, 1, 1], [2, 2, 3], [1]])
case("ragged", 9, 5, 0, [9, 4, 1, 6], [[1, 2, 3, 4, 4], [1, 1], [2], [3, 1, 2, 4, 1, 3]])
case("last_blank", 6, 4, 3, [6, 5], [[0, 0, 2], [1]])
case("empty", 4, 3, 0, [4, 3], [[], [1]])
# The second sequence is too short for its labels, the third for the blank between them.
case("skipped", 6, 4, 0, [6, 2, 3, 5], [[1, 2, 2], [3, 1, 2], [2, 2, 2], [1, 3]], skip=True)
save_file({k: v.contiguous() for k, v in tensors.items()}, "ctc.safetensors", metadata={"made by": "ctc.py"})
