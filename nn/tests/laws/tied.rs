//! Tied weights train as PyTorch's: an embedding whose table is the output layer too. `golden/tied.py` made the values.

use std::collections::BTreeMap;
use std::path::Path;

use cairn_autograd::Var;
use cairn_nn::weights::{Weights, torch};
use cairn_nn::{Activation::Tanh, Embedding, Linear, Module, Parameter, Result, cross_entropy};
use cairn_tensor::{AnyTensor, DType, Tensor, rng};

#[derive(Module)]
struct Model {
    embed: Embedding,
    hidden: Linear,
    output: Parameter,
}

impl Model {
    fn new() -> Self {
        let rng = &mut rng(0);
        let embed = Embedding::new(11, 6, rng).unwrap();
        let hidden = Linear::new(6, 6, rng).unwrap().activation(Tanh);
        Model { output: embed.weight.clone(), embed, hidden }
    }

    fn forward(&self, ids: &Tensor<u32>) -> Result<Var> {
        Ok(self.hidden.forward(&self.embed.forward(ids)?)?.matmul(&self.output.var().t()?)?)
    }
}

struct Golden(BTreeMap<String, AnyTensor>);

impl Golden {
    fn floats(&self, name: &str) -> &Tensor {
        self.0[name].as_f32().unwrap()
    }

    fn ids(&self, name: &str) -> Tensor<u32> {
        self.0[name].cast(DType::U32).unwrap().try_into().unwrap()
    }

    /// PyTorch's state, under both names of the table, in Cairn's layout.
    fn state(&self, when: &str) -> BTreeMap<String, AnyTensor> {
        let value = |name: &str| self.floats(&format!("{when}.{name}")).clone();
        BTreeMap::from([
            ("embed.weight".into(), value("embed.weight").into()),
            ("output".into(), value("output.weight").into()),
            ("hidden.weight".into(), torch::dense(&value("hidden.weight")).unwrap().into()),
            ("hidden.bias".into(), value("hidden.bias").into()),
        ])
    }
}

fn close(got: &Tensor, want: &Tensor, what: &str) {
    assert_eq!(got.shape(), want.shape(), "{what}");
    for (i, (got, want)) in got.iter().zip(want.iter()).enumerate() {
        assert!((got - want).abs() <= 1e-5 * want.abs().max(1.0), "{what}: element {i} is {got}, not {want}");
    }
}

#[test]
fn an_embedding_tied_to_the_output_trains_as_pytorchs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tied.safetensors");
    let golden = Golden(Weights::read_safetensors(path).unwrap().tensors);
    let model = Model::new();
    model.load_state(&golden.state("start")).unwrap();
    assert_eq!(model.parameter_count(), 11 * 6 + 6 * 6 + 6);
    let (ids, labels) = (golden.ids("ids"), golden.ids("labels"));
    for (step, want) in golden.floats("losses").iter().enumerate() {
        let loss = cross_entropy(&model.forward(&ids).unwrap(), &labels).unwrap();
        let got = loss.item().unwrap();
        assert!((got - want).abs() < 1e-5, "loss {step} is {got}, not {want}");
        let gradients = loss.backward().unwrap();
        if step == 0 {
            // Sparse from the lookup and dense from the output, as one.
            close(&gradients.of(&model.output).unwrap(), golden.floats("gradient"), "gradient of the table");
        }
        model.for_each_parameter(&mut |_, parameter| {
            let step = gradients.of(parameter).unwrap().scale(-0.5).unwrap();
            parameter.update(|value| value.add_assign(&step)).unwrap();
        });
    }
    let end = golden.state("end");
    for (name, value) in model.state() {
        close(value.as_f32().unwrap(), end[&name].as_f32().unwrap(), &name);
    }
}
