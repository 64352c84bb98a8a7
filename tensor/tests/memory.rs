//! Memory is recycled: a steady loop takes no large block from the system. (A process of its own, since the counters
//! are the whole process's.)

use std::sync::{Mutex, PoisonError};

use cairn_tensor::{
    AttentionOptions, Causal, Isa, LinearCrossEntropyOptions, Rule, Tensor, memory, rng, trim_memory,
};

/// The counters are one test's at a time.
static ALONE: Mutex<()> = Mutex::new(());

#[derive(Clone, Copy)]
struct Descent(f32);
impl Rule<f32, 0> for Descent {
    #[inline(always)]
    fn update<S: Isa>(self, parameter: &mut f32, gradient: f32, []: [&mut f32; 0]) {
        *parameter -= self.0 * gradient;
    }
}

/// One step of training a linear classifier, by hand.
fn step(x: &Tensor<f32>, labels: &Tensor<u32>, w: &mut Tensor<f32>, b: &mut Tensor<f32>) -> f32 {
    let logits = x.linear(w, Some(b), false).unwrap();
    let (losses, p) = logits.cross_entropy(labels).unwrap();
    let each = Tensor::full(losses.dims(), 1.0 / losses.len() as f32).unwrap();
    let g = p.cross_entropy_backward(labels, &each).unwrap();
    let (gw, gb) = (x.t().unwrap().matmul(&g).unwrap(), g.sum(0).unwrap());
    w.update(&gw, [], Descent(0.5)).unwrap();
    b.update(&gb, [], Descent(0.5)).unwrap();
    losses.mean(..).unwrap().item().unwrap()
}

#[test]
fn a_steady_loop_takes_nothing_new_and_what_is_freed_is_counted() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let rng = &mut rng(1);
    let x = Tensor::<f32>::normal([256, 100], 0.0, 1.0, rng).unwrap();
    let labels = x.narrow(1, 0, 10).unwrap().argmax(1).unwrap();
    let (mut w, mut b) = (Tensor::zeros([100, 10]).unwrap(), Tensor::zeros([10]).unwrap());
    let first = step(&x, &labels, &mut w, &mut b);
    for _ in 0..3 {
        step(&x, &labels, &mut w, &mut b);
    }
    let before = memory();
    let mut last = f32::INFINITY;
    for _ in 0..200 {
        last = step(&x, &labels, &mut w, &mut b);
    }
    let after = memory();
    assert!(last < first / 5.0, "it learns: {first} to {last}");
    assert_eq!(after.allocated, before.allocated, "no new blocks");
    assert_eq!(after.live_bytes, before.live_bytes, "none kept");
    assert_eq!(after.peak_bytes, before.peak_bytes);
    assert!(after.reused >= before.reused + 200 * 4);

    // Large blocks are counted while they live, kept when freed, and returned on demand.
    let live = memory().live_bytes;
    let big = Tensor::<f32>::zeros([1 << 20]).unwrap();
    assert!(memory().live_bytes >= live + (4 << 20));
    let view = big.reshape([1 << 10, 1 << 10]).unwrap();
    drop(big);
    assert!(memory().live_bytes >= live + (4 << 20), "a view keeps the storage");
    let idle = memory().idle_bytes;
    drop(view);
    assert_eq!(memory().live_bytes, live);
    assert!(memory().idle_bytes >= idle + (4 << 20));
    trim_memory();
    assert_eq!(memory().idle_bytes, 0);
    // Recycled memory that was numbers is never seen as truth values that are neither.
    drop(Tensor::full([100_000], u8::MAX).unwrap());
    assert!(Tensor::<bool>::build([100_000], |_| {}).unwrap().iter().all(|b| !b));
}

