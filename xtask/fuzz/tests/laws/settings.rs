//! No size, count or rate from outside panics or ends the process: each is answered by a result or an error.
//!
//! A list of calls, each made with every absurd number. It runs in a process of its own whose memory is limited as by `ulimit -v`, so
//! that what asks for too much is refused at once, as it would be in a container; an allocation that is not prepared for that
//! aborts, which fails the test with the call that was last begun. A public function that takes a size gets a line here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use cairn_datasets::text::{Padding, SequenceDataset, Vocabulary, WhitespaceTokenizer, WindowDataset, pad};
use cairn_datasets::{Dataset as _, Loader, TensorDataset, synthetic};
use cairn_nn::generate::Sampling;
use cairn_nn::{
    Init, MeanSquaredError, Model as _, Sequential, TransformerDecoder, TransformerEncoder, huber, sinusoids,
    spec, spec::LayerSpec,
};
use cairn_optim::metrics::{ConfusionMatrix, TopK};
use cairn_optim::word2vec::Word2Vec;
use cairn_optim::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, AnyOptimizer, Fit, Lamb, Lbfgs, Lion, NAdam, RAdam, RmsProp, Sgd,
    Trainer, schedules,
};
use cairn_recsys::{Als, Bpr, Ease, Estimator, Filter, ItemKnn, PureSvd, Rp3Beta, Slim, TopPop, UserKnn};
use cairn_tensor::{AttentionOptions, Pairs, Pool, Resize, Rotary, Tensor, Window, rng};

const SIZES: [usize; 9] =
    [0, 1, 3, 1 << 31, (1 << 33) + 1, 1 << 40, usize::MAX / 2 + 1, usize::MAX - 1, usize::MAX];
