//! Recurrent layers and embeddings: against PyTorch and Keras, in models, in training, and with bad input.
//! `golden/recurrent.py` made the values and says how.

use std::path::Path;

use cairn_autograd::Var;
use cairn_nn::spec::{Dense, Embedding, Gru, Lstm, Recurrent, Rnn};
use cairn_nn::weights::recurrent::{from_keras, from_torch, to_keras, to_torch};
use cairn_nn::{Context, Model, Module, Sequential, State, cross_entropy};
use cairn_tensor::{NpzReader, Recurrence, Tensor, rng};

const KINDS: [Recurrence; 5] =
    [Recurrence::Tanh, Recurrence::Relu, Recurrence::Lstm, Recurrence::Gru, Recurrence::GruResetBefore];

struct Golden(NpzReader);

impl Golden {
    fn open() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/recurrent.npz");
        Golden(NpzReader::open(path).unwrap())
    }

    fn cases(&self, prefix: &str) -> Vec<String> {
        let names = self.0.names();
        let cases = names.iter().filter_map(|name| name.strip_suffix("/how"));
        let cases: Vec<String> = cases.filter(|case| case.starts_with(prefix)).map(str::to_owned).collect();
        assert!(!cases.is_empty());
        cases
    }

    fn how(&mut self, case: &str) -> Vec<usize> {
        self.0.read::<i64>(&format!("{case}/how")).unwrap().iter().map(|n| n as usize).collect()
    }

    fn array(&mut self, case: &str, name: &str) -> Tensor {
        self.0.read(&format!("{case}/{name}")).unwrap()
    }
}

/// Within 1e-5 of the largest value.
fn close(got: &Tensor, want: &Tensor, what: &str) {
    assert_eq!(got.shape(), want.shape(), "{what}");
    let scale = want.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    for (i, (got, want)) in got.iter().zip(want.iter()).enumerate() {
        assert!((got - want).abs() <= 1e-5 * scale, "{what}: element {i} is {got}, not {want}");
    }
}

/// Puts weights into a layer, in the order of its parameters.
fn fill(layer: &cairn_nn::Recurrent, weights: Vec<Tensor>) {
    let mut weights = weights.into_iter();
    layer.for_each_parameter(&mut |path, var| {
        let new = weights.next().unwrap();
        assert_eq!(*new.dims(), var.shape(), "{path}");
        var.set(new);
    });
    assert!(weights.next().is_none());
}

