"""Writes NAME beside this: adapters of the small random models in ../models as peft writes them, and what peft computes with them.

    pip install torch transformers peft && python nn/tests/golden/adapters/make.py

Each folder holds adapter_config.json, adapter_model.safetensors, and expected.safetensors with `tokens` [2, 12] and the `outputs` of the
model with its adapters: logits, of encoders the states. Matrices are drawn widely, so that a wrong scale or order shows.
"""

from pathlib import Path

import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
MODELS = HERE.parent / "models"
CASES = {
    "llama": LoraConfig(
        task_type="CAUSAL_LM", r=4, lora_alpha=6, use_rslora=True, target_modules=["q_proj", "k_proj", "v_proj", "down_proj"],
        rank_pattern={"down_proj": 2}, alpha_pattern={"layers.1.self_attn.v_proj": 3},
    ),
    "gpt2": LoraConfig(
        task_type="CAUSAL_LM", r=3, lora_alpha=5, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True,
        layers_to_transform=[1], layers_pattern="h",
    ),
    "bert": LoraConfig(task_type="FEATURE_EXTRACTION", r=2, lora_alpha=4, target_modules=["query", "value"]),
}


def main():
    torch.manual_seed(1)
    for name, settings in CASES.items():
        kind = transformers.AutoModelForCausalLM if settings.task_type == "CAUSAL_LM" else transformers.AutoModel
        model = kind.from_pretrained(MODELS / name, dtype=torch.float32)
        model = get_peft_model(model, settings).eval()
        with torch.no_grad():
            for key, value in model.named_parameters():
                if "lora_" in key:
                    value.uniform_(-0.5, 0.5)
        tokens = load_file(MODELS / name / "expected.safetensors")["tokens"].long()
        with torch.no_grad():
            found = model(input_ids=tokens)
        outputs = found.logits if settings.task_type == "CAUSAL_LM" else found.last_hidden_state
        model.peft_config["default"].base_model_name_or_path = name
        model.save_pretrained(HERE / name)
        (HERE / name / "README.md").unlink(missing_ok=True)
        save_file({"tokens": tokens.int(), "outputs": outputs.contiguous()}, HERE / name / "expected.safetensors")


if __name__ == "__main__":
    main()