const RATES: [f64; 9] = [0.0, -1.0, 0.5, 1.0, 1e-320, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

/// A call: its name, and itself. What it returns is of no interest, only that it does.
type Call<T> = (&'static str, fn(T));

const OF_SIZES: &[Call<usize>] = &[
    // Tensors
    ("zeros", |n| drop(Tensor::<f32>::zeros([n]))),
    ("zeros of zeros", |n| drop(Tensor::<f32>::zeros([0, n, n]))),
    ("full", |n| drop(Tensor::<u8>::full([n, 2], 1))),
    ("eye", |n| drop(Tensor::<f32>::eye(n))),
    ("linspace", |n| drop(Tensor::<f32>::linspace(0.0, 1.0, n))),
    ("arange", |n| drop(Tensor::<f64>::arange(0.0, n as f64, 1.0))),
    ("permutation", |n| drop(Tensor::<u32>::permutation(n, &mut rng(0)))),
    ("normal", |n| drop(Tensor::<f32>::normal([n, 3], 0.0, 1.0, &mut rng(0)))),
    ("from_vec", |n| drop(Tensor::from_vec(vec![1.0f32; 6], [n, 3]))),
    ("reshape", |n| drop(square().reshape([n, 4]))),
    ("broadcast_to", |n| drop(square().broadcast_to([n, 4, 4]).and_then(|x| x.sum(0)))),
    ("tile", |n| drop(square().tile(&[n, n]))),
    ("repeat", |n| drop(square().repeat(0, n))),
    ("pad", |n| drop(square().pad(&[(n, 1), (1, n)], 0.0))),
    ("narrow", |n| drop((square().narrow(0, n, 1), square().narrow(0, 1, n)))),
    ("index", |n| drop(square().index(1, n))),
    ("get", |n| drop(square().get(&[n, 0]))),
    ("chunk", |n| drop(square().chunk(0, n))),
    ("split", |n| drop(square().split(0, &[n, n]))),
    ("one_hot", |n| drop(ids().one_hot::<f32>(n))),
    ("topk", |n| drop(square().topk(n, 1))),
    ("multinomial", |n| drop(square().abs().and_then(|x| x.multinomial(n, &mut rng(0))))),
    ("var", |n| drop(square().var(0, n))),
    ("tril", |n| drop((square().tril(n as isize), square().triu(n as isize), square().diagonal(n as isize)))),
    ("resize2d", |n| {
        drop((image().resize2d([n, 2], Resize::Bilinear), empty().resize2d([n, n], Resize::Nearest)));
    }),
    ("max_pool2d", |n| drop(image().max_pool2d(&Pool::new([n, n])))),
    ("avg_pool2d", |n| {
        drop(image().avg_pool2d(&Pool::sliding([2, 2], Window::default().stride([n, n]).padding([n, n]))));
    }),
    ("adaptive pool", |n| drop(image().avg_pool2d(&Pool::adaptive([n, n])))),
    ("conv2d", |n| {
        drop(image().conv2d(&filter(), None, false, &Window::default().stride([n, 1]).padding([n, n]), 1));
    }),
    ("conv2d dilation", |n| {
        drop(image().conv2d(&filter(), None, false, &Window::default().dilation([n, n]), n));
    }),
    ("conv_transpose2d", |n| {
        drop(image().conv_transpose2d(&filter(), None, &Window::default().stride([n, n]), [n, n], 1));
    }),
    ("rotary", |n| drop(Rotary::new(n).tables::<f32>(3))),
    ("rotary positions", |n| drop(Rotary::new(4).tables::<f32>(n))),
    ("attention", |n| {
        let x = Tensor::<f32>::ones([1, 3, 1, 4]).unwrap();
        drop(x.attention(&x, &x, None, &AttentionOptions::default().window(n)));
    }),
    // Networks
    ("dense", |n| build(&[4], spec::Dense::new(n))),
    ("embedding", |n| build(&[4], spec::Embedding::new(n, n))),
    ("lstm", |n| build(&[4, 4], spec::Lstm::new(n))),
    ("gru layers", |n| build(&[4, 4], spec::Gru::new(2).layers(n.max(1 << 40)))),
    ("conv1d", |n| build(&[9, 4], spec::Conv1d::new(n, n))),
    ("conv2d layer", |n| build(&[9, 9, 4], spec::Conv2d::new(3, n).stride(n).groups(n))),
    ("conv_transpose2d layer", |n| build(&[9, 9, 4], spec::ConvTranspose2d::new(n, 3).stride(n))),
    ("pooling layer", |n| build(&[9, 9, 4], cairn_nn::MaxPool2d::new(n).stride(n).padding(n))),
    ("adaptive pooling layer", |n| build(&[9, 9, 4], cairn_nn::AdaptiveAvgPool2d::new(n))),
    ("upsample", |n| build(&[9, 9, 4], cairn_nn::Upsample::new(n))),
    ("zero padding", |n| build(&[9, 9, 4], cairn_nn::ZeroPad2d::new(n))),
    ("group norm", |n| build(&[9, 9, 4], spec::GroupNorm::new(n))),
    ("encoder layer", |n| build(&[9, 4], spec::TransformerEncoderLayer::new(n, n))),
    ("encoder hidden", |n| build(&[9, 4], spec::TransformerEncoderLayer::new(2, n))),
    ("blocks", |n| {
        let (read, write) =
            (spec::TransformerEncoderLayer::new(1, 1), spec::TransformerDecoderLayer::new(1, 1));
        drop(TransformerEncoder::new(n, &read, 4, &mut rng(0)));
        drop(TransformerDecoder::new(n, &write, 4, &mut rng(0)));
        drop(spec::Transformer::new(5).features(4).heads(1).hidden(1).layers(n, n).layer(&mut rng(0)));
    }),
    ("attention window", |n| build(&[9, 4], spec::MultiHeadAttention::new(2).window(n).causal(true))),
    ("rotary heads", |n| {
        build(&[9, 4], spec::MultiHeadAttention::new(2).rotary(Rotary::new(n), Pairs::Halves));
    }),
    ("head size", |n| build(&[9, 4], spec::MultiHeadAttention::new(2).head_size(n).key_value_heads(n))),
    ("input", |n| build(&[n, n], spec::Dense::new(3))),
    ("sinusoids", |n| drop((sinusoids(n, 4), sinusoids(4, n)))),
    ("cache", |n| {
        let attention = cairn_nn::MultiHeadAttention::new(4, 2, &mut rng(0)).unwrap();
        drop((attention.cache(n, 1, 1), attention.cache(1, n, 1), attention.cache(1, 1, n)));
    }),
    ("sampling", |n| {
        drop(Sampling::new().top_k(n).no_repeat_ngram(n).draw_after(&[1, 2], &scores(), &mut rng(0)));
    }),
    // Training
    ("batch size", |n| fit(Fit::epochs(1).batch_size(n))),
    ("accumulate", |n| fit(Fit::epochs(1).accumulate(n))),
    ("no epochs", |n| fit(Fit::epochs(n.min(1)))),
    ("l-bfgs", |n| fit_by(Lbfgs::default().history_size(n).max_iterations(n.min(9)))),
    ("top k", |n| {
        let data = synthetic::digits(9, 1).unwrap().flatten();
        let model = Sequential::new([784]).add(spec::Dense::new(10)).build(&mut rng(0)).unwrap();
        let trainer =
            Trainer::new(Adam::default(), cairn_nn::SparseCategoricalCrossentropy).metric(TopK::new(n));
        drop(trainer.evaluate(&model, &data));
    }),
    ("confusion matrix", |n| drop(ConfusionMatrix::new(n).to_tensor())),
    ("word vectors", |n| {
        let texts = [vec!["a", "b", "a", "b", "c"]];
        drop(
            Word2Vec::skip_gram()
                .vector_size(n)
                .window(n)
                .negative(n.min(9))
                .min_count(1)
                .epochs(1)
                .fit(&texts),
        );
    }),
    // Data
    ("loader", |n| {
        drop(
            Loader::new(TensorDataset::new(points(), points()).unwrap())
                .batch_size(n)
                .epoch(0)
                .map(Iterator::count),
        );
    }),
    ("padding", |n| drop(pad(&[vec![1, 2, 3]], &Padding::new().length(n)))),
    ("padded batch", |n| {
        let data = SequenceDataset::new(vec![vec![1], vec![2, 3]], vec![0, 1], Padding::new().length(n));
        drop(data.and_then(|data| data.batch(&[0, 1])));
    }),
    ("windows", |n| drop((WindowDataset::new(vec![1; 9], n, 1), WindowDataset::new(vec![1; 9], 3, n)))),
    ("windows in rows", |n| {
        drop((WindowDataset::in_rows(vec![1; 9], n, 2), WindowDataset::in_rows(vec![1; 9], 2, n)));
    }),
    ("vocabulary", |n| {
        drop(
            Vocabulary::builder()
                .max_size(n)
                .min_count(n as u64)
                .texts(["a b a"], &WhitespaceTokenizer)
                .build(),
        );
    }),
    ("subset", |n| drop(TensorDataset::new(points(), points()).unwrap().subset(vec![n]))),
    ("samples out of range", |n| drop(TensorDataset::new(points(), points()).unwrap().batch(&[n]))),
    ("generated data", |n| {
        drop((synthetic::digits(n.max(1 << 33), 0), synthetic::shapes(n.max(1 << 33), 0)));
        drop((synthetic::sentences(n.max(1 << 40), 0), synthetic::text(n.max(1 << 40), 0)));
        drop((synthetic::translations(n.max(1 << 40), 0), synthetic::reviews(n.max(1 << 40), 0)));
        let plan = |users, items, ratings| synthetic::RatingsPlan { users, items, ratings, rank: 2 };
        drop((synthetic::ratings(&plan(n, 9, n), 0), synthetic::ratings(&plan(9, n, 9), 0)));
    }),
    // Recommenders
    ("als", |n| recommend(&Als::new().factors(n))),
    ("bpr", |n| recommend(&Bpr::new().factors(n))),
    ("pure svd", |n| recommend(&PureSvd::new(n))),
    ("item neighbours", |n| recommend(&ItemKnn::new(n))),
    ("user neighbours", |n| recommend(&UserKnn::new(n))),
    ("ease", |n| recommend(&Ease::new(n as f64))),
    ("lists", |n| {
        let model = TopPop::new().fit(&log()).unwrap();
        drop((model.recommend(&3, n, &Filter::unseen()), model.similar_items(&3, n)));
    }),
    ("power law", |n| {
        drop((
            cairn_recsys::synthetic::power_law(n.max(1 << 33), 3, 3, 0),
            cairn_recsys::synthetic::power_law(3, 3, n.max(1 << 40), 0),
        ));
    }),
];

const OF_RATES: &[Call<f64>] = &[
    ("normal", |x| {
        drop((
            Tensor::<f32>::normal([2], x, 1.0, &mut rng(0)),
            Tensor::<f32>::normal([2], 0.0, x, &mut rng(0)),
        ));
    }),
    ("uniform", |x| {
        drop((
            Tensor::<f32>::uniform([2], x, 1.0, &mut rng(0)),
            Tensor::<f32>::uniform([2], 0.0, x, &mut rng(0)),
        ));
    }),
    ("bernoulli", |x| drop(Tensor::<f32>::bernoulli([2], x, &mut rng(0)))),
    ("arange", |x| {
        drop((
            Tensor::<f64>::arange(0.0, 1.0, x),
            Tensor::<f64>::arange(x, 1.0, 0.5),
            Tensor::<f32>::arange(0.0, x as f32, 1.0),
        ));
    }),
    ("linspace", |x| drop(Tensor::<f64>::linspace(x, 1.0, 3))),
    ("multinomial", |x| drop(Tensor::full([2, 3], x).and_then(|x| x.multinomial(2, &mut rng(0))))),
    ("cast", |x| {
        drop((
            Tensor::full([2], x).and_then(|x| x.cast::<u32>()),
            Tensor::full([2], x).and_then(|x| x.cast::<i8>()),
        ));
    }),
    ("rotary base", |x| drop(Rotary::new(4).base(x).tables::<f32>(3))),
    ("attention", |x| {
        let t = Tensor::<f32>::ones([1, 3, 1, 4]).unwrap();
        for options in [
            AttentionOptions::default().scale(x),
            AttentionOptions::default().soft_cap(x),
            AttentionOptions::default().dropout(x, 1),
        ] {
            drop(t.attention(&t, &t, None, &options));
        }
    }),
    ("attention layer", |x| {
        build(&[9, 4], spec::MultiHeadAttention::new(2).scale(x));
        build(&[9, 4], spec::MultiHeadAttention::new(2).soft_cap(x));
        build(&[9, 4], spec::MultiHeadAttention::new(2).rotary(Rotary::new(2).base(x), Pairs::Halves));
    }),
    ("dropout", |x| build(&[4], cairn_nn::Dropout::new(x as f32))),
    ("epsilon", |x| build(&[4], spec::LayerNorm::new().epsilon(x as f32))),
    ("momentum", |x| build(&[4], spec::BatchNorm::new().momentum(x as f32).epsilon(x as f32))),
    ("init", |x| build(&[4], spec::Dense::new(3).kernel_init(Init::Normal(x as f32)))),
    ("huber", |x| drop(huber(&points().into(), &points(), x as f32))),
    ("sampling", |x| {
        for sampling in [
            Sampling::new().temperature(x),
            Sampling::new().top_p(x),
            Sampling::new().min_p(x),
            Sampling::new().repetition_penalty(x),
        ] {
            drop(sampling.draw_after(&[1, 2], &scores(), &mut rng(0)));
        }
    }),
    ("learning rates", |x| {
        fit_by(Sgd::new(x).momentum(x));
        fit_by(Adam::new(x).betas(x, x).epsilon(x));
        fit_by(AdamW::new(x).weight_decay(x));
        fit_by(RmsProp::new(x).alpha(x).epsilon(x).momentum(x));
        fit_by(Adagrad::new(x).initial_accumulator(x).epsilon(x));
        fit_by(Adadelta::new(x).rho(x));
        fit_by(NAdam::new(x));
        fit_by(RAdam::new(x));
        fit_by(Adamax::new(x));
        fit_by(Lamb::new(x));
        fit_by(Lion::new(x));
        fit_by(Lbfgs::new(x).tolerances(x, x).max_iterations(5));
    }),
    ("clipping", |x| {
        fit(Fit::epochs(1).clip_norm(x as f32));
        fit(Fit::epochs(1).clip_value(x as f32));
    }),
    ("validation split", |x| fit(Fit::epochs(1).validation_split(x))),
    ("schedules", |x| {
        fit(Fit::epochs(1).schedule(schedules::Exponential::new(x)));
        fit(Fit::epochs(1).schedule(schedules::Cosine::new(3).floor(x)));
        fit(Fit::epochs(1).schedule(schedules::Polynomial::new(3).power(x)));
        fit(Fit::epochs(1).schedule(schedules::OneCycle::new(3).upwards(x).start(x).end(x)));
        fit(Fit::epochs(1).schedule(schedules::Linear::new(x, x, 3)));
    }),
    ("word vectors", |x| {
        let texts = [vec!["a", "b", "a", "b", "c"]];
        drop(
            Word2Vec::skip_gram()
                .vector_size(4)
                .alpha(x)
                .sample(x)
                .ns_exponent(x)
                .min_count(1)
                .epochs(1)
                .fit(&texts),
        );
    }),
    ("als", |x| recommend(&Als::new().factors(3).regularization(x as f32).unobserved_weight(x as f32))),
    ("bpr", |x| recommend(&Bpr::new().factors(3).learning_rate(x as f32).regularization(x as f32))),
    ("ease", |x| recommend(&Ease::new(x))),
    ("rp3beta", |x| recommend(&Rp3Beta::new().alpha(x as f32).beta(x as f32))),
    ("slim", |x| recommend(&Slim::new().l1(x as f32).l2(x as f32))),
];

fn square() -> Tensor {
    Tensor::linspace(-1.0, 1.0, 16).unwrap().reshape([4, 4]).unwrap()
}

fn ids() -> Tensor<u32> {
    Tensor::from_vec(vec![0, 1], [2]).unwrap()
}

fn image() -> Tensor {
    Tensor::ones([1, 5, 5, 2]).unwrap()
}

fn empty() -> Tensor {
    Tensor::zeros([0, 5, 5, 2]).unwrap()
}

fn filter() -> Tensor {
    Tensor::ones([3, 3, 2, 2]).unwrap()
}

fn scores() -> Tensor {
    Tensor::linspace(0.0, 1.0, 5).unwrap()
}

fn points() -> Tensor {
    Tensor::linspace(-1.0, 1.0, 8).unwrap().reshape([8, 1]).unwrap()
}

fn line() -> Sequential {
    Sequential::new([1]).add(spec::Dense::new(1)).build(&mut rng(0)).unwrap()
}

fn log() -> cairn_recsys::Interactions {
    cairn_recsys::synthetic::planted_groups(20, 12, 2, 4, 0.1, 0).unwrap()
}

/// Builds a model of one layer, and where that works runs it on one sample.
fn build(input: &[usize], layer: impl Into<LayerSpec>) {
    if let Ok(model) = Sequential::new(input.to_vec()).add(layer).build(&mut rng(0)) {
        let sample: Vec<usize> = [&[1], input].concat();
        drop(Tensor::<f32>::zeros(sample.clone()).map(|x| model.predict_batch(&x)));
        drop(Tensor::<u32>::zeros(sample).map(|x| model.predict_batch(&x)));
    }
}

fn fit(fit: Fit<'_, Tensor, Tensor>) {
    let data = TensorDataset::new(points(), points()).unwrap();
    drop(Trainer::new(Sgd::new(0.1), MeanSquaredError).fit(&line(), &data, fit.quiet()));
}

fn fit_by(optimizer: impl Into<AnyOptimizer>) {
    let data = TensorDataset::new(points(), points()).unwrap();
    drop(Trainer::new(optimizer, MeanSquaredError).fit(&line(), &data, Fit::epochs(2).quiet()));
}

fn recommend<F: Estimator>(settings: &F) {
    if let Ok(model) = settings.fit(&log()) {
        drop(model.recommend(&3, 5, &Filter::unseen()));
    }
}

const CHILD: &str = "CAIRN_TEST_SETTINGS";

#[test]
fn no_number_from_outside_panics_or_ends_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let last = folder.path().join("last");
    let program = env::current_exe().unwrap();
    // In KiB: enough for the threads' stacks and the tests, and for no absurd size.
    let mut command = if cfg!(target_os = "linux") {
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -v 3000000; exec \"$0\" \"$@\""]).arg(program);
        shell
    } else {
        Command::new(program)
    };
    let test = "settings::every_call_with_every_number";
    // The stacks of a thread for each of many processors would take all of it.
    command.env("RAYON_NUM_THREADS", "2");
    let ended = command.args(["--exact", test, "--nocapture"]).env(CHILD, &last).output().unwrap();
    let (text, last) =
        (String::from_utf8_lossy(&ended.stderr).into_owned(), fs::read_to_string(&last).unwrap());
    assert!(ended.status.success(), "last begun: {last}\n{text}");
    assert_eq!(last, "all", "{text}");
}

/// A part of the test above.
#[test]
fn every_call_with_every_number() {
    let Some(last) = env::var_os(CHILD) else { return };
    let mut failed = Vec::new();
    let mut make = |name: &str, number: String, call: &mut dyn FnMut()| {
        let what = format!("{name} of {number}");
        fs::write(&last, &what).unwrap();
        let began = Instant::now();
        if catch_unwind(AssertUnwindSafe(call)).is_err() {
            failed.push(format!("{what} panics"));
        } else if began.elapsed() > Duration::from_secs(120) {
            failed.push(format!("{what} takes {:?}", began.elapsed()));
        }
    };
    for (name, call) in OF_SIZES {
        for size in SIZES {
            make(name, size.to_string(), &mut || call(size));
        }
    }
    for (name, call) in OF_RATES {
        for rate in RATES {
            make(name, rate.to_string(), &mut || call(rate));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    fs::write(&last, "all").unwrap();
}
