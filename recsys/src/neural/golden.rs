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

/// Numbers that the script makes alike.
pub(crate) fn values(n: usize, salt: usize) -> Vec<f32> {
    (0..n).map(|at| (0.5 * (0.7 * at as f64 + 1.3 * salt as f64).sin()) as f32).collect()
}

/// Gives the parameters of a network, in their order, numbers of their own each.
pub(crate) fn fill(network: &dyn Module) {
    let mut salt = 0;
    network.for_each_parameter(&mut |_, parameter| {
        parameter.set(Tensor::from_vec(values(parameter.len(), salt), parameter.shape()).unwrap());
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

/// That the gradients of all parameters are those of the script.
pub(crate) fn check_gradients(model: &str, network: &dyn Module, gradients: &Gradients) {
    network.for_each_parameter(&mut |path, parameter| {
        check(&format!("{model} {path}"), &gradients.of(parameter).unwrap().to_vec());
    });
}
