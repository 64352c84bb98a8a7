//! Saved networks for `predict` and `serve`: numbers in as JSON, numbers out.

use std::path::Path;

use cairn::nn::graph::Input;
use cairn::nn::{Context, Error, Sequential, Value as Batch};
use cairn::tensor::Tensor;
use serde_json::Value;

use super::failure::Failure;
use super::output::number;

/// Deepest nesting of lists: more than inputs have axes.
const DEEPEST: usize = 8;

/// Inputs that are computed at a time: what lies between layers is as large as so many need, however many are asked for.
const AT_ONCE: usize = 256;

/// A network with what it takes.
#[derive(Debug)]
pub(crate) struct Network {
    model: Sequential,
    ids: bool,
}

impl Network {
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let model = Sequential::load(path)?;
        let floats = Input::floats(model.input_shape().clone());
        let ids = model.graph().is_ok_and(|graph| graph.inputs().first() != Some(&floats));
        Ok(Network { model, ids })
    }

    /// The shape of one input.
    pub(crate) fn input(&self) -> &[usize] {
        self.model.input_shape()
    }

    /// The shape of the output for one input.
    #[cfg(feature = "serve")]
    pub(crate) fn output(&self) -> &[usize] {
        self.model.output_shape()
    }

    /// Whether inputs are whole numbers: tokens, users, categories.
    #[cfg(feature = "serve")]
    pub(crate) fn takes_ids(&self) -> bool {
        self.ids
    }

    /// The outputs for an input, or for a list of them, as nested lists; each may be one flat list of all its numbers.
    pub(crate) fn predict(&self, inputs: &Value) -> Result<Value, Failure> {
        let mut numbers = Vec::new();
        let shape = nested(inputs, &mut numbers, DEEPEST)?;
        let input = self.input();
        let size: usize = input.iter().product();
        let is_one = *shape == *input || *shape == [size];
        let is_batch = shape.split_first().is_some_and(|(_, sample)| *sample == *input || *sample == [size]);
        if !is_one && !is_batch {
            let why =
                format!("the input is of shape {shape:?}; the network takes {input:?}, or a list of such");
            return Err(Failure::new(why));
        }
        let count = if is_one { 1 } else { shape[0] };
        let (mut values, mut sizes) = (Vec::new(), Vec::new());
        // Of no inputs the shape is computed all the same.
        for from in (0..count.max(1)).step_by(AT_ONCE) {
            let to = count.min(from + AT_ONCE);
            let output = self.batch(&numbers[from * size..to * size], to - from)?;
            sizes = output.shape().to_vec();
            values.extend(output.to_vec());
        }
        let first = (!is_one).then_some(count);
        let shape: Vec<usize> = first.into_iter().chain(sizes.into_iter().skip(1)).collect();
        Ok(lists(&values, &shape))
    }

    /// The outputs for so many inputs, whose numbers stand one after the other.
    fn batch(&self, numbers: &[f64], count: usize) -> Result<Tensor, Failure> {
        let sizes: Vec<usize> = std::iter::once(count).chain(self.input().iter().copied()).collect();
        let batch: Batch = if self.ids {
            let ids = numbers.iter().map(|&x| whole(x)).collect::<Result<Vec<u32>, _>>()?;
            Tensor::from_vec(ids, &sizes[..]).map_err(Error::from)?.into()
        } else {
            let floats = numbers.iter().map(|&x| x as f32).collect();
            Tensor::<f32>::from_vec(floats, &sizes[..]).map_err(Error::from)?.into()
        };
        let output = cairn::autograd::no_grad(|| self.model.forward(batch, &mut Context::eval()))?;
        Ok(output.value().clone())
    }
}

fn whole(x: f64) -> Result<u32, Failure> {
    let whole = x as u32;
    if f64::from(whole) == x {
        Ok(whole)
    } else {
        Err(Failure::new(format!("{x} is no id: the network takes whole numbers")))
    }
}

/// The numbers of nested lists, and their shape.
fn nested(value: &Value, numbers: &mut Vec<f64>, deepest: usize) -> Result<Vec<usize>, Failure> {
    match value {
        Value::Number(number) => {
            numbers.push(number.as_f64().unwrap_or(f64::NAN));
            Ok(Vec::new())
        }
        Value::Array(list) if deepest > 0 => {
            let mut shape = None;
            for part in list {
                let found = nested(part, numbers, deepest - 1)?;
                if *shape.get_or_insert_with(|| found.clone()) != found {
                    return Err(Failure::new("the lists of the input are not all of one length"));
                }
            }
            Ok(std::iter::once(list.len()).chain(shape.unwrap_or_default()).collect())
        }
        _ => Err(Failure::new("the input is not made of lists of numbers")),
    }
}

/// Numbers as nested lists of this shape. What is no number in JSON becomes null.
fn lists(values: &[f32], shape: &[usize]) -> Value {
    match shape {
        [] => values.first().map_or(Value::Null, |&x| number(x)),
        [_, rest @ ..] => {
            let size = rest.iter().product::<usize>().max(1);
            values.chunks(size).map(|part| lists(part, rest)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_have_shapes() {
        let mut numbers = Vec::new();
        assert_eq!(nested(&json!([[1, 2, 3], [4, 5, 6]]), &mut numbers, 8).unwrap(), [2, 3]);
        assert_eq!(numbers, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(lists(&[1.0, 0.1, 3.0, f32::NAN], &[2, 2]), json!([[1.0, 0.1], [3.0, null]]));
        for bad in [json!([[1], [2, 3]]), json!(["a"]), json!(null), json!([[[[[[[[[1]]]]]]]]])] {
            assert!(nested(&bad, &mut numbers, 8).is_err(), "{bad}");
        }
        assert!(whole(0.5).is_err() && whole(-1.0).is_err() && whole(7.0).is_ok());
    }

    #[test]
    fn many_inputs_are_computed_a_part_at_a_time_and_come_out_as_alone() {
        use cairn::nn::spec::Dense;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("network.cairn");
        let model = Sequential::new([2]).add(Dense::new(3)).build(&mut cairn::tensor::rng(1)).unwrap();
        model.save(&path).unwrap();
        let network = Network::load(&path).unwrap();
        let inputs: Vec<Value> = (0..2 * AT_ONCE + 7).map(|n| json!([n % 16, 0.5])).collect();
        let together = network.predict(&json!(inputs)).unwrap();
        assert_eq!(together.as_array().unwrap().len(), inputs.len());
        for at in [0, AT_ONCE - 1, AT_ONCE, 2 * AT_ONCE + 6] {
            let alone = network.predict(&inputs[at]).unwrap();
            for feature in 0..3 {
                let [a, b] = [&together[at][feature], &alone[feature]].map(|x| x.as_f64().unwrap());
                assert!((a - b).abs() < 1e-4, "{at}: {a} and {b}");
            }
        }
    }
}