#[test]
fn outputs_states_and_gradients_equal_pytorchs() {
    let mut golden = Golden::open();
    for case in golden.cases("torch") {
        let [kind, units, layers, directions] = golden.how(&case)[..] else { panic!("{case}") };
        let kind = KINDS[kind];
        let mut description = Recurrent::new(kind, units).layers(layers);
        if directions == 2 {
            description = description.bidirectional();
        }
        let x = Var::parameter(golden.array(&case, "x"));
        let layer = description.layer(2, &mut rng(0)).unwrap();
        let (mut weights, mut gradients) = (Vec::new(), Vec::new());
        for i in 0..layers * directions {
            for (list, prefix) in [(&mut weights, "w"), (&mut gradients, "dw")] {
                let four: Vec<_> =
                    (0..4).map(|k| golden.array(&case, &format!("{prefix}{}", 4 * i + k))).collect();
                list.push([four[0].clone(), four[1].clone(), four[2].clone(), four[3].clone()]);
            }
        }
        fill(&layer, weights.iter().flat_map(|w| from_torch(kind, w.each_ref()).unwrap()).collect());

        let first = |golden: &mut Golden, name: &str, i: usize| {
            Var::parameter(golden.array(&case, name).index(0, i).unwrap().contiguous().unwrap())
        };
        let states: Vec<State> = (0..layers * directions)
            .map(|i| State {
                hidden: first(&mut golden, "h0", i),
                cell: (kind == Recurrence::Lstm).then(|| first(&mut golden, "c0", i)),
            })
            .collect();
        let lengths: Tensor<u32> = golden.0.read(&format!("{case}/lengths")).unwrap();
        let cx = &mut Context::eval().with_lengths(&lengths);
        let (y, last) = layer.forward_from(&x, Some(&states), cx).unwrap();
        close(y.value(), &golden.array(&case, "y"), &format!("{case}: outputs"));
        let mut loss = y.mul(&Var::constant(golden.array(&case, "gy"))).unwrap().sum(..).unwrap();
        for (i, state) in last.iter().enumerate() {
            let want = golden.array(&case, "hn").index(0, i).unwrap();
            close(state.hidden.value(), &want, &format!("{case}: h {i}"));
            loss = loss.add(&state.hidden.sum(..).unwrap()).unwrap();
            if let Some(cell) = &state.cell {
                let want = golden.array(&case, "cn").index(0, i).unwrap();
                close(cell.value(), &want, &format!("{case}: c {i}"));
                loss = loss.add(&cell.sum(..).unwrap()).unwrap();
            }
        }
        let got = loss.backward().unwrap();
        close(&got.of(&x).unwrap(), &golden.array(&case, "dx"), &format!("{case}: gradient of x"));
        for (i, state) in states.iter().enumerate() {
            let want = golden.array(&case, "dh0").index(0, i).unwrap();
            close(&got.of(&state.hidden).unwrap(), &want, &format!("{case}: gradient of h {i}"));
            if let Some(cell) = &state.cell {
                let want = golden.array(&case, "dc0").index(0, i).unwrap();
                close(&got.of(cell).unwrap(), &want, &format!("{case}: gradient of c {i}"));
            }
        }
        let parameters = layer.parameters();
        for (i, [ih, hh, of_input, of_state]) in gradients.iter().enumerate() {
            let own = |k: usize| got.of(&parameters[3 * i + k].1).unwrap();
            close(&own(0), &ih.t().unwrap().contiguous().unwrap(), &format!("{case}: weight {i}"));
            close(&own(1), &hh.t().unwrap().contiguous().unwrap(), &format!("{case}: recurrent weight {i}"));
            let width = kind.gates() * units;
            close(&own(2).narrow(0, 0, width).unwrap(), of_input, &format!("{case}: bias {i}"));
            if kind == Recurrence::Gru {
                let (own, want) = (own(2).narrow(0, width, units), of_state.narrow(0, 2 * units, units));
                close(&own.unwrap(), &want.unwrap(), &format!("{case}: inner bias {i}"));
            }
        }
    }
}

#[test]
fn outputs_equal_keras() {
    let mut golden = Golden::open();
    for case in golden.cases("keras") {
        let how = golden.how(&case);
        let kind = KINDS[how[0]];
        let keras: Vec<_> = (0..3).map(|i| golden.array(&case, &format!("k{i}"))).collect();
        let keras = [&keras[0], &keras[1], &keras[2]];
        let weights = from_keras(kind, keras).unwrap();
        let back = to_keras(kind, weights.each_ref()).unwrap();
        close(&back[0], keras[0], "kernel");
        close(&back[1], keras[1], "recurrent kernel");
        let again = from_keras(kind, back.each_ref()).unwrap();
        close(&again[2], &weights[2], "bias");
        let layer = Recurrent::new(kind, how[1]).return_sequences(true).layer(2, &mut rng(0)).unwrap();
        fill(&layer, weights.to_vec());
        let x = Var::constant(golden.array(&case, "x"));
        let y = layer.forward(&x, &mut Context::eval()).unwrap();
        close(y.value(), &golden.array(&case, "y"), &case);
    }
}

#[test]
fn weights_go_to_pytorch_and_back() {
    for kind in KINDS {
        let layer = Recurrent::new(kind, 3).layer(2, &mut rng(1)).unwrap();
        let weights: Vec<_> = layer.parameters().into_iter().map(|(_, var)| var.value()).collect();
        let torch = to_torch(kind, [&weights[0], &weights[1], &weights[2]]);
        if kind == Recurrence::GruResetBefore {
            assert!(torch.unwrap_err().to_string().contains("PyTorch has no GRU that resets before"));
            continue;
        }
        let torch = torch.unwrap();
        assert_eq!(from_torch(kind, torch.each_ref()).unwrap().to_vec(), weights);
        let bad = Tensor::zeros([5]).unwrap();
        assert!(from_torch(kind, [&torch[0], &torch[1], &bad, &torch[3]]).is_err());
    }
}

