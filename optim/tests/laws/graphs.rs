//! The models of the examples, structs of layers with a forward pass of their own, as graphs: frozen they answer as before at sizes
//! that no trace has seen, they have their FLOPs, and a file for other runtimes.

use cairn_autograd::Var;
use cairn_datasets::conllu::{Sentence, UPOS, Word};
use cairn_datasets::text::Padded;
use cairn_nn::graph::{Dim, Graph, Input};
use cairn_nn::{Context, Model, Value};
use cairn_tensor::{Tensor, rng};

#[path = "../../examples/char_lm/model.rs"]
#[allow(dead_code)] // what writes and measures
mod char_lm;
#[path = "../../examples/resnet18.rs"]
#[allow(dead_code)] // its `main`
mod resnet18;
#[path = "../../examples/tagger/model.rs"]
#[allow(dead_code)]
mod tagger;
#[path = "../../examples/text_cnn/model.rs"]
#[allow(dead_code)]
mod text_cnn;

fn ids(shape: [usize; 2], below: u32) -> Tensor<u32> {
    let list = (0..(shape[0] * shape[1]) as u32).map(|i| (i * 7 + i / 3) % below).collect();
    Tensor::from_vec(list, shape).unwrap()
}

/// The frozen graph answers as the forward pass does, and there is a file of at least the weights.
fn check(graph: &Graph, inputs: impl IntoIterator<Item = Value>, expected: &Var, parameters: usize) {
    let answer = graph.frozen().unwrap().predict_all(inputs).unwrap();
    assert_eq!(answer.shape(), expected.shape());
    let scale = expected.value().abs().unwrap().max(..).unwrap().item().unwrap().max(1.0);
    let apart = answer.sub(expected.value()).unwrap().abs().unwrap().max(..).unwrap().item().unwrap();
    assert!(apart <= 1e-4 * scale, "{apart} apart, of {scale}");
    assert!(graph.to_onnx().unwrap().into_bytes().len() >= 4 * parameters);
}

#[test]
fn a_residual_network() {
    let model = resnet18::ResNet18::new(10, &mut rng(0)).unwrap();
    let graph = Graph::trace(&[Input::floats([8, 8, 3])], |inputs| {
        model.forward(inputs[0].clone().floats()?.value(), &mut Context::eval())
    })
    .unwrap();
    // 0.56 GFLOP in multiply-adds at 32 x 32 (He et al. 2015 for this cut: 0.56 billion), a sixteenth of it here.
    let expected = 2.0 * 0.5563e9 / 16.0;
    assert!((graph.flops(&[1]) as f64 / expected - 1.0).abs() < 0.01, "{}", graph.flops(&[1]));
    let x = Tensor::normal([5, 8, 8, 3], 0.0, 1.0, &mut rng(1)).unwrap();
    let output = model.forward(&x, &mut Context::eval()).unwrap();
    check(&graph, [x.into()], &output, 0);
}

#[test]
fn a_convolutional_network_for_sentences() {
    let model = text_cnn::TextCnn::new(50, &mut rng(0)).unwrap();
    let padded = |ids: Tensor<u32>| Padded { lengths: vec![ids.shape()[1]; ids.shape()[0]], ids };
    let graph = Graph::trace(&[Input::id_sequences(50)], |inputs| {
        model.forward(&padded(inputs[0].clone().ids()?), &mut Context::eval())
    })
    .unwrap();
    // Windows of 3, 4 and 5 words of 128 over 20 words, 100 maps each; 300 features into 2 scores.
    let windows = (18 * 3 + 17 * 4 + 16 * 5) * 128 * 100;
    assert_eq!(graph.flops(&[4, 20]), 2 * 4 * (windows + 300 * 2));
    let x = ids([3, 13], 50);
    let output = model.forward(&padded(x.clone()), &mut Context::eval()).unwrap();
    check(&graph, [x.into()], &output, 50 * 128);
}

#[test]
fn a_language_model_of_letters() {
    let model = char_lm::Writer::new(11, 16, &mut rng(0)).unwrap();
    let graph = Graph::trace(&[Input::id_sequences(11)], |inputs| {
        Ok(model.forward(&inputs[0].clone().ids()?, None, &mut Context::eval())?.0)
    })
    .unwrap();
    let weights = (64 * 64 + 16 * 64) + 2 * 16 * 64 + 16 * 11;
    assert_eq!(graph.flops(&[2, 9]), 2 * 2 * 9 * weights);
    let x = ids([4, 10], 11);
    let output = model.forward(&x, None, &mut Context::eval()).unwrap().0;
    check(&graph, [x.into()], &output, weights as usize);
}

#[test]
fn a_tagger_of_words_and_their_letters() {
    let word = |form: &str| Word {
        form: form.into(),
        lemma: form.into(),
        upos: UPOS[0].into(),
        xpos: "_".into(),
        feats: "_".into(),
        head: None,
        deprel: "_".into(),
    };
    let sentence = Sentence { words: ["ab", "ab", "cab", "cab"].map(word).into() };
    let vocabularies = tagger::Vocabularies::of(std::slice::from_ref(&sentence)).unwrap();
    let model = tagger::Tagger::new(&vocabularies, &mut rng(0)).unwrap();
    let (rows, time, words, letters) =
        (Dim::Open("rows"), Dim::TIME, Dim::Open("words"), Dim::Open("letters"));
    // Ids that are in every vocabulary and table, however few words there are.
    let inputs = [
        Input::ids_of([rows, time], 2),
        Input::lengths_of([rows], time),
        Input::ids_of([words, letters], 2),
        Input::lengths_of([words], letters),
        Input::ids_of([rows, time], 2),
        Input::ids_of([words], 2),
    ];
    let batch_of = |inputs: &[Value]| -> cairn_nn::Result<tagger::Batch> {
        let ids = |i: usize| inputs[i].clone().ids();
        Ok(tagger::Batch {
            words: ids(0)?,
            lengths: ids(1)?,
            letters: ids(2)?,
            letter_lengths: ids(3)?,
            word_at: ids(4)?,
            positions: ids(5)?,
        })
    };
    let graph =
        Graph::trace(&inputs, |inputs| model.forward(&batch_of(inputs)?, &mut Context::eval())).unwrap();
    assert_eq!(graph.open(), ["rows", "time", "words", "letters"]);
    let dataset = tagger::Tagged::new(&[sentence.clone(), sentence], &vocabularies).unwrap();
    let (batch, _) = cairn_datasets::Dataset::batch(&dataset, &[0, 1]).unwrap();
    let output = model.forward(&batch, &mut Context::eval()).unwrap();
    assert_eq!(output.shape(), [8, UPOS.len()]);
    let all =
        [batch.words, batch.lengths, batch.letters, batch.letter_lengths, batch.word_at, batch.positions];
    check(&graph, all.map(Value::from), &output, 0);
    assert!(graph.flops(&[2, 4, 8, 3]) > 0);
}
