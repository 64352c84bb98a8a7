"""Writes NAME beside this: small random models as Hugging Face publishes them, and what transformers computes with them.

    pip install torch transformers && python nn/tests/golden/models/make.py

Each folder holds config.json and model.safetensors, and expected.safetensors with `tokens` [2, 12], the `logits` (of encoders the
`states`) of all positions, and of decoders `greedy`, the 8 tokens that follow the first row. Encoders also have the states of the
second row cut to 7 tokens and padded (`padded`). Weights are drawn widely, so that a wrong norm, rotation or window shows.
"""

from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

HERE = Path(__file__).parent
SMALL = dict(vocab_size=48, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4)
GROUPED = SMALL | dict(num_key_value_heads=2, max_position_embeddings=64)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8)
BERT = SMALL | dict(max_position_embeddings=20)


def rope(**more):
    return dict(rope_theta=100.0, rope_type="default") | more


CASES = {
    "llama": transformers.LlamaConfig(**GROUPED, rope_parameters=rope(), tie_word_embeddings=False),
    "llama3": transformers.LlamaConfig(**GROUPED, rope_parameters=rope() | LLAMA3, tie_word_embeddings=True),
    "mistral": transformers.MistralConfig(**GROUPED, rope_parameters=rope(), sliding_window=4, head_dim=6),
    "qwen2": transformers.Qwen2Config(**GROUPED, rope_parameters=rope(), tie_word_embeddings=True),
    "qwen3": transformers.Qwen3Config(**GROUPED, rope_parameters=rope(), head_dim=8, tie_word_embeddings=True),
    "gemma3": transformers.Gemma3TextConfig(
        **GROUPED, head_dim=8, sliding_window=4, query_pre_attn_scalar=12, layer_types=["sliding_attention", "full_attention"],
        rope_parameters={"sliding_attention": rope(), "full_attention": rope(rope_theta=1000.0, rope_type="linear", factor=2.0)},
    ),
    "gpt2": transformers.GPT2Config(vocab_size=48, n_embd=16, n_layer=2, n_head=4, n_positions=32),
    "bert": transformers.BertConfig(**BERT),
    "distilbert": transformers.DistilBertConfig(
        vocab_size=48, dim=16, hidden_dim=24, n_layers=2, n_heads=4, max_position_embeddings=20
    ),
    "roberta": transformers.RobertaConfig(**BERT, pad_token_id=1),
    "gpt2_scaled": transformers.GPT2Config(
        vocab_size=48, n_embd=16, n_layer=3, n_head=4, n_positions=32, scale_attn_weights=False,
        scale_attn_by_inverse_layer_idx=True, tie_word_embeddings=False,
    ),
}
# Those of Gemma as GGUF files can say them: scores are divided by the root of a head's size; of Gemma 3's layers every sixth looks at
# everything, and the others turn by a base of 10,000. Caps are small enough to show.
GEMMAS = {
    "gemma2": transformers.Gemma2Config(
        **GROUPED, head_dim=8, sliding_window=4, rope_parameters=rope(), query_pre_attn_scalar=8, attn_logit_softcapping=0.5,
        final_logit_softcapping=3.0,
    ),
    "gemma3_six": transformers.Gemma3TextConfig(
        **GROUPED | dict(num_hidden_layers=6, num_attention_heads=2, num_key_value_heads=1), head_dim=8, sliding_window=4,
        query_pre_attn_scalar=8, layer_types=5 * ["sliding_attention"] + ["full_attention"],
        rope_parameters={"sliding_attention": rope(rope_theta=10000.0), "full_attention": rope(rope_theta=1000.0, rope_type="linear", factor=2.0)},
    ),
}


def drawn(model):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and name.endswith("weight"):
                # Gemma's scales are one more than what is stored.
                parameter.uniform_(-0.5, 0.5) if "gemma" in model.config.model_type else parameter.uniform_(0.5, 1.5)
            else:
                parameter.uniform_(-0.4, 0.4)
    return model.eval()


def decoder(name, config, tokens):
    model = drawn(transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager"))
    model.save_pretrained(HERE / name)
    # All tokens are words here.
    model.generation_config.eos_token_id = None
    greedy = model.generate(tokens[:1], max_new_tokens=8, do_sample=False, pad_token_id=0)
    return {"logits": model(tokens).logits, "greedy": greedy[0, tokens.shape[1]:].to(torch.uint32)}


def encoder(name, config, tokens):
    model = drawn(transformers.AutoModel.from_config(config, attn_implementation="eager"))
    model.save_pretrained(HERE / name)
    mask = torch.ones_like(tokens)
    mask[1, 7:] = 0
    padded = torch.where(mask == 1, tokens, config.pad_token_id)
    states = model(padded, attention_mask=mask).last_hidden_state
    return {"states": model(tokens).last_hidden_state, "padded": states[1, :7]}


for number, (name, config) in [*enumerate(CASES.items()), *enumerate(GEMMAS.items(), 100)]:
    torch.manual_seed(number)
    # No padding, begin or end among them.
    tokens = torch.randint(3, 48, (2, 12))
    with torch.no_grad():
        is_encoder = "bert" in config.model_type
        expected = (encoder if is_encoder else decoder)(name, config, tokens)
    expected = {key: value.clone().contiguous() for key, value in expected.items()}
    save_file(expected | {"tokens": tokens.to(torch.uint32)}, HERE / name / "expected.safetensors")
    (HERE / name / "generation_config.json").unlink(missing_ok=True)