#[test]
fn sequential_models_are_built_saved_and_loaded() {
    let model = Sequential::new([7])
        .add(Embedding::new(20, 6).padding(0))
        .add(Gru::new(5).bidirectional().layers(2).dropout(0.2).return_sequences(true))
        .add(Rnn::new(4))
        .add(Dense::new(3))
        .build(&mut rng(2))
        .unwrap();
    let names: Vec<_> = model.parameters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[0], "embedding.weight");
    assert_eq!(names[1], "gru.0.forward.weight");
    assert_eq!(names[4], "gru.0.backward.weight");
    assert_eq!(names[13], "rnn.weight");
    let per = |inputs: usize| (inputs + 5) * 15 + 20;
    assert_eq!(model.parameter_count(), 120 + 2 * per(6) + 2 * per(10) + (10 + 4) * 4 + 4 + 15);
    // Multiply-adds of two stacked bidirectional layers, of the last layer, and of the dense one, each as two.
    let stacked = 7 * 2 * ((6 + 5) * 15 + (10 + 5) * 15);
    let flops = 2 * (stacked + 7 * (10 + 4) * 4 + 4 * 3);
    assert_eq!(model.summary().flops, Some(flops));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.cairn");
    model.save(&path).unwrap();
    let again = Sequential::load(&path).unwrap();
    let ids = Tensor::from_vec((0..21).map(|i| i % 20).collect(), [3, 7]).unwrap();
    assert_eq!(model.predict_batch(&ids).unwrap(), again.predict_batch(&ids).unwrap());
}

#[test]
fn the_padding_row_stays_zero_and_bad_ids_are_errors() {
    let layer = Embedding::new(5, 3).padding(2).layer(&mut rng(0)).unwrap();
    let ids = Tensor::from_vec(vec![2, 1, 2, 4], [2, 2]).unwrap();
    let y = layer.forward(&ids).unwrap();
    assert_eq!(y.value().to_vec()[..3], [0.0; 3]);
    let gradients = y.sum(..).unwrap().backward().unwrap();
    let dense = gradients.of(&layer.weight).unwrap().to_vec();
    assert_eq!(dense[6..9], [0.0; 3]);
    assert_eq!(dense[3..6], [1.0; 3]);
    let error = layer.forward(&Tensor::from_vec(vec![0, 5], [2]).unwrap()).unwrap_err().to_string();
    assert!(error.contains("index 5 at position 1"), "{error}");
    assert!(Embedding::new(5, 3).padding(5).layer(&mut rng(0)).is_err());
    assert!(Embedding::new(0, 3).layer(&mut rng(0)).is_err());
}

#[test]
fn a_state_carried_on_gives_what_one_long_pass_gives() {
    for kind in KINDS {
        let layer = Recurrent::new(kind, 6).layers(2).layer(3, &mut rng(3)).unwrap();
        let x: Tensor = Tensor::normal([2, 8, 3], 0.0, 1.0, &mut rng(4)).unwrap();
        let cx = &mut Context::eval();
        let part = |start, len| Var::constant(x.narrow(1, start, len).unwrap());
        let (whole, _) = layer.forward_from(&part(0, 8), None, cx).unwrap();
        let (first, states) = layer.forward_from(&part(0, 5), None, cx).unwrap();
        let states: Vec<_> = states.iter().map(State::detach).collect();
        let (second, _) = layer.forward_from(&part(5, 3), Some(&states), cx).unwrap();
        let both = Tensor::cat(&[first.value(), second.value()], 1).unwrap();
        close(&both, whole.value(), &format!("{kind:?}"));
        assert!(
            layer
                .forward_from(&part(5, 3), Some(&states[..1]), cx)
                .unwrap_err()
                .to_string()
                .contains("2 states are needed")
        );
    }
}

#[test]
fn the_last_output_is_that_of_each_sequences_own_end() {
    let layer = Lstm::new(4).bidirectional().layer(3, &mut rng(5)).unwrap();
    let x = Var::constant(Tensor::normal([2, 6, 3], 0.0, 1.0, &mut rng(6)).unwrap());
    let lengths = Tensor::from_vec(vec![3, 6], [2]).unwrap();
    let cx = &mut Context::eval();
    let last = layer.forward(&x, &mut Context::eval().with_lengths(&lengths)).unwrap();
    let alone = layer.forward(&x.narrow(0, 0, 1).unwrap().narrow(1, 0, 3).unwrap(), cx).unwrap();
    close(&last.value().narrow(0, 0, 1).unwrap(), alone.value(), "the short one by itself");
}

