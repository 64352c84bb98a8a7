"""Writes MODEL.golden.json beside a chat model MODEL.gguf: what transformers makes of three questions with the file's weights as f32, for
`cargo xtask e2e --only lm` to compare with. It is computed from published weights, and belongs beside them, not into a repository.

    pip install torch transformers accelerate gguf
    python nn/tests/chat_tokens.py DATA/models/SmolLM2-135M-Instruct.Q4_1.gguf

Of each question the file has the tokens of the conversation (`prompt`), the 64 likeliest tokens one after the other, or up to the one that
ends the answer (`written`), and the 20 likeliest first ones with their scores (`scores`).
"""

import argparse
import json
import pathlib

import torch
import transformers
from gguf import GGUFReader

from compare_tokens import reference

QUESTIONS = ["Why is the sky blue?", "Name three rivers.", "What is 12 + 7? Answer in a word."]

parser = argparse.ArgumentParser()
parser.add_argument("model", type=pathlib.Path)
parser.add_argument("--tokens", type=int, default=64, help="written for each question")
parser.add_argument("--out", type=pathlib.Path, help="another file to write")
arguments = parser.parse_args()

path = arguments.model
fields = GGUFReader(path).fields
template = fields["tokenizer.chat_template"].contents()
end = fields["tokenizer.ggml.eos_token_id"].contents()
tokenizer = transformers.AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
model = transformers.AutoModelForCausalLM.from_pretrained(str(path.parent), gguf_file=path.name, dtype=torch.float32).eval()

texts = []
for question in QUESTIONS:
    messages = [{"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, add_generation_prompt=True)
    prompt = reference(path, text)
    written, scores, cache, ids = [], None, None, prompt
    while len(written) < arguments.tokens:
        with torch.no_grad():
            output = model(torch.tensor([ids]), past_key_values=cache, use_cache=True)
        last, cache = output.logits[0, -1], output.past_key_values
        if scores is None:
            best = last.topk(20)
            scores = [[token, score] for token, score in zip(best.indices.tolist(), best.values.tolist())]
        token = int(last.argmax())
        if token == end:
            break
        written.append(token)
        ids = [token]
    texts.append({"question": question, "prompt": prompt, "written": written, "scores": scores})

out = arguments.out or path.with_suffix(".golden.json")
out.write_text(json.dumps({"transformers": transformers.__version__, "texts": texts}) + "\n")
print(f"{out}: {', '.join(str(len(text['written'])) for text in texts)} tokens written")
