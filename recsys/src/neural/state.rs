//! The values of a network as a file holds them.

use std::collections::BTreeMap;

use cairn_tensor::AnyTensor;

use crate::check;

/// That all values are finite: with others a network answers, and says nothing. The text names the tensor that holds one.
pub(super) fn check_finite(state: &BTreeMap<String, AnyTensor>) -> Result<(), String> {
    state.iter().try_for_each(|(name, tensor)| {
        let values = tensor.as_f32().map_err(|error| format!("tensor {name}: {error}"))?;
        check::finite(format_args!("tensor {name}"), &values.to_vec())
    })
}

/// For tests: refuses a state with a value that is not finite in any of its tensors, by the tensor's name.
#[cfg(test)]
pub(super) fn refuses_what_is_not_finite<T>(
    state: &BTreeMap<String, AnyTensor>,
    build: impl Fn(BTreeMap<String, AnyTensor>) -> Result<T, String>,
) {
    assert!(build(state.clone()).is_ok() && !state.is_empty());
    for (name, tensor) in state {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut values = tensor.as_f32().unwrap().to_vec();
            *values.last_mut().unwrap() = bad;
            let broken = cairn_tensor::Tensor::from_vec(values, tensor.shape()).unwrap();
            let mut state = state.clone();
            state.insert(name.clone(), broken.into());
            let reason = build(state).err().unwrap_or_else(|| panic!("{bad} in {name} is let pass"));
            assert!(reason.contains(name) && reason.contains("not finite"), "{name}: {reason}");
        }
    }
}
