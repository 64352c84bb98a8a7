//! Values and gradients that are known exactly, where a formula loses digits, is undefined at a point, or is fed something else.

use cairn_autograd::{Result, Var};
use cairn_tensor::{Slice, Tensor};

type Seen = fn(&Var) -> Result<Var>;

fn row(values: &[f32]) -> Var {
    Var::parameter(Tensor::from_slice(values, [values.len()]).unwrap())
}

fn label(values: &[u32]) -> Tensor<u32> {
    Tensor::from_slice(values, [values.len()]).unwrap()
}

#[test]
fn a_softmax_is_known_through_views_and_identities() {
    let x = Var::parameter(Tensor::from_vec(vec![0.0f32, 0.0, 4.0, 1.0, 0.0, 0.0], [2, 1, 3]).unwrap());
    let direct = x.reshape([2, 3]).unwrap().cross_entropy(&label(&[2, 0])).unwrap().value().to_vec();
    assert!((direct[0] - 0.035_976_2).abs() < 1e-6);
    let through: [(&str, Seen); 13] = [
        ("flatten", |p| p.flatten(1)),
        ("reshape", |p| p.reshape([2, 3])),
        ("squeeze", |p| p.squeeze(1)),
        ("index", |p| p.index(1, 0)),
        ("slice", |p| p.slice([Slice::from(..), Slice::from(0)])),
        ("clamp", |p| p.squeeze(1)?.clamp(1e-7, 1.0 - 1e-7)),
        ("scale", |p| p.squeeze(1)?.scale(1.0)),
        ("relu", |p| p.squeeze(1)?.relu()),
        ("transposed twice", |p| p.squeeze(1)?.t()?.t()),
        ("joined", |p| Var::cat(&[&p.narrow(0, 0, 1)?, &p.narrow(0, 1, 1)?], 0)?.squeeze(1)),
        ("picked", |p| p.squeeze(1)?.index_select(0, &[0, 1])),
        ("reversed twice", |p| p.squeeze(1)?.flip(-1)?.flip(-1)),
        ("stretched", |p| p.squeeze(1)?.broadcast_to([1, 2, 3])?.squeeze(0)),
    ];
    for (name, see) in through {
        let p = see(&x.softmax(-1).unwrap()).unwrap();
        let losses = p.cross_entropy(&label(&[2, 0])).unwrap();
        assert_eq!(losses.value().to_vec(), direct, "{name}");
        let gradient = losses.sum(..).unwrap().backward().unwrap().of(&x).unwrap();
        assert!((gradient.get(&[0, 0, 2]).unwrap() + 0.035_336_7).abs() < 1e-6, "{name}");
    }
    let p = x.softmax(-1).unwrap().squeeze(1).unwrap().detach();
    assert_eq!(p.cross_entropy(&label(&[2, 0])).unwrap().value().to_vec(), direct);
    assert!(!p.softmax_logits().unwrap().is_tracked());
    // Along another axis that becomes the last.
    let columns = Var::parameter(x.value().reshape([2, 3]).unwrap().t().unwrap());
    let p = columns.softmax(0).unwrap().t().unwrap();
    assert_eq!(p.cross_entropy(&label(&[2, 0])).unwrap().value().to_vec(), direct);
}

#[test]
fn a_sigmoid_is_known_through_views_and_identities() {
    let x = Var::parameter(Tensor::from_vec(vec![4.0f32], [1, 1]).unwrap());
    let through: [(&str, Seen); 7] = [
        ("itself", |p| Ok(p.clone())),
        ("squeeze", |p| p.squeeze(1)),
        ("reshape", |p| p.reshape([1])),
        ("flatten", |p| p.flatten(0)),
        ("index", |p| p.index(1, 0)),
        ("clamp", |p| p.clamp(0.0, 1.0)),
        ("tile", |p| p.tile(&[1, 1])),
    ];
    for (name, see) in through {
        let p = see(&x.sigmoid().unwrap()).unwrap();
        let logits = p.sigmoid_logits().unwrap_or_else(|| panic!("{name}"));
        assert_eq!((logits.shape(), logits.value().to_vec()), (p.shape(), vec![4.0]), "{name}");
    }
}

#[test]
fn what_changes_probabilities_is_not_seen_through() {
    let x = Var::parameter(Tensor::from_vec(vec![0.0f32, 1.0, 2.0, 3.0, 4.0, 5.0], [2, 3]).unwrap());
    let changes: [Seen; 7] = [
        |p| p.scale(0.5),
        |p| p.reshape([3, 2]),
        |p| p.narrow(1, 0, 2),
        |p| p.square(),
        |p| p.t(),
        |p| Var::cat(&[p, p], 1),
        |p| p.neg(),
    ];
    for (i, change) in changes.into_iter().enumerate() {
        assert!(change(&x.softmax(-1).unwrap()).unwrap().softmax_logits().is_none(), "change {i}");
    }
    let mixed = Var::cat(&[&x.softmax(-1).unwrap(), &x], 0).unwrap();
    assert!(mixed.softmax_logits().is_none(), "only half of it is probabilities");
    assert!(x.sigmoid().unwrap().softmax_logits().is_none());
    assert!(x.sigmoid().unwrap().pad(&[(0, 0), (1, 0)], 0.0).unwrap().sigmoid_logits().is_none());
}

