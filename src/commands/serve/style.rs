//! How texts are told: as chats or as completions, whole or in a stream of events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use cairn::nn::generate::Usage;
use serde_json::{Map, Value, json};

use super::writer::{Ended, Scored, Writer};

/// The answer to one request.
#[derive(Debug)]
pub(super) struct Style {
    pub(super) chat: bool,
    pub(super) writer: Arc<Writer>,
    pub(super) model: String,
    /// Whether log-probabilities are told.
    pub(super) scores: bool,
    id: String,
    created: u64,
}

impl Style {
    pub(super) fn new(chat: bool, writer: Arc<Writer>, model: String, scores: bool) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let kind = if chat { "chatcmpl" } else { "cmpl" };
        let id = format!("{kind}-{:x}{:06x}", since.as_micros(), COUNT.fetch_add(1, Relaxed));
        Style { chat, writer, model, scores, id, created: since.as_secs() }
    }

    /// An answer around its choices.
    fn around(&self, object: &str, choices: &Value) -> Value {
        json!({
            "id": self.id, "object": object, "created": self.created, "model": self.model, "choices": choices,
            "system_fingerprint": null,
        })
    }

    fn event(&self, choices: &Value) -> Value {
        self.around(if self.chat { "chat.completion.chunk" } else { "text_completion" }, choices)
    }

    /// The event with which a text begins, if there is one.
    pub(super) fn begin(&self, index: usize) -> Option<Value> {
        let delta = json!({"role": "assistant", "content": ""});
        self.chat.then(|| {
            self.event(&json!([{"index": index, "delta": delta, "logprobs": null, "finish_reason": null}]))
        })
    }

    /// The event of a piece.
    pub(super) fn piece(&self, index: usize, text: &str, tokens: &[Scored]) -> Value {
        let scores = self.scores(tokens);
        self.event(&json!([if self.chat {
            json!({"index": index, "delta": {"content": text}, "logprobs": scores, "finish_reason": null})
        } else {
            json!({"index": index, "text": text, "logprobs": scores, "finish_reason": null})
        }]))
    }

    /// The event with which a text ends.
    pub(super) fn end(&self, index: usize, ended: &Ended) -> Value {
        let reason = reason(ended);
        self.event(&json!([if self.chat {
            json!({"index": index, "delta": {}, "logprobs": null, "finish_reason": reason})
        } else {
            json!({"index": index, "text": "", "logprobs": null, "finish_reason": reason})
        }]))
    }

    /// The last event, where usage is asked for.
    pub(super) fn used(&self, usage: &Used) -> Value {
        let mut event = self.event(&json!([]));
        event["usage"] = usage.to_json();
        event
    }

    /// The whole answer.
    pub(super) fn whole(&self, texts: &[(String, Vec<Scored>, Ended)], usage: &Used) -> Value {
        let choices = texts.iter().enumerate().map(|(index, (text, tokens, ended))| {
            let (scores, reason) = (self.scores(tokens), reason(ended));
            if self.chat {
                let message = json!({"role": "assistant", "content": text, "refusal": null});
                json!({"index": index, "message": message, "logprobs": scores, "finish_reason": reason})
            } else {
                json!({"index": index, "text": text, "logprobs": scores, "finish_reason": reason})
            }
        });
        let object = if self.chat { "chat.completion" } else { "text_completion" };
        let mut whole = self.around(object, &choices.collect());
        whole["usage"] = usage.to_json();
        whole
    }

    /// Log-probabilities of tokens, or null where nobody asked.
    fn scores(&self, tokens: &[Scored]) -> Value {
        if !self.scores {
            return Value::Null;
        }
        if self.chat {
            let content = tokens.iter().map(|Scored { id, scores, .. }| {
                let mut entry = self.token(*id, scores.log_probability);
                let likeliest = scores.likeliest.iter().map(|&(id, value)| self.token(id, value));
                entry["top_logprobs"] = likeliest.collect();
                entry
            });
            return json!({"content": content.collect::<Vec<_>>(), "refusal": null});
        }
        let (mut texts, mut values, mut likeliest, mut offsets) = (vec![], vec![], vec![], vec![]);
        for Scored { id, at, scores } in tokens {
            offsets.push(*at);
            texts.push(self.text(*id));
            values.push(scores.log_probability);
            let all = scores.likeliest.iter().map(|&(id, value)| (self.text(id), json!(value)));
            likeliest.push(Value::Object(all.collect::<Map<_, _>>()));
        }
        json!({"tokens": texts, "token_logprobs": values, "top_logprobs": likeliest, "text_offset": offsets})
    }

    fn token(&self, id: u32, value: f64) -> Value {
        let bytes = self.writer.model.tokenizer().bytes(id).unwrap_or_default();
        json!({"token": self.text(id), "logprob": value, "bytes": bytes})
    }

    fn text(&self, id: u32) -> String {
        self.writer.model.tokenizer().decode_all(&[id]).unwrap_or_default()
    }
}

fn reason(ended: &Ended) -> &'static str {
    match ended {
        Ended::Length => "length",
        Ended::Stop | Ended::Failed(_) => "stop",
    }
}

/// Tokens of the texts of a request.
#[derive(Debug, Default)]
pub(super) struct Used {
    prompt: usize,
    cached: usize,
    written: usize,
}

impl Used {
    /// Of prompts with so many tokens together.
    pub(super) fn of(prompt: usize) -> Self {
        Used { prompt, ..Used::default() }
    }

    pub(super) fn add(&mut self, usage: Usage) {
        self.cached += usage.cached;
        self.written += usage.written;
    }

    fn to_json(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt, "completion_tokens": self.written,
            "total_tokens": self.prompt + self.written,
            // Of several texts of one prompt all but the first find it there.
            "prompt_tokens_details": {"cached_tokens": self.cached.min(self.prompt)},
        })
    }
}
