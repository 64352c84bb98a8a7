//! What would change a text and is not done here. It is refused by its name: an answer that passed it over would look like the one that was
//! asked for. Names are those of OpenAI, vLLM and llama.cpp.

use serde_json::{Map, Value};

use super::refusal::Refusal;

/// Whether a value of a field asks for nothing.
type Harmless = fn(&Value) -> bool;

const UNSUPPORTED: &[(&str, Harmless)] = &[
    // How tokens are drawn.
    ("presence_penalty", nothing),
    ("frequency_penalty", nothing),
    ("logit_bias", nothing),
    ("no_repeat_ngram_size", nothing),
    ("typical_p", nothing_or_one),
    ("mirostat", nothing),
    ("dry_multiplier", nothing),
    ("xtc_probability", nothing),
    ("top_n_sigma", nothing_or_less),
    ("dynatemp_range", nothing),
    ("repeat_last_n", unset),
    ("samplers", nothing),
    ("length_penalty", nothing_or_one),
    ("use_beam_search", nothing),
    ("best_of", nothing_or_one),
    ("allowed_token_ids", nothing),
    ("bad_words", nothing),
    ("logits_processors", nothing),
    // What a text may be.
    ("response_format", of_text),
    ("modalities", of_text),
    ("audio", unset),
    ("grammar", nothing),
    ("json_schema", unset),
    ("verbosity", nothing),
    ("lora", nothing),
    ("structured_outputs", nothing),
    // Where it ends.
    ("stop_token_ids", nothing),
    ("ignore_eos", nothing),
    ("min_tokens", nothing),
    ("n_predict", unset),
    ("num_predict", unset),
    ("include_stop_str_in_output", nothing),
    ("skip_special_tokens", as_ever),
    // What is read before it.
    ("tools", nothing),
    ("functions", nothing),
    ("tool_choice", of_itself),
    ("function_call", of_itself),
    ("web_search_options", unset),
    ("documents", nothing),
    ("chat_template", nothing),
    ("add_special_tokens", as_ever),
    ("echo", nothing),
    ("chat_template_kwargs", nothing),
    ("add_generation_prompt", as_ever),
    ("continue_final_message", nothing),
    ("truncate_prompt_tokens", unset),
    ("prompt_logprobs", unset),
    ("prediction", unset),
    ("reasoning_effort", of_itself),
];

/// All of these begin so.
const GUIDED: &str = "guided_";

/// That none of these fields asks for what is not done.
pub(super) fn check(fields: &Map<String, Value>) -> Result<(), Refusal> {
    let asks = |name: &str, harmless: Harmless| fields.get(name).is_some_and(|value| !harmless(value));
    let named = UNSUPPORTED.iter().find(|(name, harmless)| asks(name, *harmless)).map(|(name, _)| *name);
    let guided = fields.iter().find(|(name, value)| name.starts_with(GUIDED) && !nothing(value));
    match named.or(guided.map(|(name, _)| name.as_str())) {
        Some(name) => Err(Refusal::unsupported(name)),
        None => Ok(()),
    }
}

/// What is empty, 0 or false.
pub(super) fn nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is) => !is,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

fn unset(value: &Value) -> bool {
    value.is_null()
}

fn nothing_or_less(value: &Value) -> bool {
    nothing(value) || value.as_f64().is_some_and(|number| number < 0.0)
}

fn nothing_or_one(value: &Value) -> bool {
    nothing(value) || value.as_f64() == Some(1.0)
}

/// What is done anyhow.
fn as_ever(value: &Value) -> bool {
    value.is_null() || value.as_bool() == Some(true)
}

/// Without tools there is nothing to choose.
fn of_itself(value: &Value) -> bool {
    nothing(value) || matches!(value.as_str(), Some("none" | "auto"))
}

/// Text, and nothing else: as the type of an answer, or the only one of several.
fn of_text(value: &Value) -> bool {
    let kinds = value.as_array();
    nothing(value)
        || value["type"] == "text"
        || kinds.is_some_and(|kinds| kinds.iter().all(|kind| kind == "text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_done_is_refused_and_what_asks_for_nothing_is_not() {
        let refused = |fields: Value| check(fields.as_object().unwrap()).is_err();
        for asked in [
            json!({"presence_penalty": 0.5}),
            json!({"tool_choice": "required"}),
            json!({"tool_choice": {"type": "function"}}),
            json!({"min_tokens": 1}),
            json!({"ignore_eos": true}),
            json!({"json_schema": {}}),
            json!({"guided_regex": "a+"}),
            json!({"add_generation_prompt": false}),
            json!({"response_format": {"type": "json_object"}}),
            json!({"modalities": ["text", "audio"]}),
            json!({"reasoning_effort": "low"}),
            json!({"n_predict": 5}),
            json!({"add_special_tokens": false}),
        ] {
            assert!(refused(asked.clone()), "{asked}");
        }
        let harmless = json!({
            "presence_penalty": 0, "logit_bias": {}, "tools": null, "tool_choice": "auto", "min_tokens": 0, "guided_json": null,
            "add_generation_prompt": true, "response_format": {"type": "text"}, "modalities": ["text"], "typical_p": 1.0, "user": "me",
            "reasoning_effort": "none", "chat_template": "", "guided_choice": [], "top_n_sigma": -1, "verbosity": null,
        });
        assert!(!refused(harmless));
    }
}
