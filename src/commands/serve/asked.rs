//! What chats and completions ask alike: how a text is drawn, and where it ends. Names and ranges are OpenAI's, with those settings of
//! sampling beside them that are usual for open models.

use cairn::nn::generate::{Generate, Request, Sampling};
use cairn::tensor::Tensor;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::refusal::Refusal;
use super::unsupported;
use super::writer::Writer;

/// Most texts of a prompt, texts to stop at, bytes of each of those, and likeliest tokens that are told.
const MOST_TEXTS: usize = 16;
const MOST_STOPS: usize = 16;
const LONGEST_STOP: usize = 1024;
const MOST_LIKELIEST: usize = 20;

/// The fields that both have.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Common {
    pub(super) model: Option<String>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<i64>,
    min_p: Option<f64>,
    /// llama.cpp has the other name.
    #[serde(alias = "repeat_penalty")]
    repetition_penalty: Option<f64>,
    pub(super) n: Option<usize>,
    seed: Option<i64>,
    stop: Option<OneOrMany>,
    pub(super) stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    /// All others.
    #[serde(flatten)]
    more: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// A text, or a list of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn list(&self) -> &[String] {
        match self {
            OneOrMany::One(text) => std::slice::from_ref(text),
            OneOrMany::Many(list) => list,
        }
    }
}

impl Common {
    /// That nothing is asked that would not be done.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        unsupported::check(&self.more)?;
        if !(1..=MOST_TEXTS).contains(&self.texts()) {
            return Err(Refusal::bad(format!(
                "`n` is {}; from 1 to {MOST_TEXTS} texts can be asked for",
                self.texts()
            )));
        }
        let stops = self.stops();
        if stops.len() > MOST_STOPS || stops.iter().any(|stop| stop.len() > LONGEST_STOP) {
            let most = format!("at most {MOST_STOPS} texts of at most {LONGEST_STOP} bytes each");
            return Err(Refusal::bad(format!("`stop` can be {most}")));
        }
        let most = [("max_tokens", self.max_tokens), ("max_completion_tokens", self.max_completion_tokens)];
        if let Some((name, _)) = most.iter().find(|(_, most)| most.is_some_and(|most| most < -1)) {
            return Err(Refusal::bad(format!(
                "`{name}` is below 0; -1 is said for as many as there is room for"
            )));
        }
        if self.top_k.is_some_and(|k| k < -1) {
            return Err(Refusal::bad("`top_k` is below 0; 0 and -1 are said for all tokens"));
        }
        Ok(())
    }

    /// How many texts of each prompt.
    pub(super) fn texts(&self) -> usize {
        self.n.unwrap_or(1)
    }

    pub(super) fn stops(&self) -> &[String] {
        self.stop.as_ref().map(OneOrMany::list).unwrap_or_default()
    }

    pub(super) fn streams(&self) -> bool {
        self.stream.unwrap_or(false)
    }

    pub(super) fn include_usage(&self) -> bool {
        self.stream_options.as_ref().and_then(|options| options.include_usage).unwrap_or(false)
    }

    /// How tokens are drawn: as the publisher suggests where nothing is said.
    fn sampling(&self, writer: &Writer) -> Result<Sampling, Refusal> {
        let mut sampling = writer.model.suggested();
        if let Some(temperature) = self.temperature {
            sampling = sampling.temperature(temperature);
        }
        match self.top_p {
            // The smallest set of tokens there is: the likeliest alone.
            Some(0.0) => sampling = sampling.temperature(0.0),
            Some(p) => sampling = sampling.top_p(p),
            None => {}
        }
        if let Some(k) = self.top_k {
            sampling =
                sampling.top_k(if k < 1 { usize::MAX } else { usize::try_from(k).unwrap_or(usize::MAX) });
        }
        if let Some(p) = self.min_p {
            sampling = sampling.min_p(p);
        }
        if let Some(penalty) = self.repetition_penalty {
            sampling = sampling.repetition_penalty(penalty);
        }
        // What is out of range is told before anything is computed.
        sampling.probabilities(&Tensor::zeros([1]).map_err(cairn::nn::Error::from)?)?;
        Ok(sampling)
    }

    /// The request for each of the texts that continue a prompt.
    pub(super) fn requests(
        &self,
        writer: &Writer,
        prompt: &[u32],
        most: usize,
        likeliest: Option<usize>,
    ) -> Result<Vec<Request>, Refusal> {
        if prompt.len() >= writer.capacity {
            return Err(Refusal::too_long(prompt.len(), writer.capacity));
        }
        let vocabulary = writer.model.vocabulary();
        if let Some(id) = prompt.iter().find(|&&id| id as usize >= vocabulary) {
            return Err(Refusal::bad(format!(
                "the prompt has the token {id}; the model has {vocabulary} tokens"
            )));
        }
        if likeliest.is_some_and(|count| count > MOST_LIKELIEST) {
            return Err(Refusal::bad(format!("at most {MOST_LIKELIEST} likeliest tokens can be asked for")));
        }
        // As llama.cpp has it, -1 is until there is no more room.
        let most = self
            .max_completion_tokens
            .or(self.max_tokens)
            .map_or(most, |most| usize::try_from(most).unwrap_or(usize::MAX));
        let settings = Generate::new(most).sampling(self.sampling(writer)?);
        let seed = self.seed.map_or_else(any_seed, |seed| seed as u64);
        let requests = (0..self.texts() as u64).map(|text| {
            let settings = settings.clone().seed(seed.wrapping_add(text));
            let request = Request::new(prompt, settings);
            likeliest.into_iter().fold(request, Request::log_probabilities)
        });
        Ok(requests.collect())
    }
}

/// Another one each time.
fn any_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn common(fields: Value) -> Common {
        serde_json::from_value(fields).unwrap()
    }

    #[test]
    fn stops_are_few_and_short() {
        let refused = |stop: Value| common(json!({ "stop": stop })).check().is_err();
        assert!(refused(json!(vec!["x"; 17])) && refused(json!("x".repeat(1025))));
        assert!(!refused(json!(vec!["x".repeat(1024); 16])) && !refused(json!(null)));
        assert_eq!(common(json!({"stop": "end"})).stops(), ["end"]);
    }

    #[test]
    fn fields_that_are_null_or_say_all_are_none() {
        let asked = common(json!({"stream_options": {"include_usage": null}, "top_k": -1, "n": null}));
        assert!(asked.check().is_ok() && !asked.include_usage());
        assert!(common(json!({"top_k": -2})).check().is_err());
        for name in ["max_tokens", "max_completion_tokens"] {
            assert!(common(json!({ name: -1 })).check().is_ok());
            assert!(common(json!({ name: -2 })).check().is_err());
        }
        // Whatever has no name of its own here is looked at all the same.
        assert!(common(json!({"min_tokens": 5})).check().is_err());
    }
}