/// As batches of differing lengths ask for them: sizes between 512 KiB and 1 MiB in no order, five at a time.
#[test]
fn blocks_of_differing_sizes_do_not_pile_up() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    trim_memory();
    let live = memory().live_bytes;
    let mut size = 0x2545_F491_u32;
    let mut draw = || {
        size = size.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (1 << 17) + (size >> 15) as usize
    };
    let mut most = 0;
    let before = memory();
    for _ in 0..2000 {
        let batch: Vec<Tensor<f32>> = (0..5).map(|_| Tensor::zeros([draw()]).unwrap()).collect();
        most = most.max(memory().live_bytes - live);
        drop(batch);
    }
    let blocks = memory().allocated - before.allocated;
    assert!(blocks <= 25, "{blocks} blocks were asked of the system");
    let idle = memory().idle_bytes;
    assert!(idle <= 2 * most, "{idle} bytes lie idle, of {most} in use at most");
    trim_memory();
}

#[test]
fn neither_scores_nor_logits_are_ever_there_as_a_whole() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // 64 MiB of scores, 128 MiB of logits.
    let x = Tensor::<f32>::normal([1, 1 << 12, 1, 4], 0.0, 1.0, &mut rng(1)).unwrap();
    let grown = |f: &dyn Fn()| {
        let before = memory().live_bytes;
        f();
        memory().peak_bytes - before
    };
    let attention = grown(&|| {
        let options = AttentionOptions::default();
        let (y, sums) = x.attention(&x, &x, None, &options).unwrap();
        x.attention_backward(&x, &x, None, &options, [&y, &sums, &y], [true, true, true, false]).unwrap();
    });
    assert!(attention < 8 << 20, "{attention} bytes for attention");
    // The most there ever was is still so little that it would show.
    for (name, run) in every_option_of_attention(1 << 11) {
        let attention = grown(&run);
        assert!(attention < 8 << 20, "{attention} bytes for attention with {name}");
    }
    let (rows, table) = (x.reshape([1 << 12, 4]).unwrap(), Tensor::ones([1 << 13, 4]).unwrap());
    let labels = Tensor::full([1 << 12], 5u32).unwrap();
    let loss = grown(&|| {
        let options = LinearCrossEntropyOptions::default();
        rows.linear_cross_entropy(&table, None, &labels, &options, [true; 3]).unwrap();
    });
    assert!(loss < 80 << 20, "{loss} bytes for the loss");
}

/// Attention of so many steps and two heads, forward and back, with each of its options but a mask or a bias of all pairs, which would be
/// as large themselves. Of 2,048 steps the scores would take 32 MiB.
fn every_option_of_attention(steps: usize) -> Vec<(&'static str, impl Fn())> {
    let draw = |shape: [usize; 4]| Tensor::<f32>::normal(shape, 0.0, 1.0, &mut rng(1)).unwrap();
    let (q, k, v) = (draw([1, steps, 2, 4]), draw([1, steps, 1, 4]), draw([1, steps, 1, 8]));
    let (bias, g) = (draw([1, 2, 1, steps]), draw([1, steps, 2, 8]));
    let plain = AttentionOptions::default;
    let visible = Tensor::from_vec((0..steps).map(|i| i % 7 != 3).collect(), [steps]).unwrap();
    let lengths = Tensor::full([1], steps as u32 - 3).unwrap();
    let bottom = plain().causal(Causal::BottomRight);
    let everything = bottom.clone().window(1500).scale(0.3).soft_cap(2.0).alibi(2).dropout(0.2, 1);
    let options = [
        ("a causal mask", plain().causal(Causal::TopLeft)),
        ("another causal mask", bottom),
        ("a window", plain().window(1500)),
        ("a soft cap", plain().soft_cap(2.0)),
        ("linear biases", plain().alibi(2)),
        ("dropout", plain().dropout(0.2, 1)),
        ("a mask", plain().visible(&visible)),
        ("lengths", plain().key_lengths(&lengths).query_lengths(&lengths)),
        ("everything", everything.visible(&visible).key_lengths(&lengths).query_lengths(&lengths)),
    ];
    let with = |(name, options): (&'static str, AttentionOptions)| {
        let [q, k, v, bias, g] = [&q, &k, &v, &bias, &g].map(Tensor::clone);
        let run = move || {
            let (y, sums) = q.attention(&k, &v, Some(&bias), &options).unwrap();
            q.attention_backward(&k, &v, Some(&bias), &options, [&y, &sums, &g], [true; 4]).unwrap();
        };
        (name, run)
    };
    options.into_iter().map(with).collect()
}
