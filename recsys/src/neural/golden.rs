//! For tests: networks with given parameters against PyTorch on the same, `tests/golden/networks.py`, which wrote
//! `tests/golden/networks.csv`.

use cairn_autograd::Gradients;
use cairn_nn::Module;
use cairn_tensor::Tensor;

use crate::data::ids::{ItemIdx, UserIdx};
use crate::data::sparse::{Csr, UserItems};

/// Who met what; nobody the last item.
pub(crate) fn matrix() -> UserItems {
    let rows: [&[u32]; 5] = [&[0, 1, 4], &[1], &[0, 2, 3, 5], &[3, 4], &[1, 2, 5]];
    let entries = (0..)
        .zip(rows)
        .flat_map(|(user, items)| items.iter().map(move |&item| (UserIdx(user), ItemIdx(item), 1.0)));
    Csr::from_entries(5, 7, entries).unwrap()
}

/// Numbers from -1 to 1 as if by chance, which the script makes alike: multiples of 1/2048, so that nothing is lost in either.
pub(crate) fn values(n: usize, salt: usize) -> Vec<f32> {
    let mixed = |at: u32| {
        let x = (at + 1).wrapping_mul(0x9e37_79b1) ^ (salt as u32 + 1).wrapping_mul(0x85eb_ca77);
        let x = (x ^ (x >> 15)).wrapping_mul(0x2c1b_3c6d);
        let x = (x ^ (x >> 12)).wrapping_mul(0x297a_2d39);
        x ^ (x >> 15)
    };
    (0..n as u32).map(|at| (mixed(at) >> 20) as f32 / 2048.0 - 1.0).collect()
}

/// Gives the parameters of a network, in their order, numbers of their own each. Those of one axis, biases and the weights of norms,
/// are positive, so that most units of a ReLU live.
pub(crate) fn fill(network: &dyn Module) {
    let mut salt = 0;
    network.for_each_parameter(&mut |_, parameter| {
        let mut numbers = values(parameter.len(), salt);
        if parameter.shape().len() == 1 {
            numbers.iter_mut().for_each(|x| *x = x.abs());
        }
        parameter.set(Tensor::from_vec(numbers, parameter.shape()).unwrap());
        salt += 1;
    });
}

/// That numbers are those of the script under a name.
pub(crate) fn check(name: &str, got: &[f32]) {
    let lines = include_str!("../../tests/golden/networks.csv").lines();
    let line = lines.filter_map(|line| line.split_once(',')).find(|(own, _)| *own == name);
    let (_, numbers) = line.unwrap_or_else(|| panic!("{name} is not in the file"));
    let want: Vec<f32> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
    assert_eq!(got.len(), want.len(), "{name}");
    for (at, (got, want)) in got.iter().zip(&want).enumerate() {
        assert!((got - want).abs() <= 2e-5 * (1.0 + want.abs()), "{name}, {at}: {got} for {want}");
    }
}

/// That the gradients of all parameters are those of the script, and that those of tables and weights are something to compare: where
/// all units of a layer are dead, any gradient is right.
pub(crate) fn check_gradients(model: &str, network: &dyn Module, gradients: &Gradients) {
    network.for_each_parameter(&mut |path, parameter| {
        let gradient = gradients.of(parameter).unwrap().to_vec();
        let alive = parameter.shape().len() == 1 || gradient.iter().any(|x| x.abs() > 1e-3);
        assert!(alive, "{model} {path}: nothing comes through");
        check(&format!("{model} {path}"), &gradient);
    });
}
