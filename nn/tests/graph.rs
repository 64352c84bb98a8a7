//! Graphs traced from structs whose inputs are several and of open sizes: the same answers as the forward pass, at any size.

use cairn_autograd::Var;
use cairn_nn::graph::{Dim, Graph, Input};
use cairn_nn::spec::{self, Dense};
use cairn_nn::{
    Context, Embedding, GlobalAvgPool, Linear, Module, Recurrent, Result, SequenceMask, Sequential, Value,
};
use cairn_tensor::{Shape, Tensor, rng};

fn ids(shape: &[usize], below: u32, seed: u32) -> Tensor<u32> {
    let count: usize = shape.iter().product();
    let list = (0..count as u32).map(|i| (i * 7 + seed * 5 + i / 3) % below).collect();
    Tensor::from_vec(list, Shape::from(shape)).unwrap()
}

fn close(a: &Tensor, b: &Tensor) {
    assert_eq!(a.shape(), b.shape());
    let apart = a.sub(b).unwrap().abs().unwrap().max(..).unwrap().item().unwrap();
    assert!(apart <= 1e-5, "{apart} apart");
}

/// A recurrent language model: scores of the next token at every step.
#[derive(Module)]
struct LanguageModel {
    embedding: Embedding,
    lstm: Recurrent,
    head: Linear,
}

impl LanguageModel {
    fn new() -> Self {
        let rng = &mut rng(0);
        LanguageModel {
            embedding: Embedding::new(11, 6, rng).unwrap(),
            lstm: spec::Lstm::new(8).layers(2).return_sequences(true).layer(6, rng).unwrap(),
            head: Linear::new(8, 11, rng).unwrap(),
        }
    }

    fn forward(&self, ids: &Tensor<u32>, cx: &mut Context) -> Result<Var> {
        self.head.forward(&self.lstm.forward(&self.embedding.forward(ids)?, cx)?)
    }

    /// The scores after the last step.
    fn next(&self, ids: &Tensor<u32>, cx: &mut Context) -> Result<Var> {
        Ok(self.forward(ids, cx)?.index(1, ids.shape()[1] - 1)?)
    }
}

#[test]
fn sequences_may_be_of_any_length() {
    let model = LanguageModel::new();
    let traced = |next: bool| {
        Graph::trace(&[Input::id_sequences(11)], |inputs| {
            let (ids, cx) = (inputs[0].clone().ids()?, &mut Context::eval());
            if next { model.next(&ids, cx) } else { model.forward(&ids, cx) }
        })
        .unwrap()
    };
    let (graph, last) = (traced(false), traced(true));
    assert_eq!(graph.open(), ["batch", "time"]);
    // Weights of both layers, and of the head, for each of 3 · 20 steps.
    let weights = 6 * 32 + 8 * 32 + 2 * 8 * 32 + 8 * 11;
    assert_eq!(graph.flops(&[3, 20]), 2 * 3 * 20 * weights);
    let (frozen, last) = (graph.frozen().unwrap(), last.frozen().unwrap());
    for (batch, time) in [(1, 1), (4, 3), (2, 19)] {
        let ids = ids(&[batch, time], 11, 1);
        let expected = model.forward(&ids, &mut Context::eval()).unwrap();
        close(&frozen.predict_batch(&ids).unwrap(), expected.value());
        let expected = model.next(&ids, &mut Context::eval()).unwrap();
        close(&last.predict_batch(&ids).unwrap(), expected.value());
    }
    assert!(graph.to_onnx().unwrap().into_bytes().len() > 4 * weights as usize);
    let floats = frozen.predict_batch(Tensor::<f32>::zeros([2, 3]).unwrap()).unwrap_err().to_string();
    assert!(floats.contains("the model takes ids"), "{floats}");
}

/// Words with the spelling of each: sentences of several lengths, and words of several lengths, with open sizes for all.
#[derive(Module)]
struct Tagger {
    words: Embedding,
    letters: Embedding,
    spelling: Recurrent,
    context: Recurrent,
    head: Linear,
}

/// Rows of words and their lengths, words of letters and theirs, and which word stands at each position.
struct Sentences {
    words: Tensor<u32>,
    lengths: Tensor<u32>,
    letters: Tensor<u32>,
    letter_lengths: Tensor<u32>,
    word_at: Tensor<u32>,
}

impl Tagger {
    fn new() -> Self {
        let rng = &mut rng(1);
        Tagger {
            words: Embedding::new(13, 5, rng).unwrap(),
            letters: Embedding::new(9, 3, rng).unwrap(),
            spelling: spec::Lstm::new(2).bidirectional().layer(3, rng).unwrap(),
            context: spec::Lstm::new(4).bidirectional().return_sequences(true).layer(9, rng).unwrap(),
            head: Linear::new(8, 3, rng).unwrap(),
        }
    }

