//! Losses and initialisers against plain formulas.

use cairn_autograd::{Var, gradcheck};
use cairn_nn::{
    Activation, Context, CrossEntropy, Flatten, Huber, Init, Loss, MeanAbsoluteError, Module, Sequential,
    binary_cross_entropy, cross_entropy, huber, mae, mse, soft_cross_entropy, spec,
};
use cairn_tensor::{Tensor, rng};
use proptest::prelude::*;

fn var(values: &[f32], shape: &[usize]) -> Var {
    Var::parameter(Tensor::from_slice(values, shape).unwrap())
}

fn close(got: &Var, want: f64) -> Result<(), TestCaseError> {
    let got = f64::from(got.item().unwrap());
    prop_assert!((got - want).abs() <= 1e-5 * want.abs().max(1.0), "{got} for {want}");
    Ok(())
}

proptest! {
    #[test]
    fn losses_follow_their_formulas(
        rows in prop::collection::vec((prop::array::uniform3(-4.0..4.0f32), prop::array::uniform3(-4.0..4.0f32), 0..3u32), 1..6),
        delta in 0.1..3.0f32,
    ) {
        let n = rows.len();
        let x: Vec<f32> = rows.iter().flat_map(|row| row.0).collect();
        let t: Vec<f32> = rows.iter().flat_map(|row| row.1).collect();
        let labels: Vec<u32> = rows.iter().map(|row| row.2).collect();
        let (prediction, target) = (var(&x, &[n, 3]), Tensor::from_slice(&t, [n, 3]).unwrap());
        let pairs = || x.iter().zip(&t).map(|(&a, &b)| (f64::from(a), f64::from(b)));
        let mean = |f: &dyn Fn(f64, f64) -> f64| pairs().map(|(a, b)| f(a, b)).sum::<f64>() / (3 * n) as f64;

        close(&mse(&prediction, &target).unwrap(), mean(&|a, b| (a - b).powi(2)))?;
        close(&mae(&prediction, &target).unwrap(), mean(&|a, b| (a - b).abs()))?;
        close(&MeanAbsoluteError.loss(&prediction, &target).unwrap(), mean(&|a, b| (a - b).abs()))?;
        let delta64 = f64::from(delta);
        let huber_of = |a: f64, b: f64| {
            let d = (a - b).abs();
            if d <= delta64 { d * d / 2.0 } else { delta64 * (d - delta64 / 2.0) }
        };
        close(&huber(&prediction, &target, delta).unwrap(), mean(&huber_of))?;

        let log_softmax = |row: &[f32], i: usize| {
            let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
            f64::from(row[i]) - sum.ln()
        };
        let sparse = rows.iter().map(|(x, _, label)| -log_softmax(x, *label as usize)).sum::<f64>() / n as f64;
        let label_tensor = Tensor::from_slice(&labels, [n]).unwrap();
        close(&cross_entropy(&prediction, &label_tensor).unwrap(), sparse)?;
        let one_hot: Vec<f32> = labels.iter().flat_map(|&l| [0, 1, 2].map(|c| if c == l { 1.0 } else { 0.0 })).collect();
        let one_hot = Tensor::from_slice(&one_hot, [n, 3]).unwrap();
        close(&soft_cross_entropy(&prediction, &one_hot).unwrap(), sparse)?;

        let truth = target.gt(&Tensor::scalar(0.0)).unwrap().cast::<f32>().unwrap();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let binary = mean(&|a, b| if b > 0.0 { -sigmoid(a).ln() } else { -(1.0 - sigmoid(a)).ln() });
        close(&binary_cross_entropy(&prediction, &truth).unwrap(), binary)?;
    }

    #[test]
    fn initial_values_have_their_spread(seed: u64) {
        let mut rng = rng(seed);
        let std = |init: Init, rng: &mut cairn_tensor::Rng| {
            let w = init.tensor([100, 60], rng).unwrap().cast::<f64>().unwrap();
            (w.square().unwrap().mean(..).unwrap().item().unwrap().sqrt(), w.abs().unwrap().max(..).unwrap().item().unwrap())
        };
        for (init, variance, uniform) in [
            (Init::GlorotUniform, 2.0 / 160.0, true),
            (Init::GlorotNormal, 2.0 / 160.0, false),
            (Init::HeUniform, 2.0 / 100.0, true),
            (Init::HeNormal, 2.0 / 100.0, false),
            (Init::LecunUniform, 1.0 / 100.0, true),
            (Init::LecunNormal, 1.0 / 100.0, false),
            (Init::Normal(0.3), 0.09, false),
        ] {
            let (spread, largest) = std(init, &mut rng);
            let expected = f64::sqrt(variance);
            prop_assert!((spread / expected - 1.0).abs() < 0.06, "{init:?}: {spread} for {expected}");
            prop_assert!(!uniform || largest <= expected * 3f64.sqrt() * 1.000_001);
        }
        prop_assert!(Init::Zeros.tensor([3], &mut rng).unwrap().iter().all(|x| x == 0.0));
        prop_assert!(Init::Constant(2.5).tensor([3], &mut rng).unwrap().iter().all(|x| x == 2.5));
    }

    #[test]
    fn orthogonal_matrices_are(rows in 1..12usize, columns in 1..12usize, gain in 0.5..2.0f32, seed: u64) {
        let w = Init::Orthogonal(gain).tensor([rows, columns], &mut rng(seed)).unwrap();
        let gram = if rows <= columns { w.matmul(&w.t().unwrap()) } else { w.t().unwrap().matmul(&w) }.unwrap();
        let expected = Tensor::<f32>::eye(rows.min(columns)).unwrap().scale(gain * gain).unwrap();
        prop_assert!(gram.sub(&expected).unwrap().abs().unwrap().max(..).unwrap().item().unwrap() < 1e-5);
    }
}