#[test]
fn recurrent_dropout_is_for_training_only_and_seeded() {
    let layer = Lstm::new(16).recurrent_dropout(0.5).layer(3, &mut rng(7)).unwrap();
    let x = Var::constant(Tensor::normal([4, 6, 3], 0.0, 1.0, &mut rng(8)).unwrap());
    let run = |mut cx: Context| layer.forward(&x, &mut cx).unwrap().value().clone();
    assert_eq!(run(Context::eval()), run(Context::eval()));
    assert_eq!(run(Context::train(1)), run(Context::train(1)));
    assert_ne!(run(Context::train(1)), run(Context::eval()));
    assert_ne!(run(Context::train(1)), run(Context::train(2)));
    assert!(Lstm::new(4).recurrent_dropout(1.0).layer(3, &mut rng(0)).is_err());
    assert!(Lstm::new(0).layer(3, &mut rng(0)).is_err());
    assert!(Sequential::new([5]).add(Lstm::new(3)).build(&mut rng(0)).is_err());
}

/// A stack learns to say, at every step, the number it saw two steps before: it needs its memory for that.
#[test]
fn a_stack_learns_to_remember() {
    let mut rng = rng(9);
    let model = Sequential::new([8])
        .add(Embedding::new(4, 8))
        .add(Lstm::new(16).return_sequences(true))
        .add(Lstm::new(16).return_sequences(true))
        .add(Dense::new(4))
        .build(&mut rng)
        .unwrap();
    let drawn: Tensor = Tensor::uniform([64 * 8], 0.0, 4.0, &mut rng).unwrap();
    let ids: Vec<u32> = drawn.iter().map(|x| (x as u32).min(3)).collect();
    let targets = (0..ids.len()).map(|i| if i % 8 < 2 { 0 } else { ids[i - 2] }).collect();
    let ids = Tensor::from_vec(ids, [64, 8]).unwrap();
    let targets = Tensor::<u32>::from_vec(targets, [64, 8]).unwrap();
    for _ in 0..150 {
        let logits = model.forward(&ids, &mut Context::train(0)).unwrap();
        let gradients = cross_entropy(&logits, &targets).unwrap().backward().unwrap();
        model.for_each_parameter(&mut |_, var| {
            let gradient = gradients.get(var).unwrap().to_dense().unwrap();
            var.update(|w| w.add_assign(&gradient.sign()?.scale(-0.01)?)).unwrap();
        });
    }
    let predicted = model.predict_batch(&ids).unwrap().argmax(-1).unwrap();
    let hits = predicted.iter().zip(targets.iter()).filter(|(a, b)| a == b).count();
    assert!(hits >= 500, "{hits} of 512");
}

#[test]
fn more_layers_than_memory_holds_are_an_error() {
    let layers = usize::try_from(1u64 << 57).unwrap_or(usize::MAX);
    for layers in [layers, usize::MAX] {
        let spec = cairn_nn::spec::Lstm::new(1).layers(layers);
        assert!(spec.layer(1, &mut rng(0)).unwrap_err().to_string().contains("the number of layers"));
    }
}

#[test]
fn the_maximum_of_a_padded_sequence_is_that_of_its_steps() {
    let x = Var::constant(Tensor::from_vec(vec![-1.0f32, -2.0, 5.0, -3.0, 7.0, 8.0], [2, 3, 1]).unwrap());
    let lengths = Tensor::from_vec(vec![2, 0], [2]).unwrap();
    let mut cx = Context::eval().with_lengths(&lengths);
    assert_eq!(cairn_nn::GlobalMaxPool.forward(&x, &mut cx).unwrap().value().to_vec(), [-1.0, 0.0]);
    assert_eq!(cairn_nn::GlobalAvgPool.forward(&x, &mut cx).unwrap().value().to_vec(), [-1.5, 0.0]);
    let ones = Var::constant(Tensor::ones([1, 41, 2]).unwrap());
    let mut cx = Context::eval().with_lengths(&Tensor::from_vec(vec![41], [1]).unwrap());
    assert_eq!(cairn_nn::GlobalAvgPool.forward(&ones, &mut cx).unwrap().value().to_vec(), [1.0; 2]);
}
