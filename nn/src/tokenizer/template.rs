//! Conversations as text. Models are trained with marks around each message, and their files bring a template in the language of
//! Jinja that writes them, made for Python's: methods of texts and `raise_exception` have to be there, too.

use std::fs;
use std::io;
use std::path::Path;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Environment, ErrorKind, context};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use super::clock;
use crate::{Error, Result};

/// Most steps of a template: one that never ends is an error.
const FUEL: u64 = 10_000_000;
/// What it is called in messages.
const NAME: &str = "chat template";
/// What templates ask for the date.
const NOW: &str = "strftime_now";
/// The day, in seconds since 1970, of what is learnt from with templates that cannot do without one: 26 July 2024, which those of Llama
/// have where nobody tells them the date.
const LEARNT_ON: i64 = 1_721_952_000;

/// A message of a conversation.
///
/// ```
/// use cairn_nn::tokenizer::{system, user};
/// let messages = [system("Answer in one word."), user("What is the capital of France?")];
/// assert_eq!(messages[1].role, "user");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Whose it is: `system`, `user`, `assistant`.
    pub role: String,
    /// What it says.
    pub content: String,
}

impl Message {
    fn new(role: &str, content: impl Into<String>) -> Self {
        Message { role: role.into(), content: content.into() }
    }
}

/// What a person says.
pub fn user(content: impl Into<String>) -> Message {
    Message::new("user", content)
}

/// What the model said.
pub fn assistant(content: impl Into<String>) -> Message {
    Message::new("assistant", content)
}

/// How the model is to behave.
pub fn system(content: impl Into<String>) -> Message {
    Message::new("system", content)
}

/// Writes conversations as the model was trained to read them.
///
/// ```
/// use cairn_nn::tokenizer::{ChatTemplate, user};
/// let template = ChatTemplate::parse("{% for m in messages %}<{{ m.role }}>{{ m.content.strip() }}\n{% endfor %}<{{ eos_token }}>")?;
/// assert_eq!(template.render(&[user(" Hi ")], true)?, "<user>Hi\n<>");
/// let error = ChatTemplate::parse("{% for m in messages %}\n{{ m.role").unwrap_err().to_string();
/// assert!(error.contains("chat template, line 2"), "{error}");
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "apply_chat_template")]
pub struct ChatTemplate {
    environment: Environment<'static>,
    /// The tokens that begin and end texts, which templates write out.
    marks: [String; 2],
}

