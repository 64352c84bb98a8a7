//! The context: randomness that is counted, and masks that go where they are valid.

use cairn_autograd::Var;
use cairn_nn::{
    Context, Dropout, Dropout2d, Embedding, GlobalAvgPool, GlobalMaxPool, Gru, Linear, Lstm, Module, Result,
    SequenceMask, Sequential, cross_entropy, spec,
};
use cairn_tensor::{Tensor, rng};

fn ones(shape: &[usize]) -> Var {
    Var::constant(Tensor::ones(shape).unwrap())
}

fn dropped(cx: &mut Context) -> Tensor {
    Dropout::new(0.5).forward(&ones(&[8, 16]), cx).unwrap().value().clone()
}

#[test]
fn a_draw_is_a_function_of_seed_step_micro_batch_and_place() {
    let at = |seed, step, part| Context::train(seed).at_step(step).micro_batch(part);
    let first = dropped(&mut at(1, 2, 3));
    assert_eq!(first, dropped(&mut at(1, 2, 3)));
    assert_eq!(
        first,
        dropped(&mut Context::train(1).micro_batch(3).at_step(2)),
        "in whatever order it is said"
    );
    for other in [at(0, 2, 3), at(1, 3, 3), at(1, 2, 2), at(2, 1, 3), at(3, 2, 1)] {
        assert_ne!(first, dropped(&mut other.clone()), "{other:?}");
    }
    // The second place is another one, and how much the first drew is nothing to it.
    let cx = &mut at(1, 2, 3);
    dropped(cx);
    let second = dropped(cx);
    assert_ne!(first, second);
    let cx = &mut at(1, 2, 3);
    Dropout2d::new(0.9).forward(&ones(&[2, 3, 3, 5]), cx).unwrap();
    assert_eq!(second, dropped(cx));
}

#[test]
fn what_ran_before_a_step_does_not_change_it() {
    let model = Sequential::new([6, 3])
        .add(spec::Lstm::new(8).layers(2).dropout(0.5).recurrent_dropout(0.3).return_sequences(true))
        .add(Dropout2d::new(0.5))
        .add(Dropout::new(0.5))
        .build(&mut rng(0))
        .unwrap();
    let x: Tensor = Tensor::normal([4, 6, 3], 0.0, 1.0, &mut rng(1)).unwrap();
    let step = |n| model.forward(&x, &mut Context::train(5).at_step(n)).unwrap().value().clone();
    let third = step(3);
    let others = [step(0), step(1), step(2)];
    assert!(others.iter().all(|other| *other != third));
    assert_eq!(step(3), third);
}

#[test]
fn draws_are_spread_evenly_over_steps_and_places() {
    // 64 steps of 3 places of 128 elements: the share that is dropped is that of one long sequence of draws.
    let mut count = 0;
    for step in 0..64 {
        let cx = &mut Context::train(9).at_step(step);
        for _ in 0..3 {
            count += dropped(cx).iter().filter(|&x: &f32| x == 0.0).count();
        }
    }
    let (all, deviation) = (64.0 * 3.0 * 128.0, (64.0f64 * 3.0 * 128.0 * 0.25).sqrt());
    assert!((count as f64 - all / 2.0).abs() < 4.0 * deviation, "{count} of {all}");
}

fn masked() -> Sequential {
    Sequential::new([5])
        .add(spec::Embedding::new(9, 4).padding(0).masked())
        .add(spec::Gru::new(3).return_sequences(true))
        .add(GlobalAvgPool)
        .build(&mut rng(0))
        .unwrap()
}

#[test]
fn a_model_leaves_the_context_with_the_mask_it_came_with() {
    let ids = Tensor::from_vec(vec![3, 1, 0, 0, 0, 4, 4, 2, 0, 0], [2, 5]).unwrap();
    let cx = &mut Context::eval();
    masked().forward(&ids, cx).unwrap();
    assert!(cx.mask().is_none());
    let lengths = Tensor::from_vec(vec![1, 2], [2]).unwrap();
    let cx = &mut Context::eval().with_lengths(&lengths);
    masked().forward(&ids, cx).unwrap();
    assert!(cx.mask().is_some());
    // After an error too.
    let wrong = Tensor::from_vec(vec![999; 10], [2, 5]).unwrap();
    masked().forward(&wrong, cx).unwrap_err();
    assert!(cx.mask().is_some());
}

#[test]
fn lengths_that_the_caller_gives_do_what_a_masked_embedding_does() {
    let plain = Sequential::new([5])
        .add(spec::Embedding::new(9, 4))
        .add(spec::Gru::new(3).return_sequences(true))
        .add(GlobalAvgPool)
        .build(&mut rng(0))
        .unwrap();
    plain.load_state(&masked().state()).unwrap();
    let ids = Tensor::from_vec(vec![3, 1, 0, 0, 0, 4, 4, 2, 0, 0], [2, 5]).unwrap();
    let lengths = Tensor::from_vec(vec![2, 3], [2]).unwrap();
    let known = masked().forward(&ids, &mut Context::eval()).unwrap();
    let given = plain.forward(&ids, &mut Context::eval().with_lengths(&lengths)).unwrap();
    assert_eq!(known.value(), given.value());
    let all = plain.forward(&ids, &mut Context::eval()).unwrap();
    assert_ne!(known.value(), all.value());
}