#[test]
fn a_convolution_kernel_counts_its_positions_as_fan() {
    let w = Init::HeNormal.tensor([3, 3, 64, 32], &mut rng(0)).unwrap();
    let variance = w.square().unwrap().mean(..).unwrap().item().unwrap();
    assert!((variance * (9.0 * 64.0) / 2.0 - 1.0).abs() < 0.05, "{variance}");
}

#[test]
fn losses_refuse_what_would_broadcast_or_be_empty() {
    let prediction = var(&[1.0, 2.0], &[2, 1]);
    let flat = Tensor::from_vec(vec![1.0, 2.0], [2]).unwrap();
    for error in [mse(&prediction, &flat), mae(&prediction, &flat), binary_cross_entropy(&prediction, &flat)]
    {
        let message = error.unwrap_err().to_string();
        assert!(message.contains("[2, 1]") && message.contains("[2]"), "{message}");
    }
    let empty = Var::parameter(Tensor::<f32>::zeros([0, 3]).unwrap());
    assert!(cross_entropy(&empty, &Tensor::zeros([0]).unwrap()).unwrap_err().to_string().contains("empty"));
    assert!(huber(&prediction, prediction.value(), 0.0).unwrap_err().to_string().contains("delta"));
    let labels = Tensor::from_vec(vec![0, 1], [2]).unwrap();
    assert!(
        cross_entropy(&prediction, &labels).unwrap_err().to_string().contains("label 1 is none of 1"),
        "a label that is no class"
    );
    assert_eq!(Huber::default().delta, 1.0);
}

#[test]
fn closures_are_losses() {
    let loss = |y: &Var, t: &Tensor| -> cairn_nn::Result<Var> { Ok(mse(y, t)?.scale(2.0)?) };
    let y = var(&[3.0], &[1]);
    assert_eq!(loss.loss(&y, &Tensor::from_vec(vec![1.0], [1]).unwrap()).unwrap().item().unwrap(), 8.0);
}

#[test]
fn extreme_logits_give_finite_losses_and_gradients() {
    let x = var(&[1e4, -1e4], &[2, 1]);
    let t = Tensor::from_vec(vec![0.0, 1.0], [2, 1]).unwrap();
    let loss = binary_cross_entropy(&x, &t).unwrap();
    assert_eq!(loss.item().unwrap(), 1e4);
    assert!(loss.backward().unwrap().of(&x).unwrap().iter().all(f32::is_finite));
}

/// The loss as the composition it stands for, in f64, through the same operations.
#[test]
fn the_operations_underneath_have_right_derivatives() {
    let logits = Tensor::<f64>::normal([4, 3], 0.0, 2.0, &mut rng(1)).unwrap();
    let target = Tensor::<f64>::uniform([4, 3], 0.0, 1.0, &mut rng(2)).unwrap();
    gradcheck(std::slice::from_ref(&logits), |x| {
        x[0].softplus()?.sub(&x[0].mul(&target.clone().into())?)?.mean(..)
    })
    .unwrap();
    gradcheck(&[logits], |x| x[0].log_softmax(-1)?.mul(&target.clone().into())?.sum(-1)?.mean(..)?.neg())
        .unwrap();
}

