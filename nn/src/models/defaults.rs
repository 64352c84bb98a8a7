//! What transformers takes for settings that a file leaves out. The files of Gemma 3 from 4 billion values on say only what differs from its
//! code; those of all other models here say all that matters.

use super::Config;

/// Sizes of Gemma 3 (`Gemma3TextConfig`).
const SIZES: [(&str, u64); 10] = [
    ("vocab_size", 262_208),
    ("hidden_size", 2304),
    ("intermediate_size", 9216),
    ("num_hidden_layers", 26),
    ("num_attention_heads", 8),
    ("num_key_value_heads", 4),
    ("head_dim", 256),
    ("max_position_embeddings", 131_072),
    ("query_pre_attn_scalar", 256),
    ("sliding_window", 4096),
];
/// The bases of its angles, in layers that look at everything and in those with a window, where they are not said by kinds of layers.
const BASES: [(&str, f64); 2] = [("rope_theta", 1e6), ("rope_local_base_freq", 1e4)];

/// Adds what is left out.
pub(super) fn fill(config: &mut Config) {
    if config.text("model_type") != Some("gemma3_text") {
        return;
    }
    for (key, value) in SIZES {
        if !config.has(key) {
            config.set(key, value);
        }
    }
    let by_kinds = config.has("rope_parameters");
    for (key, value) in BASES {
        if !by_kinds && !config.has(key) {
            config.set(key, value);
        }
    }
}
