//! The loss over a vocabulary against its parts: a product, a log-softmax, a mean.

use cairn_tensor::{Error, LinearCrossEntropyOptions, Rng, Tensor, rng};
use proptest::prelude::*;
use rand::RngExt;

use crate::naive::{Naive, close, real, view};

const IGNORED: u32 = 1000;

proptest! {
    #[test]
    fn losses_and_gradients_are_those_of_the_parts(seed: u64) {
        let rng = &mut rng(seed);
        let (rows, time, classes, features) = (rng.random_range(0..9usize), rng.random_range(1..4usize), rng.random_range(1..70usize), rng.random_range(1..9usize));
        let (x, nx) = view(&[rows, time, features], seed ^ 1, real);
        let (table, nt) = view(&[classes, features], seed ^ 2, real);
        let positive = |rng: &mut Rng| rng.random_range(0.1..2.0);
        let (bias, nb) = view(&[classes], seed ^ 3, real);
        let (class_weights, nc) = view(&[classes], seed ^ 4, positive);
        let (row_weights, nr) = view(&[rows, time], seed ^ 5, |rng: &mut Rng| if rng.random_bool(0.2) { 0.0 } else { positive(rng) });
        let labels: Vec<u32> =
            (0..rows * time).map(|_| if rng.random_bool(0.2) { IGNORED } else { rng.random_range(0..classes as u32) }).collect();
        let labels = Tensor::from_vec(labels, [rows, time]).unwrap();
        let picks: [bool; 4] = std::array::from_fn(|_| rng.random_bool(0.5));
        let smoothing = if picks[0] { rng.random_range(0.0..0.9) } else { 0.0 };
        let mut options = LinearCrossEntropyOptions::default().ignored(IGNORED).smoothing(smoothing);
        if picks[1] {
            options = options.class_weights(&class_weights);
        }
        if picks[2] {
            options = options.row_weights(&row_weights);
        }
        let bias = picks[3].then_some(&bias);
        // The words of the documentation.
        let (mut loss, mut weight) = (0.0, 0.0);
        let mut dx = Naive { shape: nx.shape.clone(), data: vec![0.0; nx.data.len()] };
        let mut dt = Naive { shape: nt.shape.clone(), data: vec![0.0; nt.data.len()] };
        let mut db = Naive { shape: vec![classes], data: vec![0.0; classes] };
        for r in 0..rows {
            for t in 0..time {
                let label = labels.get(&[r, t]).unwrap();
                if label == IGNORED {
                    continue;
                }
                let of_class = |c: usize| if picks[1] { nc.at(&[c]) } else { 1.0 };
                let of_row = if picks[2] { nr.at(&[r, t]) } else { 1.0 };
                let logits: Vec<f64> = (0..classes)
                    .map(|c| (0..features).map(|f| nx.at(&[r, t, f]) * nt.at(&[c, f])).sum::<f64>() + bias.map_or(0.0, |_| nb.at(&[c])))
                    .collect();
                let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = logits.iter().map(|z| (z - most).exp()).sum();
                weight += of_row * of_class(label as usize);
                let target = |c: usize| {
                    let hit = if c == label as usize { (1.0 - smoothing) * of_class(c) } else { 0.0 };
                    of_row * (hit + smoothing / classes as f64 * of_class(c))
                };
                let sum: f64 = (0..classes).map(target).sum();
                for c in 0..classes {
                    loss -= target(c) * (logits[c] - most - total.ln());
                    let d = sum * (logits[c] - most).exp() / total - target(c);
                    db.data[c] += d;
                    for f in 0..features {
                        dx.data[(r * time + t) * features + f] += d * nt.at(&[c, f]);
                        dt.data[c * features + f] += d * nx.at(&[r, t, f]);
                    }
                }
            }
        }
        let result = x.linear_cross_entropy(&table, bias, &labels, &options, [true; 3]).unwrap();
        prop_assert!((result.loss - loss).abs() < 1e-10 * loss.abs().max(1.0), "{} for {}", result.loss, loss);
        prop_assert!((result.weight - weight).abs() < 1e-12 * weight.max(1.0));
        close(result.gradients[0].as_ref().unwrap(), &dx, 1e-10);
        close(result.gradients[1].as_ref().unwrap(), &dt, 1e-10);
        prop_assert_eq!(result.gradients[2].is_some(), bias.is_some());
        if let Some(got) = &result.gradients[2] {
            close(got, &db, 1e-10);
        }
        let alone = x.linear_cross_entropy(&table, bias, &labels, &options, [false; 3]).unwrap();
        prop_assert_eq!(alone.loss.to_bits(), result.loss.to_bits());
        prop_assert!(alone.gradients.iter().all(Option::is_none));
    }
}