#[test]
fn losses_take_probabilities_through_views_for_what_they_are() {
    let x = Var::parameter(Tensor::from_vec(vec![4.0f32], [1, 1]).unwrap());
    let one = Tensor::ones([1]).unwrap();
    let p = x.sigmoid().unwrap();
    for p in [p.squeeze(1), p.reshape([1]), p.flatten(0), p.index(1, 0)] {
        let loss = binary_cross_entropy(&p.unwrap(), &one).unwrap().item().unwrap();
        assert!((loss - 0.018_149_9).abs() < 1e-6, "{loss}");
    }
    let model = Sequential::new([4])
        .add(spec::Dense::new(3).activation(Activation::Softmax))
        .add(Flatten)
        .build(&mut cairn_tensor::rng(0))
        .unwrap();
    model.parameters()[0].1.set(Tensor::zeros([4, 3]).unwrap());
    model.parameters()[1].1.set(Tensor::from_vec(vec![0.0, 0.0, 4.0], [3]).unwrap());
    let output = model.forward(Tensor::<f32>::ones([1, 4]).unwrap(), &mut Context::eval()).unwrap();
    let label = Tensor::from_vec(vec![2], [1]).unwrap();
    let hard = cross_entropy(&output, &label).unwrap().item().unwrap();
    assert!((hard - 0.035_976_2).abs() < 1e-6, "{hard}");
    let soft = soft_cross_entropy(&output, &Tensor::from_vec(vec![0.0, 0.0, 1.0], [1, 3]).unwrap());
    assert!((soft.unwrap().item().unwrap() - hard).abs() < 1e-7);
}

#[test]
fn small_losses_and_large_logits_keep_their_digits() {
    let binary = |x: f32, t: f32| {
        let x = Var::parameter(Tensor::from_vec(vec![x], [1]).unwrap());
        let loss = binary_cross_entropy(&x, &Tensor::from_vec(vec![t], [1]).unwrap()).unwrap();
        (loss.item().unwrap(), loss.backward().unwrap().of(&x).unwrap().item().unwrap())
    };
    for (x, t, loss, slope) in [
        (10.0, 1.0, 4.539_89e-5, -4.539_79e-5),
        (-10.0, 0.0, 4.539_89e-5, 4.539_79e-5),
        (12.0, 1.0, 6.144_19e-6, -6.144_17e-6),
        (20.0, 1.0, 2.061_15e-9, -2.061_15e-9),
        (0.0, 1.0, std::f32::consts::LN_2, -0.5),
        (f32::NEG_INFINITY, 0.0, 0.0, 0.0),
        (f32::INFINITY, 1.0, 0.0, 0.0),
    ] {
        let (value, gradient): (f32, f32) = binary(x, t);
        assert!(
            (value - loss).abs() <= 1e-4 * loss && (gradient - slope).abs() <= 1e-4 * slope.abs(),
            "{x}: {value} {gradient}"
        );
    }
    let far = Var::parameter(Tensor::full([1, 2], 1e8f32).unwrap());
    let target = Tensor::from_vec(vec![1.0, 0.0], [1, 2]).unwrap();
    let loss = soft_cross_entropy(&far, &target).unwrap();
    assert!((loss.item().unwrap() - 2f32.ln()).abs() < 1e-6);
    let gradient = loss.backward().unwrap().of(&far).unwrap().to_vec();
    assert!((gradient[0] + 0.5).abs() < 1e-6 && (gradient[1] - 0.5).abs() < 1e-6, "{gradient:?}");
    let label = Tensor::zeros([1]).unwrap();
    let smooth = CrossEntropy::new().label_smoothing(0.1).loss(&far, &label).unwrap();
    let gradient = smooth.backward().unwrap().of(&far).unwrap().to_vec();
    assert!((gradient[0] + 0.45).abs() < 1e-6 && (gradient[1] - 0.45).abs() < 1e-6, "{gradient:?}");
    let masked = Var::parameter(Tensor::from_vec(vec![0.0f32, f32::NEG_INFINITY], [1, 2]).unwrap());
    let loss = soft_cross_entropy(&masked, &target).unwrap();
    assert_eq!(loss.item().unwrap(), 0.0);
    assert!(loss.backward().unwrap().of(&masked).unwrap().iter().all(f32::is_finite));
}

#[test]
fn wrong_labels_and_missing_layers_are_told_in_the_words_of_a_classifier() {
    let labels = Tensor::from_vec(vec![1, 4], [2]).unwrap();
    let text = |shape: &[usize]| {
        let logits = Var::constant(Tensor::zeros(shape).unwrap());
        let plain = cross_entropy(&logits, &labels).unwrap_err().to_string();
        assert_eq!(CrossEntropy::new().loss(&logits, &labels).unwrap_err().to_string(), plain);
        plain
    };
    assert!(text(&[2, 3]).contains("label 4 is none of 3 classes, which count from 0"));
    assert!(text(&[2, 5, 5, 3]).contains("is a Flatten or GlobalAvgPool missing"));
}

