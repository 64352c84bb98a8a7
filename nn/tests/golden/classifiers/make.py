"""Writes NAME beside this: small random classifiers as Hugging Face publishes them, and what transformers computes with them.

    pip install torch transformers && python nn/tests/golden/classifiers/make.py

Each folder holds config.json and model.safetensors, and expected.safetensors with `tokens` [2, 12] and the `logits` [2, 3] of both rows,
and `padded`, those of the second row cut to 7 tokens and padded. Weights are drawn widely, so that a wrong layer shows.
"""

from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

HERE = Path(__file__).parent
SMALL = dict(vocab_size=48, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=4, max_position_embeddings=20)
LABELS = dict(id2label={0: "bad", 1: "middling", 2: "good"}, label2id={"bad": 0, "middling": 1, "good": 2})
CASES = {
    "bert": transformers.BertConfig(**SMALL, **LABELS),
    "distilbert": transformers.DistilBertConfig(
        vocab_size=48, dim=16, hidden_dim=24, n_layers=1, n_heads=4, max_position_embeddings=20, **LABELS
    ),
    "roberta": transformers.RobertaConfig(**SMALL, pad_token_id=1, **LABELS),
}


def main():
    torch.manual_seed(2)
    for name, config in CASES.items():
        model = transformers.AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").eval()
        with torch.no_grad():
            for key, value in model.named_parameters():
                value.uniform_(0.5, 1.5) if value.ndim == 1 and key.endswith("weight") else value.uniform_(-0.4, 0.4)
        model.save_pretrained(HERE / name)
        tokens = torch.randint(2, 48, (2, 12))
        mask = torch.ones_like(tokens)
        mask[1, 7:] = 0
        with torch.no_grad():
            logits = model(input_ids=tokens).logits
            padded = model(input_ids=tokens, attention_mask=mask).logits[1]
        expected = {"tokens": tokens.to(torch.uint32), "logits": logits.contiguous(), "padded": padded.contiguous()}
        save_file(expected, HERE / name / "expected.safetensors")


if __name__ == "__main__":
    main()