impl ChatTemplate {
    /// From a template's source.
    ///
    /// # Errors
    /// [`Error::BadFile`] with the line for what is no template.
    pub fn parse(source: &str) -> Result<Self> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| told(&error))?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |why: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, why))
        });
        environment.add_function(NOW, |format: String| dated(clock::now(&format)));
        environment.add_filter("tojson", to_json);
        // Marks of what to learn from in training; nothing is written for them.
        let source = ["{% generation %}", "{%- generation %}", "{% generation -%}", "{%- generation -%}"]
            .iter()
            .flat_map(|mark| [mark.to_string(), mark.replace("generation", "endgeneration")])
            .fold(source.to_owned(), |source, mark| source.replace(&mark, ""));
        environment.add_template_owned(NAME, source).map_err(|error| told(&error))?;
        Ok(ChatTemplate { environment, marks: Default::default() })
    }

    /// From a model's folder: `chat_template.jinja`, or what `tokenizer_config.json` says. `None` where there is none.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::BadFile`] for files that cannot be read.
    pub fn load(folder: impl AsRef<Path>) -> Result<Option<Self>> {
        let folder = folder.as_ref();
        let read = |name: &str| match fs::read_to_string(folder.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file(&folder.join(name))(error)),
        };
        let settings = read("tokenizer_config.json")?.map(|text| serde_json::from_str(&text));
        let path = folder.join("tokenizer_config.json");
        let settings: serde_json::Value = settings
            .unwrap_or(Ok(serde_json::Value::Null))
            .map_err(|error| Error::BadFile { path, why: error.to_string() })?;
        let source = match read("chat_template.jinja")? {
            Some(source) => source,
            None => match default_of(&settings["chat_template"]) {
                Some(source) => source.to_owned(),
                None => return Ok(None),
            },
        };
        let mark = |key: &str| {
            let mark = &settings[key];
            mark.as_str().or(mark["content"].as_str()).unwrap_or_default().to_owned()
        };
        Ok(Some(ChatTemplate::parse(&source)?.with_marks(mark("bos_token"), mark("eos_token"))))
    }

    /// With the tokens that begin and end texts.
    #[must_use]
    pub fn with_marks(self, begin: impl Into<String>, end: impl Into<String>) -> Self {
        ChatTemplate { marks: [begin.into(), end.into()], ..self }
    }

    /// Whether the template itself writes these characters.
    pub(crate) fn writes(&self, text: &str) -> bool {
        let source = self.environment.get_template(NAME);
        source.is_ok_and(|template| template.source().contains(text))
            || self.marks.iter().any(|mark| mark == text)
    }

    /// The conversation as text; `answer` also writes what comes before the model's next answer.
    ///
    /// # Errors
    /// [`Error::BadFile`] with the template's line for what it refuses, or cannot do.
    pub fn render(&self, messages: &[Message], answer: bool) -> Result<String> {
        self.render_with(messages, answer, &Map::new())
    }

    /// As [`render`](Self::render), with more values that the template may look at, such as `enable_thinking`. Those that every template
    /// is given stay what they are.
    ///
    /// ```
    /// use cairn_nn::tokenizer::{ChatTemplate, user};
    /// let template = ChatTemplate::parse("{{ messages[0].content }}{% if enable_thinking is false %} /no_think{% endif %}")?;
    /// let more = serde_json::json!({"enable_thinking": false});
    /// assert_eq!(template.render_with(&[user("Hi")], true, more.as_object().unwrap())?, "Hi /no_think");
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`render`](Self::render).
    #[doc(alias = "chat_template_kwargs")]
    pub fn render_with(
        &self,
        messages: &[Message],
        answer: bool,
        more: &Map<String, serde_json::Value>,
    ) -> Result<String> {
        self.rendered(&self.environment, messages, answer, more).map_err(|error| told(&error))
    }

    /// As [`render`](Self::render), the same on every day, for what is learnt from: the template is not told the date, and one that fails
    /// without is told that of 26 July 2024.
    pub(crate) fn render_undated(&self, messages: &[Message], answer: bool) -> Result<String> {
        if !self.writes(NOW) {
            return self.render(messages, answer);
        }
        let (mut environment, more) = (self.environment.clone(), Map::new());
        environment.remove_global(NOW);
        let text = self.rendered(&environment, messages, answer, &more).or_else(|_| {
            environment.add_function(NOW, |format: String| dated(clock::written(LEARNT_ON, &format)));
            self.rendered(&environment, messages, answer, &more)
        });
        text.map_err(|error| told(&error))
    }

    fn rendered(
        &self,
        environment: &Environment<'_>,
        messages: &[Message],
        answer: bool,
        more: &Map<String, serde_json::Value>,
    ) -> Result<String, minijinja::Error> {
        let [bos_token, eos_token] = &self.marks;
        let messages = Value::from(Serde(messages));
        let more = Value::from(Serde(more));
        let values = context! { messages, add_generation_prompt => answer, bos_token, eos_token, ..more };
        environment.get_template(NAME)?.render(values)
    }
}

/// A date for a template.
fn dated(text: Result<String, String>) -> Result<String, minijinja::Error> {
    text.map_err(|why| minijinja::Error::new(ErrorKind::InvalidOperation, why))
}

/// The template of a folder's settings: one, or the one named `default` of several.
fn default_of(given: &serde_json::Value) -> Option<&str> {
    given.as_str().or_else(|| {
        let named = given.as_array()?.iter().find(|one| one["name"] == "default")?;
        named["template"].as_str()
    })
}

fn told(error: &minijinja::Error) -> Error {
    let line = error.line().map(|line| format!(", line {line}")).unwrap_or_default();
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    Error::BadFile { path: format!("{NAME}{line}").into(), why: format!("{}{detail}", error.kind()) }
}

/// JSON as Python's library writes it, which models have read in training: a space after commas and colons.
#[allow(clippy::needless_pass_by_value)] // Filters are given it so.
fn to_json(value: &Value, settings: Kwargs) -> Result<Value, minijinja::Error> {
    let indent: Option<usize> = settings.get("indent")?;
    let _: Option<bool> = settings.get("ensure_ascii")?;
    settings.assert_all_used()?;
    let mut out = Vec::new();
    let written = match indent {
        Some(indent) => {
            let indent = " ".repeat(indent.min(64));
            value.serialize(&mut Serializer::with_formatter(
                &mut out,
                PrettyFormatter::with_indent(indent.as_bytes()),
            ))
        }
        None => value.serialize(&mut Serializer::with_formatter(&mut out, Spaced)),
    };
    let bad = |error: String| minijinja::Error::new(ErrorKind::BadSerialization, error);
    written.map_err(|error| bad(error.to_string()))?;
    String::from_utf8(out).map(Value::from_safe_string).map_err(|error| bad(error.to_string()))
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}
