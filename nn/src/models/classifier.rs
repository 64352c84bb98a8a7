//! Encoders with a head that classifies texts: `BertForSequenceClassification` and its relatives.
//!
//! The families differ in what stands between the encoder and the scores: BERT's pooler and RoBERTa's dense layer end in tanh,
//! DistilBERT's in ReLU. All look at the first token, which is there for it; an encoder of sentences, which was trained to have its
//! tokens' mean compared, is better asked for that: see [`SequenceClassifier::mean`].

use std::path::Path;

use cairn_autograd::Var;
use cairn_tensor::{DType, Rng, Tensor, rng};

use super::{Bert, Config, EncoderModel, Layout, Name, Names, Opened, bert};
use crate::{Activation, Context, Dropout, Error, Init, Linear, Model, Module, Result, Visitor, spec};

/// An encoder of BERT's family, and scores of classes from what it makes of a text.
///
/// ```no_run
/// use cairn_nn::models::SequenceClassifier;
/// use cairn_tensor::rng;
/// // A published classifier, or an encoder with a new head, to be trained.
/// let published = SequenceClassifier::load("distilbert-base-uncased-finetuned-sst-2-english")?;
/// let new = SequenceClassifier::of_encoder("all-MiniLM-L6-v2", 2, &mut rng(0))?.mean();
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias(
    "AutoModelForSequenceClassification",
    "BertForSequenceClassification",
    "RobertaForSequenceClassification",
    "DistilBertForSequenceClassification"
))]
pub struct SequenceClassifier {
    /// What reads the text.
    pub encoder: Bert,
    /// `[features, features]`, between the text's vector and the scores.
    pub hidden: Linear,
    /// `[features, classes]`
    pub head: Linear,
    dropout: Dropout,
    mean: bool,
    labels: Vec<String>,
}

impl SequenceClassifier {
    /// Of these settings, with so many classes and weights drawn so.
    ///
    /// # Errors
    /// As [`Bert::new`]; [`Error::BadSetting`] for no classes.
    pub fn new(config: &Config, classes: usize, init: Init, rng: &mut Rng) -> Result<Self> {
        if classes == 0 {
            return Err(Error::BadSetting { what: "the number of classes", value: 0.0, must: "at least 1" });
        }
        let kind = config.model_type()?;
        let (rate, activation, size) = match kind {
            "distilbert" => ("seq_classif_dropout", Activation::Relu, "dim"),
            _ => ("classifier_dropout", Activation::Tanh, "hidden_size"),
        };
        let default =
            if kind == "distilbert" { 0.2 } else { config.number_or("hidden_dropout_prob", 0.1)? };
        let features = config.size(size)?;
        let dense = |outputs| spec::Dense::new(outputs).kernel_init(init);
        Ok(SequenceClassifier {
            encoder: Bert::new(config, init, rng)?,
            hidden: dense(features).activation(activation).layer(features, rng)?,
            head: dense(classes).layer(features, rng)?,
            dropout: Dropout::new(config.number_or(rate, default)? as f32),
            mean: false,
            labels: labels(config, classes),
        })
    }

