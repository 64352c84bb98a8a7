//! What is asked at each path.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use cairn::nn::generate::Request;
use cairn::nn::language::{Encoder, Message};
use cairn::tensor::Tensor;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::{How, answer};
use super::asked::Common;
use super::gate::blocking;
use super::models::Kind;
use super::prompt::{self, Prompt};
use super::refusal::{Refusal, json_response};
use super::style::Style;
use super::unsupported::nothing;
use super::writer::Writer;
use super::{Shared, body};
use crate::commands::output::number;
use crate::commands::recommender::Asked;

type Answer = Result<Response, Refusal>;

/// What the server itself gives the template of conversations.
const OWN_VALUES: [&str; 4] = ["messages", "add_generation_prompt", "bos_token", "eos_token"];

fn ok(value: &Value) -> Answer {
    Ok(json_response(StatusCode::OK, value))
}

#[derive(Debug, Deserialize)]
struct Chat {
    messages: Vec<Said>,
    #[serde(default)]
    logprobs: Option<bool>,
    #[serde(default)]
    top_logprobs: Option<usize>,
    /// What the template of conversations is given beside them.
    #[serde(default)]
    chat_template_kwargs: Option<Map<String, Value>>,
    #[serde(flatten)]
    common: Common,
}

impl Chat {
    /// That nothing is asked that would not be done.
    fn check(&self) -> Result<(), Refusal> {
        self.common.check()?;
        if self.messages.is_empty() {
            return Err(Refusal::bad("`messages` is empty"));
        }
        if !self.logprobs.unwrap_or(false) && self.top_logprobs.is_some_and(|count| count > 0) {
            return Err(Refusal::bad("`top_logprobs` is asked for without `logprobs`"));
        }
        let mut values = self.chat_template_kwargs.iter().flat_map(Map::keys);
        match values.find(|name| OWN_VALUES.contains(&name.as_str())) {
            Some(name) => {
                Err(Refusal::bad(format!("`{name}` of `chat_template_kwargs` is for the server to say")))
            }
            None => Ok(()),
        }
    }
}

/// A message as clients send it.
#[derive(Debug, Deserialize)]
struct Said {
    role: String,
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    tool_calls: Option<Value>,
    #[serde(default)]
    function_call: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Value>),
}

impl Said {
    fn message(self) -> Result<Message, Refusal> {
        for (name, calls) in [("tool_calls", &self.tool_calls), ("function_call", &self.function_call)] {
            if calls.as_ref().is_some_and(|calls| !nothing(calls)) {
                return Err(Refusal::unsupported(name));
            }
        }
        if matches!(&*self.role, "tool" | "function") {
            return Err(Refusal::bad(format!("messages of the role `{}` are not supported", self.role)));
        }
        let role = if self.role == "developer" { "system".to_owned() } else { self.role };
        let content = match self.content {
            None => String::new(),
            Some(Content::Text(text)) => text,
            Some(Content::Parts(parts)) => {
                let texts = parts.iter().map(|part| {
                    let text = part["text"].as_str().filter(|_| part["type"] == "text");
                    text.ok_or_else(|| Refusal::bad("a message can be made of parts of type `text` alone"))
                });
                texts.collect::<Result<String, _>>()?
            }
        };
        Ok(Message { role, content })
    }
}

pub(super) async fn chat(State(shared): State<Shared>, body: Body) -> Answer {
    let asked: Chat = body::read(body, shared.body_limit).await?;
    asked.check()?;
    let (model, writer) = shared.models.find(asked.common.model.as_deref(), "writes texts", Kind::writer)?;
    let scores = asked.logprobs.unwrap_or(false);
    let likeliest = scores.then_some(asked.top_logprobs.unwrap_or(0));
    let style = Style::new(true, writer.clone(), model.name.clone(), scores);
    let messages = asked.messages.into_iter().map(Said::message).collect::<Result<Vec<_>, _>>()?;
    let (common, values) = (asked.common, asked.chat_template_kwargs.unwrap_or_default());
    let places = writer.places(common.texts())?;
    let (common, requests, prompt, places) = blocking(move || {
        let prompt = written(&writer, &messages, &values)?;
        let requests = common.requests(&writer, &prompt, usize::MAX, likeliest)?;
        Ok((common, requests, prompt.len(), places))
    })
    .await?;
    answer(style, requests, places, how(&common, prompt)).await
}

/// The tokens of a conversation up to the next answer, unless its text alone is too long.
fn written(writer: &Writer, messages: &[Message], values: &Map<String, Value>) -> Result<Vec<u32>, Refusal> {
    let Some(template) = writer.model.template() else {
        return Ok(writer.model.prompt_with(messages, values)?);
    };
    let text = template.render_with(messages, true, values)?;
    writer.check_length(&text)?;
    Ok(writer.model.tokenizer().encode_bare(&text)?)
}

