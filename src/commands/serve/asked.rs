//! What chats and completions ask alike: how a text is drawn, and where it ends. Names and ranges are OpenAI's, with those settings of
//! sampling beside them that are usual for open models.

use cairn::nn::generate::{Generate, Request, Sampling};
use cairn::tensor::Tensor;
use serde::Deserialize;
use serde_json::Value;

use super::refusal::Refusal;
use super::writer::Writer;

/// Most texts of a request, texts to stop at, and likeliest tokens that are told.
const MOST_TEXTS: usize = 16;
const MOST_STOPS: usize = 16;
const MOST_LIKELIEST: usize = 20;

/// The fields that both have.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Common {
    pub(super) model: Option<String>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<usize>,
    min_p: Option<f64>,
    repetition_penalty: Option<f64>,
    pub(super) n: Option<usize>,
    seed: Option<i64>,
    stop: Option<OneOrMany>,
    pub(super) stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    logit_bias: Option<Value>,
    tools: Option<Value>,
    response_format: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: bool,
}

/// A text, or a list of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn into_list(self) -> Vec<String> {
        match self {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(list) => list,
        }
    }
}

impl Common {
    /// That nothing is asked that would not be done.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let is_empty = |value: &Option<Value>| match value {
            None | Some(Value::Null) => true,
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Object(map)) => map.is_empty(),
            Some(_) => false,
        };
        let plain =
            |value: &Option<Value>| is_empty(value) || value.as_ref().is_some_and(|v| v["type"] == "text");
        let unsupported = [
            ("presence_penalty", self.presence_penalty.is_some_and(|x| x != 0.0)),
            ("frequency_penalty", self.frequency_penalty.is_some_and(|x| x != 0.0)),
            ("logit_bias", !is_empty(&self.logit_bias)),
            ("tools", !is_empty(&self.tools)),
            ("response_format", !plain(&self.response_format)),
        ];
        if let Some((name, _)) = unsupported.iter().find(|(_, asked)| *asked) {
            return Err(Refusal::bad(format!("`{name}` is not supported; leave it out")));
        }
        if !(1..=MOST_TEXTS).contains(&self.texts()) {
            return Err(Refusal::bad(format!(
                "`n` is {}; from 1 to {MOST_TEXTS} texts can be asked for",
                self.texts()
            )));
        }
        if self.stops().len() > MOST_STOPS {
            return Err(Refusal::bad(format!("`stop` can be at most {MOST_STOPS} texts")));
        }
        Ok(())
    }

    /// How many texts.
    pub(super) fn texts(&self) -> usize {
        self.n.unwrap_or(1)
    }

    pub(super) fn stops(&self) -> Vec<String> {
        self.stop.clone().map(OneOrMany::into_list).unwrap_or_default()
    }

    pub(super) fn streams(&self) -> bool {
        self.stream.unwrap_or(false)
    }

    pub(super) fn include_usage(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage)
    }

    /// How tokens are drawn: as the publisher suggests where nothing is said.
    fn sampling(&self, writer: &Writer) -> Result<Sampling, Refusal> {
        let mut sampling = writer.model.suggested();
        if let Some(temperature) = self.temperature {
            sampling = sampling.temperature(temperature);
        }
        if let Some(p) = self.top_p {
            sampling = sampling.top_p(p);
        }
        if let Some(k) = self.top_k {
            // 0 is said for all.
            sampling = sampling.top_k(if k == 0 { usize::MAX } else { k });
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
        if likeliest.is_some_and(|count| count > MOST_LIKELIEST) {
            return Err(Refusal::bad(format!("at most {MOST_LIKELIEST} likeliest tokens can be asked for")));
        }
        let most = self.max_completion_tokens.or(self.max_tokens).unwrap_or(most);
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