    /// Reads a folder with config.json and safetensors of a classifier.
    ///
    /// # Errors
    /// As [`load`](super::load), for one without a head too.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let opened = Opened::open(path.as_ref())?;
        let (weights, config) = (opened.weights()?, opened.config);
        super::check_sizes(&config, &weights)?;
        let head = weights.tensors.iter().find(|(name, _)| {
            name.ends_with("classifier.weight") || name.ends_with("classifier.out_proj.weight")
        });
        let classes = head.and_then(|(_, weight)| weight.shape().first().copied());
        let missing =
            || Error::StateMismatch("there is no `classifier`: it is an encoder without a head".into());
        let model = Self::new(&config, classes.ok_or_else(missing)?, Init::Deferred, &mut rng(0))?;
        names(&config)?.load(&model, weights, config.format(), None)?;
        Ok(model)
    }

    /// Reads an encoder, a folder or a GGUF file, and puts a new head on it, its weights drawn as the encoder's once were. All of it is
    /// f32, to be trained.
    ///
    /// # Errors
    /// As [`load`](super::load); [`Error::BadSetting`] for no classes.
    #[doc(alias = "num_labels")]
    pub fn of_encoder(path: impl AsRef<Path>, classes: usize, rng: &mut Rng) -> Result<Self> {
        let opened = Opened::open(path.as_ref())?;
        let (weights, config) = (opened.weights()?, opened.config);
        super::check_sizes(&config, &weights)?;
        let model = Self::new(&config, classes, Init::Deferred, rng)?;
        bert::names(&config).load(&model.encoder, weights, config.format(), Some(DType::F32))?;
        let spread = config.number_or("initializer_range", 0.02)? as f32;
        for layer in [&model.hidden, &model.head] {
            layer.weight.set(Init::Normal(spread).tensor(layer.weight.shape(), rng)?);
        }
        Ok(model)
    }

    /// With the mean of the tokens' vectors in place of the first token's.
    #[must_use]
    pub fn mean(self) -> Self {
        SequenceClassifier { mean: true, ..self }
    }

    /// The names of the classes; their numbers where the settings give none.
    #[doc(alias = "id2label")]
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The scores (logits) of the classes, `[batch, classes]`, for ids `[batch, time]`. The context says how many of each text are no
    /// padding.
    ///
    /// # Errors
    /// For ids beyond the vocabulary and texts that are too long.
    pub fn forward(&self, tokens: &Tensor<u32>, cx: &mut Context) -> Result<Var> {
        let mask = cx.mask().cloned();
        let states = self.encoder.forward(tokens, cx)?;
        let vector = match (self.mean, mask) {
            (false, _) => states.index(1, 0)?,
            (true, None) => states.mean(1)?,
            (true, Some(mask)) => {
                let valid = mask.valid(tokens.shape()[0], tokens.shape()[1])?;
                // The mean of no steps is 0.
                states.mul(&valid)?.sum(1)?.div(&valid.sum(1)?.clamp(1.0, f32::MAX)?)?
            }
        };
        let hidden = self.hidden.forward_in(&self.dropout.forward(&vector, cx)?, cx)?;
        self.head.forward_in(&self.dropout.forward(&hidden, cx)?, cx)
    }

    /// How many tokens a text can have.
    pub fn context(&self) -> usize {
        self.encoder.context()
    }
}

/// The encoder's parts are not under a name of its own: they are called as without the head.
impl Module for SequenceClassifier {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        self.encoder.visit(visitor);
        visitor.field("hidden", &self.hidden);
        visitor.field("head", &self.head);
    }
}

/// For ids and the lengths of the texts.
impl Model<(Tensor<u32>, Tensor<u32>)> for SequenceClassifier {
    fn forward(&self, (tokens, lengths): &(Tensor<u32>, Tensor<u32>), cx: &mut Context) -> Result<Var> {
        cx.set_mask(Some(crate::SequenceMask::of_lengths(lengths)));
        SequenceClassifier::forward(self, tokens, cx)
    }
}

fn names(config: &Config) -> Result<Names> {
    let mut all = bert::names(config);
    let (hidden, head): (&'static [&'static str], &'static [&'static str]) = match config.model_type()? {
        "distilbert" => (&["pre_classifier"], &["classifier"]),
        "bert" => (&["pooler.dense"], &["classifier"]),
        _ => (&["classifier.dense"], &["classifier.out_proj"]),
    };
    all.layers.push(Name::new("hidden", Layout::Dense, hidden, &[]));
    all.layers.push(Name::new("head", Layout::Dense, head, &[]));
    Ok(all)
}

fn labels(config: &Config, classes: usize) -> Vec<String> {
    let given = config.part("id2label");
    let label = |class: usize| given.as_ref()?.text(&class.to_string()).map(str::to_owned);
    (0..classes).map(|class| label(class).unwrap_or_else(|| class.to_string())).collect()
}