#[test]
fn distillation_is_the_divergence_at_a_temperature_and_the_labels_share() {
    use cairn_nn::Distillation;
    let (student, teacher) = (
        Tensor::from_vec(vec![1.0f32, -0.5, 2.0, 0.3, 0.1, -1.0], [2, 3]).unwrap(),
        Tensor::from_vec(vec![0.5f32, 1.5, -1.0, 2.0, -2.0, 0.0], [2, 3]).unwrap(),
    );
    let labels = Tensor::from_vec(vec![1u32, 0], [2]).unwrap();
    let softmax = |x: &[f32], t: f64| -> Vec<f64> {
        let e: Vec<f64> = x.iter().map(|x| (f64::from(*x) / t).exp()).collect();
        let sum: f64 = e.iter().sum();
        e.into_iter().map(|e| e / sum).collect()
    };
    for (t, alpha) in [(1.0f32, 1.0f32), (2.0, 0.5), (5.0, 0.25), (3.0, 0.0)] {
        let (s, q) = (student.to_vec(), teacher.to_vec());
        let mut expected = 0.0;
        for row in 0..2 {
            let (s, q) = (&s[3 * row..][..3], &q[3 * row..][..3]);
            let (ps, pt) = (softmax(s, t.into()), softmax(q, t.into()));
            let kl: f64 = pt.iter().zip(&ps).map(|(t, s)| t * (t / s).ln()).sum();
            let hard = -softmax(s, 1.0)[labels.to_vec()[row] as usize].ln();
            expected += (f64::from(alpha) * f64::from(t * t) * kl + (1.0 - f64::from(alpha)) * hard) / 2.0;
        }
        let loss = Distillation::new().temperature(t).alpha(alpha);
        let x = Var::parameter(student.clone());
        let targets = (teacher.clone(), labels.clone());
        let found = loss.loss(&x, &targets).unwrap();
        assert!((f64::from(found.item().unwrap()) - expected).abs() < 1e-5, "T {t}, α {alpha}");
        // Against small differences.
        let gradient = found.backward().unwrap().of(&x).unwrap().to_vec();
        for (i, gradient) in gradient.iter().enumerate() {
            let at = |step: f32| {
                let mut moved = student.to_vec();
                moved[i] += step;
                let moved = Var::constant(Tensor::from_vec(moved, [2, 3]).unwrap());
                loss.loss(&moved, &targets).unwrap().item().unwrap()
            };
            let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
            assert!((slope - gradient).abs() < 2e-3, "T {t}, α {alpha}, {i}: {slope} and {gradient}");
        }
    }
    // Rows with an ignored label have no part, whatever stands in them.
    let spoilt = |x: &Tensor| {
        let x = x.to_vec();
        Tensor::from_vec([&x[..3], &[f32::NAN; 3], &x[3..]].concat(), [3, 3]).unwrap()
    };
    for alpha in [0.25, 1.0] {
        let loss = Distillation::new().alpha(alpha);
        let x = Var::parameter(student.clone());
        let expected = loss.loss(&x, &(teacher.clone(), labels.clone())).unwrap();
        let slope = expected.backward().unwrap().of(&x).unwrap().to_vec();
        let (loss, wide) = (loss.ignore(255), Var::parameter(spoilt(&student)));
        let targets = (spoilt(&teacher), Tensor::from_vec(vec![1u32, 255, 0], [3]).unwrap());
        let found = loss.loss(&wide, &targets).unwrap();
        assert!((found.item().unwrap() - expected.item().unwrap()).abs() < 1e-6);
        assert_eq!(loss.weight(&wide, &targets).unwrap(), Some(2.0));
        let gradient = found.backward().unwrap().of(&wide).unwrap().to_vec();
        assert_eq!(gradient[3..6], [0.0; 3]);
        let rest = gradient[..3].iter().chain(&gradient[6..]);
        assert!(rest.zip(&slope).all(|(a, b)| (a - b).abs() < 1e-6));
        let nothing = (spoilt(&teacher), Tensor::full([3], 255u32).unwrap());
        let none = loss.loss(&wide, &nothing).unwrap();
        assert_eq!(none.item().unwrap(), 0.0);
        assert_eq!(none.backward().unwrap().of(&wide).unwrap().to_vec(), [0.0; 9]);
        let few = (spoilt(&teacher), Tensor::full([2], 0u32).unwrap());
        assert!(loss.loss(&wide, &few).is_err());
    }
    let same = Distillation::new().divergence(&Var::constant(teacher.clone()), &teacher).unwrap();
    assert!(same.item().unwrap().abs() < 1e-6);
    let far = Tensor::from_vec(vec![0.0f32, f32::NEG_INFINITY, 1.0], [1, 3]).unwrap();
    let masked = Distillation::new().divergence(&Var::constant(far.clone()), &far).unwrap();
    assert!(masked.item().unwrap().abs() < 1e-6, "classes that neither thinks possible");
    for (loss, what) in [
        (Distillation::new().temperature(0.0), "the temperature of distillation"),
        (Distillation::new().alpha(1.5), "the share of the teacher"),
    ] {
        let told = loss.divergence(&Var::constant(teacher.clone()), &teacher).unwrap_err().to_string();
        assert!(told.contains(what), "{told}");
    }
}