fn how(common: &Common, prompt: usize) -> How {
    How {
        stops: common.stops().into(),
        stream: common.streams(),
        include_usage: common.include_usage(),
        prompt,
    }
}

#[derive(Debug, Deserialize)]
struct Completion {
    prompt: Prompt,
    #[serde(default)]
    logprobs: Option<usize>,
    #[serde(default)]
    echo: Option<bool>,
    #[serde(default)]
    suffix: Option<String>,
    #[serde(default)]
    best_of: Option<usize>,
    #[serde(flatten)]
    common: Common,
}

pub(super) async fn completions(State(shared): State<Shared>, body: Body) -> Answer {
    let asked: Completion = body::read(body, shared.body_limit).await?;
    asked.common.check()?;
    let unsupported = [
        ("echo", asked.echo.unwrap_or(false)),
        ("suffix", asked.suffix.is_some_and(|suffix| !suffix.is_empty())),
        ("best_of", asked.best_of.is_some_and(|best| best != asked.common.texts())),
    ];
    if let Some((name, _)) = unsupported.iter().find(|(_, asked)| *asked) {
        return Err(Refusal::unsupported(name));
    }
    let (model, writer) = shared.models.find(asked.common.model.as_deref(), "writes texts", Kind::writer)?;
    let style = Style::new(false, writer.clone(), model.name.clone(), asked.logprobs.is_some());
    let (common, prompt, likeliest) = (asked.common, asked.prompt, asked.logprobs);
    let places = writer.places(prompt.count().saturating_mul(common.texts()))?;
    let (common, requests, prompt, places) = blocking(move || {
        let prompts = prompt.tokens(|text| {
            writer.check_length(text)?;
            writer.model.tokenizer().encode(text).map_err(Refusal::from)
        })?;
        if prompts.is_empty() || prompts.iter().any(Vec::is_empty) {
            return Err(Refusal::bad("`prompt` has no tokens"));
        }
        let requests = prompts.iter().map(|prompt| common.requests(&writer, prompt, 16, likeliest));
        let requests: Vec<Vec<Request>> = requests.collect::<Result<_, _>>()?;
        let tokens = prompts.iter().map(Vec::len).sum();
        Ok((common, requests.into_iter().flatten().collect(), tokens, places))
    })
    .await?;
    answer(style, requests, places, how(&common, prompt)).await
}

#[derive(Debug, Deserialize)]
struct Embeddings {
    #[serde(default)]
    model: Option<String>,
    input: Prompt,
    #[serde(default)]
    encoding_format: Option<String>,
    #[serde(default)]
    dimensions: Option<usize>,
    /// Whether texts that are too long are cut, as they are unless it is said that they are not.
    #[serde(default)]
    truncate: Option<bool>,
}

pub(super) async fn embeddings(State(shared): State<Shared>, body: Body) -> Answer {
    let asked: Embeddings = body::read(body, shared.body_limit).await?;
    let (model, encoder) = shared.models.find(asked.model.as_deref(), "embeds texts", Kind::encoder)?;
    if asked.input.count() == 0 {
        return Err(Refusal::bad(format!("`input` is no texts; it can be 1 to {}", prompt::MOST)));
    }
    let base64 = match asked.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            return Err(Refusal::bad(format!("`encoding_format` is `{other}`, not float or base64")));
        }
    };
    let dimensions = asked.dimensions;
    let fit = move |features: usize| match dimensions {
        Some(dimensions) if dimensions != features => Err(Refusal::bad(format!(
            "the vectors of this model have {features} dimensions, no other number"
        ))),
        _ => Ok(()),
    };
    encoder.features().map_or(Ok(()), fit)?;
    let (input, cut) = (asked.input, asked.truncate.unwrap_or(true));
    let name = model.name.clone();
    // The answer, too, is made there: thousands of vectors are millions of digits.
    let answer = model.gate.run(move || {
        let (vectors, tokens) = embedded(&encoder, input, cut)?;
        fit(vectors.shape()[1])?;
        ok(&told(&vectors, tokens, base64, &name))
    });
    answer.await
}

/// Vectors as OpenAI's clients expect them: numbers, or their bytes in base 64.
fn told(vectors: &Tensor, tokens: usize, base64: bool, model: &str) -> Value {
    let (features, rows) = (vectors.shape()[1], vectors.to_vec());
    let data = rows.chunks_exact(features.max(1)).enumerate().map(|(index, vector)| {
        let vector = if base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            json!(base64::engine::general_purpose::STANDARD.encode(bytes))
        } else {
            vector.iter().map(|&x| number(x)).collect()
        };
        json!({"object": "embedding", "index": index, "embedding": vector})
    });
    let data: Vec<Value> = data.collect();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    json!({"object": "list", "data": data, "model": model, "usage": usage})
}

