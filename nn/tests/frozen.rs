//! The final form of a model: the same answers, from any thread, without memory from the system.

use cairn_nn::Activation::{Gelu, LeakyRelu, Relu, Softmax, Tanh};
use cairn_nn::spec::{
    BatchNorm, Conv1d, Conv2d, ConvTranspose2d, Dense, Embedding, GroupNorm, Gru, LayerNorm, Lstm, RmsNorm,
    Rnn,
};
use cairn_nn::{
    AdaptiveAvgPool2d, AvgPool1d, AvgPool2d, Context, Dropout, Dropout2d, Flatten, Frozen, GlobalAvgPool,
    GlobalMaxPool, MaxPool1d, MaxPool2d, Model, Sequential, SequentialBuilder, Upsample, ZeroPad2d,
};
use cairn_tensor::{Shape, Tensor, rng};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

fn reference() -> SequentialBuilder {
    Sequential::new([784])
        .add(Dense::new(64).activation(Relu))
        .add(Dense::new(64).activation(Relu))
        .add(Dense::new(10))
}

/// A model whose running statistics and shifts are not those it begins with.
fn trained(builder: SequentialBuilder) -> Sequential {
    let model = builder.build(&mut rng(0)).unwrap();
    let mut state = cairn_nn::Module::state(&model);
    for (i, (name, tensor)) in state.iter_mut().enumerate() {
        let low = if name.ends_with("running_var") { 0.2 } else { -0.5 };
        *tensor = Tensor::<f32>::uniform(tensor.dims(), low, low + 1.0, &mut rng(i as u64)).unwrap().into();
    }
    cairn_nn::Module::load_state(&model, &state).unwrap();
    model
}

fn batch(input: &Shape, count: usize) -> Tensor {
    let shape: Shape = [count].iter().chain(input.iter()).copied().collect();
    Tensor::uniform(shape, -1.0, 1.0, &mut rng(5)).unwrap()
}

fn close(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-5 * (1.0 + a.abs().max(b.abs()))
}

#[test]
fn every_layer_answers_as_before() {
    let image = || Sequential::new([7, 6, 4]);
    let models = [
        reference(),
        Sequential::new([5]),
        image().add(Flatten).add(Dropout::new(0.5)).add(Dense::new(3).activation(Softmax)),
        Sequential::new([5])
            .add(Dense::new(4))
            .add(BatchNorm::new())
            .add(Relu)
            .add(Dense::new(2).bias(false)),
        Sequential::new([5]).add(Dense::new(4).activation(Tanh)).add(BatchNorm::new()).add(Gelu),
        Sequential::new([5]).add(Relu).add(LeakyRelu(0.1)).add(Relu),
        image().add(Dense::new(3)).add(BatchNorm::new()).add(Relu),
        image()
            .add(Conv2d::new(6, 3).bias(false).groups(2))
            .add(BatchNorm::new())
            .add(Relu)
            .add(MaxPool2d::new(2)),
        image()
            .add(Conv2d::new(6, 3).same().activation(Relu))
            .add(BatchNorm::new())
            .add(MaxPool2d::new(2).stride(1)),
        image().add(Conv2d::new(6, 3).stride(2)).add(MaxPool2d::new(2)).add(Relu).add(BatchNorm::new()),
        image().add(ConvTranspose2d::new(6, 3).stride(2)).add(BatchNorm::new()).add(Relu),
        image().add(ConvTranspose2d::new(6, 3).groups(2)).add(BatchNorm::new()).add(Dropout2d::new(0.3)),
        image().add(AvgPool2d::new(3).padding(1).count_padding()).add(GlobalMaxPool).add(Dense::new(2)),
        image().add(ZeroPad2d::sides(1, 0, 2, 1)).add(GroupNorm::new(2)).add(AdaptiveAvgPool2d::new([3, 2])),
        image().add(Upsample::new(2).bilinear()).add(Upsample::new([1, 3])).add(GlobalAvgPool),
        Sequential::new([12, 3])
            .add(Conv1d::new(6, 3).causal().dilation(2))
            .add(BatchNorm::new())
            .add(Relu)
            .add(MaxPool1d::new(2)),
        Sequential::new([12, 3])
            .add(LayerNorm::new())
            .add(Dense::new(4).activation(Relu))
            .add(RmsNorm::new()),
        Sequential::new([12, 3])
            .add(AvgPool1d::new(3))
            .add(GroupNorm::new(3))
            .add(Flatten)
            .add(Dense::new(2)),
        Sequential::new([6, 2])
            .add(Lstm::new(3).return_sequences(true).recurrent_dropout(0.5))
            .add(BatchNorm::new())
            .add(Gru::new(4).layers(2).bidirectional().dropout(0.5))
            .add(Dense::new(2)),
        Sequential::new([6, 2]).add(Rnn::new(3).reverse().return_sequences(true)).add(Rnn::relu(2).reverse()),
    ];
    for (i, builder) in models.into_iter().enumerate() {
        let model = trained(builder);
        let frozen = model.frozen().unwrap();
        assert_eq!(
            (frozen.input_shape(), frozen.output_shape()),
            (model.input_shape(), model.output_shape())
        );
        let x = batch(model.input_shape(), 3);
        let expected = model.predict_batch(&x).unwrap();
        let answers = frozen.predict_batch(&x).unwrap();
        assert_eq!(answers.shape(), expected.shape(), "model {i}");
        assert!(
            answers.iter().zip(expected.iter()).all(|(a, b)| close(a, b)),
            "model {i}: {answers} {expected}"
        );
        let mut scratch = frozen.scratch();
        for item in 0..3 {
            let sample = x.index(0, item).unwrap().to_vec();
            let answer = frozen.predict(&sample, &mut scratch).unwrap();
            let expected = expected.index(0, item).unwrap().to_vec();
            assert_eq!(answer.len(), expected.len());
            assert!(answer.iter().zip(&expected).all(|(&a, &b)| close(a, b)), "model {i}, sample {item}");
        }
    }
}