#[test]
fn a_mean_over_nothing_is_zero() {
    let (x, table) = (Tensor::<f32>::ones([2, 3]).unwrap(), Tensor::ones([4, 3]).unwrap());
    let options = LinearCrossEntropyOptions::default().ignored(7);
    let labels = Tensor::full([2], 7u32).unwrap();
    let result = x.linear_cross_entropy(&table, None, &labels, &options, [true; 3]).unwrap();
    assert_eq!((result.loss, result.weight, result.mean()), (0.0, 0.0, 0.0));
    assert!(result.gradients[..2].iter().flatten().all(|gradient| gradient.iter().all(|x| x == 0.0)));
}

#[test]
fn parts_add_up_to_the_whole_and_never_fill_it() {
    // 2^25 logits in all: two parts.
    let (rows, classes) = (1 << 11, 1 << 14);
    let x = Tensor::<f32>::normal([rows, 2], 0.0, 1.0, &mut rng(1)).unwrap();
    let table = Tensor::normal([classes, 2], 0.0, 1.0, &mut rng(2)).unwrap();
    let labels =
        Tensor::from_vec((0..rows as u32).map(|i| i * 7 % classes as u32).collect(), [rows]).unwrap();
    let options = LinearCrossEntropyOptions::default();
    let whole = x.linear_cross_entropy(&table, None, &labels, &options, [true; 3]).unwrap();
    let (mut loss, mut of_table) = (0.0, Tensor::zeros([classes, 2]).unwrap());
    for part in 0..4 {
        let some = |first: usize| {
            (x.narrow(0, first, rows / 4).unwrap(), labels.narrow(0, first, rows / 4).unwrap())
        };
        let (x, labels) = some(part * rows / 4);
        let result = x.linear_cross_entropy(&table, None, &labels, &options, [true; 3]).unwrap();
        loss += result.loss;
        of_table.add_assign(result.gradients[1].as_ref().unwrap()).unwrap();
        let of_rows = whole.gradients[0].as_ref().unwrap().narrow(0, part * rows / 4, rows / 4).unwrap();
        assert!(
            of_rows
                .iter()
                .zip(result.gradients[0].as_ref().unwrap().iter())
                .all(|(a, b)| (a - b).abs() < 1e-5)
        );
    }
    assert!((loss - whole.loss).abs() < 1e-5 * loss);
    assert!(
        of_table.iter().zip(whole.gradients[1].as_ref().unwrap().iter()).all(|(a, b)| (a - b).abs() < 1e-5)
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let (x, table) = (Tensor::<f32>::ones([2, 3]).unwrap(), Tensor::ones([4, 3]).unwrap());
    let labels = |list: &[u32]| Tensor::from_slice(list, [list.len()]).unwrap();
    let plain = LinearCrossEntropyOptions::default();
    let run = |table: &Tensor, bias: Option<&Tensor>, list: &[u32], options: &LinearCrossEntropyOptions| {
        x.linear_cross_entropy(table, bias, &labels(list), options, [true; 3]).map(|result| result.loss)
    };
    assert!(run(&table, None, &[3, 0], &plain).is_ok());
    let mismatch = |result: Result<f32, Error>| {
        assert!(matches!(result, Err(Error::ShapeMismatch { op: "linear_cross_entropy", .. })), "{result:?}");
    };
    mismatch(run(&Tensor::ones([4, 2]).unwrap(), None, &[3, 0], &plain));
    mismatch(run(&table, None, &[3], &plain));
    mismatch(run(&table, Some(&Tensor::ones([3]).unwrap()), &[3, 0], &plain));
    mismatch(run(&table, None, &[3, 0], &plain.clone().class_weights(&Tensor::ones([3]).unwrap())));
    mismatch(run(&table, None, &[3, 0], &plain.clone().row_weights(&Tensor::ones([3]).unwrap())));
    assert!(matches!(
        run(&Tensor::ones([0, 3]).unwrap(), None, &[3, 0], &plain),
        Err(Error::BadShape { .. })
    ));
    let outside = run(&table, None, &[3, 4], &plain.clone().ignored(9));
    assert_eq!(
        outside.unwrap_err(),
        Error::IndexOutOfRange { op: "linear_cross_entropy", index: 4, position: 1, size: 4 }
    );
    let smooth = run(&table, None, &[3, 0], &plain.clone().smoothing(1.5));
    assert!(smooth.unwrap_err().to_string().contains("the label smoothing is 1.5"));
}