#[test]
fn a_mask_ends_where_steps_are_mixed() {
    let model = Sequential::new([5])
        .add(spec::Embedding::new(9, 4).padding(0).masked())
        .add(spec::Conv1d::new(3, 2))
        .add(GlobalAvgPool)
        .build(&mut rng(0))
        .unwrap();
    let ids = Tensor::from_vec(vec![3, 1, 0, 0, 0], [1, 5]).unwrap();
    let maps = model.forward_until("conv1d", &ids, &mut Context::eval()).unwrap();
    let pooled = model.forward(&ids, &mut Context::eval()).unwrap();
    assert_eq!(pooled.value(), &maps.value().mean(1).unwrap());
}

#[test]
fn modules_read_the_mask_and_leave_it() {
    let (embed, gru) = (Embedding::new(9, 4, &mut rng(0)).unwrap(), Gru::new(4, 3, &mut rng(1)).unwrap());
    let ids = Tensor::from_vec(vec![0, 3, 1, 0, 0], [1, 5]).unwrap();
    let x = embed.forward(&ids).unwrap();
    let cx = &mut Context::eval();
    cx.set_mask(Some(SequenceMask::of_ids(&ids, 0).unwrap()));
    let last = gru.clone().return_sequences(false).forward(&x, cx).unwrap();
    let mean = GlobalAvgPool.forward(&gru.forward(&x, cx).unwrap(), cx).unwrap();
    assert!(cx.mask().is_some());
    let alone = gru.forward(&x.narrow(1, 1, 2).unwrap(), &mut Context::eval()).unwrap();
    assert_eq!(last.value(), &alone.value().index(1, 1).unwrap());
    let want = alone.value().mean(1).unwrap();
    for (a, b) in mean.value().iter().zip(want.iter()) {
        assert!((a - b).abs() < 1e-6, "{a} for {b}");
    }
}

#[test]
fn pools_refuse_masks_of_other_sequences() {
    let x = Tensor::<f32>::ones([2, 5, 3]).unwrap().into();
    let pooled = |lengths: &[u32]| {
        let lengths = Tensor::from_slice(lengths, [lengths.len()]).unwrap();
        let run = |pool: fn(&Var, &mut Context) -> Result<Var>| {
            pool(&x, &mut Context::eval().with_lengths(&lengths)).map(|y| y.value().to_vec())
        };
        [run(|x, cx| GlobalAvgPool.forward(x, cx)), run(|x, cx| GlobalMaxPool.forward(x, cx))]
    };
    for y in pooled(&[5, 0]) {
        assert_eq!(y.unwrap(), [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
    }
    for bad in [&[9, 5][..], &[5], &[5, 5, 5]] {
        assert!(pooled(bad).iter().all(Result::is_err), "{bad:?}");
    }
}

/// As a user writes it: plain names are layers.
#[derive(Module)]
struct Tagger {
    embed: Embedding,
    lstm: Lstm,
    head: Linear,
}

impl Tagger {
    fn forward(&self, tokens: &Tensor<u32>, cx: &mut Context) -> Result<Var> {
        self.head.forward(&self.lstm.forward(&self.embed.forward(tokens)?, cx)?)
    }
}

#[test]
fn a_tagger_learns_its_tags() {
    let mut rng = rng(0);
    let model = Tagger {
        embed: Embedding::new(6, 8, &mut rng).unwrap(),
        lstm: Lstm::new(8, 12, &mut rng).unwrap(),
        head: Linear::new(12, 3, &mut rng).unwrap(),
    };
    let names: Vec<_> = model.parameters().into_iter().map(|(name, _)| name).collect();
    let lstm = ["lstm.weight", "lstm.recurrent_weight", "lstm.bias"];
    assert_eq!(names, [&["embed.weight"][..], &lstm, &["head.weight", "head.bias"]].concat());
    let tokens = Tensor::from_vec((0..20).map(|i| (i * 7 % 11) % 6).collect(), [4, 5]).unwrap();
    let tags = Tensor::from_vec(tokens.iter().map(|token: u32| token % 3).collect(), [4, 5]).unwrap();
    let loss = || cross_entropy(&model.forward(&tokens, &mut Context::train(0)).unwrap(), &tags).unwrap();
    let before = loss().item().unwrap();
    for _ in 0..40 {
        let gradients = loss().backward().unwrap();
        model.for_each_parameter(&mut |_, parameter| {
            let step = gradients.of(parameter).unwrap().sign().unwrap().scale(-0.02).unwrap();
            parameter.update(|value| value.add_assign(&step)).unwrap();
        });
    }
    let after = loss().item().unwrap();
    assert!(after < 0.2 * before, "{before} to {after}");
}