#[test]
fn an_ignored_label_has_no_part_in_loss_and_gradient() {
    let x = Var::parameter(Tensor::from_vec(vec![f32::INFINITY, 0.0, 0.0, 2.0], [2, 2]).unwrap());
    let losses = x.cross_entropy_ignoring(&label(&[u32::MAX, 1]), Some(u32::MAX)).unwrap();
    assert!((losses.sum(..).unwrap().item().unwrap() - 0.126_928).abs() < 1e-6);
    let gradient = losses.sum(..).unwrap().backward().unwrap().of(&x).unwrap().to_vec();
    assert_eq!(gradient[..2], [0.0; 2]);
    assert!((gradient[2] - 0.119_203).abs() < 1e-6);
}

#[test]
fn powers_of_zero_have_the_derivatives_of_analysis() {
    let (x, y) = (row(&[0.0, 2.0, 0.0, 0.0]), row(&[1.0, 1.0, 0.0, -1.0]));
    let gradients = x.pow(&y).unwrap().sum(..).unwrap().backward().unwrap();
    let of_y = gradients.of(&y).unwrap().to_vec();
    assert!((of_y[1] - 1.386_294_4).abs() < 1e-6);
    assert_eq!([of_y[0], of_y[2], of_y[3]], [0.0, 0.0, f32::NEG_INFINITY]);
    assert_eq!(gradients.of(&x).unwrap().to_vec(), [1.0, 1.0, 0.0, f32::NEG_INFINITY]);
}

#[test]
fn a_quotient_has_its_derivative_where_the_way_there_would_overflow() {
    let (a, b) = (row(&[3e38]), row(&[2.0]));
    let g = Tensor::from_vec(vec![3.0f32], [1]).unwrap();
    let gradients = a.div(&b).unwrap().backward_from(g).unwrap();
    assert_eq!(gradients.of(&b).unwrap().to_vec(), [-2.25e38]);
}

#[test]
fn what_logits_have_in_common_does_not_change_gradients() {
    for v in [0.0f32, 1e4, 1e7, 1e8] {
        let first = |x: &Var| x.log_softmax(-1)?.index(0, 0)?.backward();
        let x = row(&[v, v]);
        let gradient = first(&x).unwrap().of(&x).unwrap().to_vec();
        assert!((gradient[0] - 0.5).abs() < 1e-6 && (gradient[1] + 0.5).abs() < 1e-6, "{v}: {gradient:?}");
        let x = row(&[v, v]);
        let gradient = x.logsumexp(..).unwrap().backward().unwrap().of(&x).unwrap().to_vec();
        assert!(gradient.iter().all(|g| (g - 0.5).abs() < 1e-6), "{v}: {gradient:?}");
    }
}

#[test]
fn a_deviation_of_zero_has_no_gradient() {
    let x = Var::parameter(Tensor::<f32>::ones([41, 3]).unwrap());
    let std = x.std(0, 1).unwrap();
    assert_eq!(std.value().to_vec(), [0.0; 3]);
    let gradient = std.sum(..).unwrap().backward().unwrap().of(&x).unwrap();
    assert!(gradient.iter().all(|g| g == 0.0));
}

#[test]
fn batch_normalisation_far_from_zero_has_the_gradient_of_its_scale() {
    let x = Var::constant(Tensor::from_vec(vec![30000.0f32, 30001.0, 30003.0], [3, 1]).unwrap());
    let (scale, shift) = (row(&[1.0]), row(&[0.0]));
    let (y, _) = x.batch_norm(&scale, &shift, 1e-3).unwrap();
    let gradient = y.sum(..).unwrap().backward().unwrap().of(&scale).unwrap().item().unwrap();
    assert!(gradient.abs() < 1e-6, "{gradient}");
}

#[test]
fn a_number_stands_on_either_side_of_a_variable() {
    let x = row(&[0.25, 4.0]);
    assert_eq!((1.0 - &x).value().to_vec(), [0.75, -3.0]);
    assert_eq!((1.0 + &x).value().to_vec(), [1.25, 5.0]);
    assert_eq!((2.0 * &x).value().to_vec(), [0.5, 8.0]);
    let y = 1.0 / x.clone();
    assert_eq!(y.value().to_vec(), [4.0, 0.25]);
    assert_eq!(y.sum(..).unwrap().backward().unwrap().of(&x).unwrap().to_vec(), [-16.0, -0.0625]);
    assert_eq!((1.0f64 - Var::constant(Tensor::scalar(0.25f64))).item().unwrap(), 0.75);
}
