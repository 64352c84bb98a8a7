//! Gradients are handed on in the memory that they were computed in. (A process of its own, since the counters are the whole process's.)

use std::sync::{Mutex, PoisonError};

use cairn_autograd::Var;
use cairn_tensor::{LinearCrossEntropyOptions, Tensor, Window, memory};

/// Tests run one after the other: each looks at counters of all.
static ALONE: Mutex<()> = Mutex::new(());

/// Blocks of memory that were handed out so far.
fn blocks() -> usize {
    memory().allocated + memory().reused
}

#[test]
fn the_gradient_of_a_table_that_is_an_embedding_too_is_not_copied() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let table = Tensor::<f32>::linspace(-1.0, 1.0, 512 * 64).unwrap().reshape([512, 64]).unwrap();
    let table = Var::parameter(table);
    let ids = Tensor::from_vec(vec![1, 2, 1], [3]).unwrap();
    let rows = table.lookup(&ids).unwrap();
    let options = LinearCrossEntropyOptions::default();
    let (sum, weight) = rows.linear_cross_entropy(&table, None, &ids, &options).unwrap();
    let loss = sum.mean_over(weight).unwrap();
    // Those of a few rows are below what is counted.
    let before = blocks();
    let gradients = loss.backward().unwrap();
    assert_eq!(blocks(), before, "the table's gradient was there already");

    // The same as of two tables.
    let parts = [Var::parameter(table.value().clone()), Var::parameter(table.value().clone())];
    let rows = parts[0].lookup(&ids).unwrap();
    let (sum, weight) = rows.linear_cross_entropy(&parts[1], None, &ids, &options).unwrap();
    let apart = sum.mean_over(weight).unwrap().backward().unwrap();
    let both = apart.of(&parts[0]).unwrap().add(&apart.of(&parts[1]).unwrap()).unwrap();
    assert_eq!(gradients.of(&table).unwrap(), both);
}

#[test]
fn values_that_no_derivative_needs_are_freed_while_the_graph_goes_on() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let x = Var::parameter(Tensor::<f32>::ones([1 << 16]).unwrap());
    let before = memory().live_bytes;
    // Sums keep nothing, and a rectifier its result.
    let mut sum = x.relu().unwrap();
    for _ in 0..10 {
        sum = sum.add(&x).unwrap();
    }
    let array = 4 << 16;
    assert_eq!(memory().live_bytes - before, 2 * array, "the rectifier's result, and the last sum");
    let gradients = sum.sum(..).unwrap().backward().unwrap();
    assert_eq!(gradients.of(&x).unwrap().get(&[7]).unwrap(), 11.0);
    drop((sum, gradients));

    // Probabilities know their logits for as long as somebody has them, and no longer.
    let mut sum = x.scale(2.0).unwrap().sigmoid().unwrap();
    assert_eq!(memory().live_bytes - before, 2 * array, "the logits, and the probabilities");
    for _ in 0..10 {
        sum = sum.add(&x).unwrap();
    }
    assert_eq!(memory().live_bytes - before, 2 * array, "the probabilities, and the last sum");
    drop(sum);

    // A product keeps of its factors what it needs for the gradients that are wanted.
    let mask = Var::constant(Tensor::<f32>::ones([1 << 16]).unwrap());
    let dropped = x.scale(2.0).unwrap().mul(&mask).unwrap();
    assert_eq!(memory().live_bytes - before, 2 * array, "the mask, and the product");
    let gradients = dropped.sum(..).unwrap().backward().unwrap();
    assert_eq!(gradients.of(&x).unwrap().get(&[7]).unwrap(), 2.0);
    drop((mask, dropped, gradients));

    // Dropout keeps a byte for each element.
    let kept = Tensor::full([1 << 16], true).unwrap();
    let dropped = x.scale(2.0).unwrap().masked_scale(&kept, 1.25).unwrap();
    drop(kept);
    assert_eq!(memory().live_bytes - before, array + array / 4, "the mask, and the product");
    let gradients = dropped.sum(..).unwrap().backward().unwrap();
    assert_eq!(gradients.of(&x).unwrap().get(&[7]).unwrap(), 2.5);
}

#[test]
fn layers_that_are_frozen_keep_nothing_of_what_they_are_given() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let array = 4 << 16;
    let x = Var::parameter(Tensor::<f32>::ones([256, 256]).unwrap());
    let frozen = Var::constant(Tensor::<f32>::eye(256).unwrap());
    let bias = Var::parameter(Tensor::<f32>::zeros([256]).unwrap());
    type Layer = fn(&Var, &Var, &Var) -> cairn_autograd::Result<Var>;
    let layers: [Layer; 5] = [
        |x, w, _| x.linear(w, None, false),
        |x, w, b| x.linear(w, Some(b), false),
        |x, w, _| x.matmul(w),
        |x, w, _| {
            x.reshape([1, 16, 16, 256])?.conv2d(
                &w.reshape([1, 1, 256, 256])?,
                None,
                false,
                &Window::default(),
                1,
            )
        },
        |x, _, _| x.div(&Var::constant(Tensor::ones([256, 256])?)),
    ];
    for (number, layer) in layers.into_iter().enumerate() {
        let before = memory().live_bytes;
        let y = layer(&x.scale(2.0).unwrap(), &frozen, &bias).unwrap();
        let kept = memory().live_bytes - before;
        // The last makes what it divides by.
        let made = if number == 4 { 2 } else { 1 };
        assert!((made * array..(made + 1) * array).contains(&kept), "layer {number}: {kept} bytes");
        let gradients = y.sum(..).unwrap().backward().unwrap();
        assert_eq!(gradients.of(&x).unwrap().get(&[3, 5]).unwrap(), 2.0, "layer {number}");
    }
}

#[test]
fn the_gradient_of_logits_lies_where_the_probabilities_were() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let logits = Var::parameter(Tensor::<f32>::zeros([64, 1000]).unwrap());
    let losses = logits.cross_entropy(&Tensor::full([64], 3u32).unwrap()).unwrap();
    let gradient = Tensor::ones([64]).unwrap();
    let before = blocks();
    let gradients = losses.backward_from(gradient).unwrap();
    assert_eq!(blocks(), before);
    assert!((gradients.of(&logits).unwrap().get(&[5, 3]).unwrap() + 0.999).abs() < 1e-6);
}
