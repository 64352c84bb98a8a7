"""Compares the ids that `cairn tokenize` gives for a whole text with those of Hugging Face's tokenizer: nothing of the text is kept.

    pip install tokenizers transformers gguf torch
    cargo build --release --features cli
    python nn/tests/compare_tokens.py target/release/cairn MODEL TEXT

MODEL is a folder with tokenizer.json, or a GGUF file, TEXT a file of UTF-8: WikiText-2's test text, say.
"""

import json
import pathlib
import subprocess
import sys


def reference(model, text):
    if model.is_dir():
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer.encode(text).ids
    from gguf import GGUFReader
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(model.parent), gguf_file=model.name).backend_tokenizer
    pre = GGUFReader(model).get_field("tokenizer.ggml.pre")
    if pre is not None and pre.contents() == "smollm":
        # transformers' conversion of GGUF leaves out what SmolLM's own tokenizer.json says: digits are cut one by one.
        level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level])
    return tokenizer.encode(text, add_special_tokens=False).ids


def main():
    program, model, file = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    ours = json.loads(subprocess.run([program, "tokenize", model, file, "--json"], check=True, capture_output=True).stdout)["ids"]
    theirs = reference(model, file.read_bytes().decode())
    if ours != theirs:
        at = next((i for i, pair in enumerate(zip(ours, theirs)) if pair[0] != pair[1]), min(len(ours), len(theirs)))
        sys.exit(f"{len(ours)} ids, the reference has {len(theirs)}; they differ from place {at} on: {ours[at:at + 5]} and {theirs[at:at + 5]}")
    print(f"all {len(ours)} ids are the same")


if __name__ == "__main__":
    main()