#[test]
fn a_single_answer_takes_no_memory() {
    let frozen = reference().build(&mut rng(0)).unwrap().frozen().unwrap();
    let sample = vec![0.25; 784];
    let mut scratch = frozen.scratch();
    frozen.predict(&sample, &mut scratch).unwrap();
    // Other tests of this binary run meanwhile: a stretch in which they took nothing either must come.
    let quiet = (0..1000).any(|_| {
        let (tensors, before) = (cairn_tensor::memory(), HEAP.current_usage());
        HEAP.reset_peak_usage();
        for _ in 0..10 {
            frozen.predict(&sample, &mut scratch).unwrap();
        }
        HEAP.peak_usage() == before && cairn_tensor::memory() == tensors
    });
    assert!(quiet);
}

#[test]
fn threads_share_the_weights_and_give_the_same_bits() {
    fn shared<T: Send + Sync>(_: &T) {}
    let frozen: Frozen = reference().build(&mut rng(0)).unwrap().frozen().unwrap();
    shared(&frozen);
    let samples: Vec<Vec<f32>> =
        (0..8).map(|i| Tensor::uniform([784], 0.0, 1.0, &mut rng(i)).unwrap().to_vec()).collect();
    let answers = |frozen: &Frozen| -> Vec<f32> {
        let mut scratch = frozen.scratch();
        samples.iter().flat_map(|sample| frozen.predict(sample, &mut scratch).unwrap().to_vec()).collect()
    };
    let expected = answers(&frozen);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| answers(&frozen.clone()))).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), expected);
        }
    });
}

#[test]
fn ids_are_looked_up() {
    let builder = Sequential::new([5]).add(Embedding::new(7, 3)).add(Lstm::new(4)).add(Dense::new(2));
    let model = trained(builder);
    let frozen = model.frozen().unwrap();
    let ids = Tensor::from_vec(vec![0u32, 6, 3, 3, 1, 5, 4, 0, 2, 6], [2, 5]).unwrap();
    let expected = model.predict_batch(&ids).unwrap();
    assert_eq!(frozen.predict_batch(&ids).unwrap(), expected);
    let mut scratch = frozen.scratch();
    let answer = frozen.predict_ids(&[5, 4, 0, 2, 6], &mut scratch).unwrap();
    // Of one row the product is another kernel's, which rounds otherwise.
    let expected = expected.index(0, 1).unwrap().to_vec();
    assert_eq!(answer.len(), expected.len());
    assert!(answer.iter().zip(&expected).all(|(&a, &b)| close(a, b)), "{answer:?} {expected:?}");
    assert!(frozen.predict_ids(&[1, 2], &mut scratch).is_err());
    let error = frozen.predict_ids(&[0, 0, 0, 7, 0], &mut scratch).unwrap_err().to_string();
    assert!(error.starts_with("embedding: ") && error.contains('7'), "{error}");
    let numbers = frozen.predict(&[0.0; 5], &mut scratch).unwrap_err().to_string();
    assert!(numbers.contains("an embedding looks up ids"), "{numbers}");
    let dense = reference().build(&mut rng(0)).unwrap().frozen().unwrap();
    assert!(dense.predict_batch(Tensor::<u32>::zeros([1, 784]).unwrap()).is_err());
    // What a layer computes is no id.
    let inside =
        Sequential::new([5]).add(Dense::new(2)).add(Embedding::new(7, 3)).build(&mut rng(0)).unwrap();
    let error = inside.frozen().unwrap_err().to_string();
    assert_eq!(
        error,
        "embedding: input of shape [2, 2] does not fit: an embedding looks up ids (`Tensor<u32>`), these are floats"
    );
}

#[test]
fn later_training_does_not_reach_it() {
    let model = Sequential::new([4]).add(BatchNorm::new().momentum(0.0)).build(&mut rng(0)).unwrap();
    let frozen = model.frozen().unwrap();
    let x = batch(model.input_shape(), 8);
    let before = frozen.predict_batch(&x).unwrap();
    model.forward(&x, &mut Context::train(0)).unwrap();
    assert_eq!(frozen.predict_batch(&x).unwrap(), before);
    assert_ne!(model.predict_batch(&x).unwrap(), before);
}

#[test]
fn samples_of_another_size_are_refused() {
    let frozen = reference().build(&mut rng(0)).unwrap().frozen().unwrap();
    let mut scratch = frozen.scratch();
    let error = frozen.predict(&[0.0; 3], &mut scratch).unwrap_err().to_string();
    assert_eq!(error, "input of shape [3] does not fit: the model takes samples of [784]");
    assert!(frozen.predict_batch(Tensor::<f32>::zeros([784]).unwrap()).is_err());
}