/// The vectors of texts, and how many tokens were read.
fn embedded(encoder: &Encoder, input: Prompt, cut: bool) -> Result<(Tensor, usize), Refusal> {
    let around = encoder.tokenizer().encode("")?;
    if let Prompt::Tokens(_) | Prompt::Lists(_) = &input {
        check_own_tokens(&input, &around)?;
    }
    let rows = input.tokens(|text| encoder.tokenizer().encode(text))?;
    let (most, longest) = (encoder.context(), rows.iter().map(Vec::len).max().unwrap_or(0));
    if longest > most && !cut {
        return Err(Refusal::text_too_long(longest, most));
    }
    let tokens = rows.iter().map(|row| row.len().min(most)).sum();
    Ok((encoder.embed_tokens(&rows)?, tokens))
}

/// That lists of tokens are of this model's: those of another, as a client makes them that takes OpenAI's for all there is, would be other
/// texts. They do not begin and end as this model's do.
fn check_own_tokens(input: &Prompt, around: &[u32]) -> Result<(), Refusal> {
    let [first, .., last] = around else { return Ok(()) };
    let own = |ids: &Vec<u32>| ids.first() == Some(first) && ids.last() == Some(last);
    let all = match input {
        Prompt::Tokens(ids) => own(ids),
        Prompt::Lists(lists) => lists.iter().all(own),
        Prompt::Text(_) | Prompt::Texts(_) => true,
    };
    let why = format!(
        "`input` is tokens that do not begin with {first} and end with {last} as this model's do; send texts (LangChain: \
         check_embedding_ctx_length=False)"
    );
    if all { Ok(()) } else { Err(Refusal::bad(why)) }
}

#[derive(Debug, Deserialize)]
struct Predict {
    #[serde(default)]
    model: Option<String>,
    #[serde(alias = "inputs")]
    input: Value,
}

pub(super) async fn predict(State(shared): State<Shared>, body: Body) -> Answer {
    let asked: Predict = body::read(body, shared.body_limit).await?;
    let (model, network) = shared.models.find(asked.model.as_deref(), "is a network", Kind::network)?;
    let name = model.name.clone();
    let answer = model.gate.run(move || {
        let output = network.predict(&asked.input)?;
        ok(&json!({"object": "prediction", "model": name, "output": output}))
    });
    answer.await
}

#[derive(Debug, Deserialize)]
struct Recommend {
    #[serde(default)]
    model: Option<String>,
    #[serde(flatten)]
    asked: Asked,
}

pub(super) async fn recommend(State(shared): State<Shared>, body: Body) -> Answer {
    let Recommend { model, asked } = body::read(body, shared.body_limit).await?;
    let (model, recommender) = shared.models.find(model.as_deref(), "recommends", Kind::recommender)?;
    let items = model.gate.run(move || Ok(recommender.recommend(&asked)?)).await?;
    ok(&json!({"object": "list", "model": model.name, "data": items}))
}

pub(super) async fn models(State(shared): State<Shared>) -> Answer {
    let all: Vec<Value> = shared.models.0.iter().map(super::models::Model::about).collect();
    ok(&json!({"object": "list", "data": all}))
}

pub(super) async fn model(State(shared): State<Shared>, Path(name): Path<String>) -> Answer {
    match shared.models.0.iter().find(|model| model.name == name) {
        Some(model) => ok(&model.about()),
        None => Err(Refusal::no_model(format!("there is no model `{name}`"))),
    }
}

pub(super) async fn health() -> Answer {
    ok(&json!({"status": "ok"}))
}

pub(super) async fn metrics(State(shared): State<Shared>) -> Response {
    let text = shared.metrics.to_text(&shared.models);
    ([("content-type", "text/plain; version=0.0.4")], text).into_response()
}

pub(super) async fn page() -> Response {
    ([("content-type", "text/html; charset=utf-8")], include_str!("page.html")).into_response()
}

/// So that the page's tab has no error.
pub(super) async fn no_icon() -> StatusCode {
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_another_model_are_told_by_how_texts_begin_and_end() {
        let lists = |lists: &[&[u32]]| Prompt::Lists(lists.iter().map(|ids| ids.to_vec()).collect());
        let own = |input: &Prompt, around: &[u32]| check_own_tokens(input, around).is_ok();
        assert!(own(&lists(&[&[101, 5, 102], &[101, 102]]), &[101, 102]));
        assert!(!own(&lists(&[&[101, 5, 102], &[5, 6]]), &[101, 102]));
        assert!(!own(&Prompt::Tokens(vec![5, 102]), &[101, 102]));
        // Nothing is known where nothing, or one token alone, is put around texts.
        assert!(own(&Prompt::Tokens(vec![5]), &[]) && own(&Prompt::Tokens(vec![5]), &[1]));
    }
}