    fn forward(&self, batch: &Sentences, cx: &mut Context) -> Result<Var> {
        cx.set_mask(Some(SequenceMask::of_lengths(&batch.letter_lengths)));
        let spelled = self.spelling.forward(&self.letters.forward(&batch.letters)?, cx)?;
        let x = Var::cat(&[&self.words.forward(&batch.words)?, &spelled.lookup(&batch.word_at)?], -1)?;
        cx.set_mask(Some(SequenceMask::of_lengths(&batch.lengths)));
        self.head.forward(&self.context.forward(&x, cx)?)
    }

    fn inputs() -> [Input; 5] {
        let (rows, time) = (Dim::Open("rows"), Dim::TIME);
        let (words, letters) = (Dim::Open("words"), Dim::Open("letters"));
        [
            Input::ids_of([rows, time], 13),
            Input::lengths_of([rows], time),
            Input::ids_of([words, letters], 9),
            Input::lengths_of([words], letters),
            // Small enough for any number of words that a trace is run with.
            Input::ids_of([rows, time], 2),
        ]
    }

    fn traced(&self) -> Graph {
        Graph::trace(&Self::inputs(), |inputs| {
            let ids = |i: usize| inputs[i].clone().ids();
            let batch = Sentences {
                words: ids(0)?,
                lengths: ids(1)?,
                letters: ids(2)?,
                letter_lengths: ids(3)?,
                word_at: ids(4)?,
            };
            self.forward(&batch, &mut Context::eval())
        })
        .unwrap()
    }
}

#[test]
fn several_inputs_have_sizes_of_their_own() {
    let tagger = Tagger::new();
    let graph = tagger.traced();
    assert_eq!(graph.open(), ["rows", "time", "words", "letters"]);
    let spelling = 7 * 6 * 2 * (3 * 8 + 2 * 8);
    let context = 3 * 4 * 2 * (9 * 16 + 4 * 16);
    assert_eq!(graph.flops(&[3, 4, 7, 6]), 2 * (spelling + context + 3 * 4 * 8 * 3));
    let frozen = graph.frozen().unwrap();
    let batch = Sentences {
        words: ids(&[3, 4], 13, 2),
        lengths: Tensor::from_vec(vec![4, 1, 3], [3]).unwrap(),
        letters: ids(&[7, 6], 9, 3),
        letter_lengths: Tensor::from_vec(vec![6, 2, 1, 5, 6, 3, 4], [7]).unwrap(),
        word_at: ids(&[3, 4], 7, 4),
    };
    let expected = tagger.forward(&batch, &mut Context::eval()).unwrap();
    let Sentences { words, lengths, letters, letter_lengths, word_at } = batch;
    let inputs = [&words, &lengths, &letters, &letter_lengths, &word_at].map(Value::from);
    close(&frozen.predict_all(inputs).unwrap(), expected.value());
    graph.to_onnx().unwrap();
    // Sizes of one name must agree, and all inputs be there.
    let other = ids(&[3, 5], 7, 4);
    let inputs = [&words, &lengths, &letters, &letter_lengths, &other].map(Value::from);
    assert!(frozen.predict_all(inputs).is_err());
    assert!(frozen.predict_batch(&words).unwrap_err().to_string().contains("5 inputs"));
}

#[test]
fn padding_is_found_anew_in_every_batch() {
    let model = Sequential::new([6])
        .add(spec::Embedding::new(9, 4).padding(0).masked())
        .add(spec::Lstm::new(5).bidirectional().return_sequences(true))
        .add(Dense::new(3))
        .add(GlobalAvgPool)
        .build(&mut rng(3))
        .unwrap();
    let frozen = model.frozen().unwrap();
    let x = Tensor::from_vec(vec![0, 3, 0, 4, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 8], [3, 6]).unwrap();
    let expected = model.forward(&x, &mut Context::eval()).unwrap();
    close(&frozen.predict_batch(&x).unwrap(), expected.value());
    let empty = Tensor::<u32>::zeros([1, 6]).unwrap();
    let nothing = model.forward(&empty, &mut Context::eval()).unwrap();
    assert_eq!(nothing.value().to_vec(), [0.0; 3], "the mean of no steps");
    close(&frozen.predict_batch(&empty).unwrap(), nothing.value());
    let file = model.to_onnx().unwrap_err().to_string();
    assert!(file.contains("padding"), "{file}");
}
