//! Networks of the kinds that people train, small, for what must hold at any number of processes.

use std::path::Path;

use cairn_autograd::Var;
use cairn_datasets::{Dataset, TensorDataset, synthetic};
use cairn_nn::Activation::{Gelu, Relu};
use cairn_nn::{
    Context, Dropout, Embedding, Init, Model, Module, Sequential, SparseCategoricalCrossentropy,
    TransformerEncoder,
    spec::{self, BatchNorm, Conv2d, Dense, Flatten, Lstm},
};
use cairn_optim::metrics::{Accuracy, F1, LogLoss};
use cairn_optim::processes::Communicator;
use cairn_optim::{Adam, AnyOptimizer, Callback, EarlyStopping, Fit, Goal, Lamb, Result, Sgd, Trainer};
use cairn_tensor::{Rng, Tensor, rng};

pub(crate) type Labels = Tensor<u32>;

/// The label that counts for nothing.
const IGNORED: u32 = 0;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Net {
    Mlp,
    /// With batch normalisation and dropout.
    Cnn,
    /// Over an embedding whose gradient is sparse.
    Lstm,
    /// Whose embedding is also the head, so that its gradient is both.
    Gpt,
}

#[derive(Module)]
struct Gpt {
    tokens: Embedding,
    blocks: TransformerEncoder,
}

impl Gpt {
    fn new(rng: &mut Rng) -> Self {
        let block = spec::TransformerEncoderLayer::new(2, 16).causal(true).norm_first(true);
        Gpt {
            tokens: spec::Embedding::new(20, 8).init(Init::Normal(0.1)).layer(rng).unwrap(),
            blocks: TransformerEncoder::new(2, &block.activation(Gelu).dropout(0.1), 8, rng).unwrap(),
        }
    }
}

impl Model<Tensor<u32>> for Gpt {
    fn forward(&self, ids: &Tensor<u32>, cx: &mut Context) -> cairn_nn::Result<Var> {
        let x = self.blocks.forward(&self.tokens.forward(ids)?, cx)?;
        Ok(x.matmul(&self.tokens.weight.var().t()?)?)
    }
}

/// 53 texts of 6 tokens, some of them padding, with a label for each text or each token.
fn texts(each_token: bool) -> TensorDataset<u32, u32> {
    let token = |i: usize| if i % 11 > 8 { IGNORED } else { ((i * i + 3 * i) % 20) as u32 };
    let ids: Vec<u32> = (0..53 * 6).map(token).collect();
    let labels = if each_token {
        Tensor::from_vec((1..=53 * 6).map(token).collect(), [53, 6])
    } else {
        Tensor::from_vec((0..53).map(|i| (i * 7 % 3) as u32).collect(), [53])
    };
    TensorDataset::new(Tensor::from_vec(ids, [53, 6]).unwrap(), labels.unwrap()).unwrap()
}

/// Trains a network on 48 samples, in steps of 4 batches, the last of an epoch being of fewer; goes on from the file if there is
/// one. `also` is what else happens.
pub(crate) fn train(
    net: Net,
    process: &dyn Communicator,
    path: &Path,
    batch_size: usize,
    also: &mut dyn Callback,
) -> Result<()> {
    train_in_steps_of(4, net, process, path, batch_size, also)
}

/// As [`train`], in steps of so many batches.
pub(crate) fn train_in_steps_of(
    batches: usize,
    net: Net,
    process: &dyn Communicator,
    path: &Path,
    batch_size: usize,
    also: &mut dyn Callback,
) -> Result<()> {
    let run = Run { process, path, batch_size, batches };
    let (mut rng, digits) = (rng(5), || synthetic::digits(53, 3).unwrap());
    match net {
        Net::Mlp => {
            let model = Sequential::new([784]).add(Dense::new(8).activation(Relu)).add(Dense::new(10));
            let model = model.build(&mut rng)?;
            go(&model, &digits().flatten(), Adam::new(0.01), run, also)
        }
        Net::Cnn => {
            let model = Sequential::new([28, 28, 1])
                .add(Conv2d::new(3, 3).stride(3))
                .add(BatchNorm::new())
                .add(Dropout::new(0.3))
                .add(Flatten)
                .add(Dense::new(10))
                .build(&mut rng)?;
            go(&model, &digits(), Sgd::new(0.1).momentum(0.9), run, also)
        }
        Net::Lstm => {
            let model = Sequential::new([6])
                .add(spec::Embedding::new(40, 5))
                .add(Lstm::new(4))
                .add(Dense::new(3))
                .build(&mut rng)?;
            go(&model, &texts(false), Adam::new(0.01).lazy(true), run, also)
        }
        Net::Gpt => go(&Gpt::new(&mut rng), &texts(true), Lamb::new(0.01), run, also),
    }
}

/// Where, and in what pieces.
#[derive(Clone, Copy)]
struct Run<'a> {
    process: &'a dyn Communicator,
    path: &'a Path,
    batch_size: usize,
    /// Of a step.
    batches: usize,
}

fn go<M, D>(
    model: &M,
    data: &D,
    optimizer: impl Into<AnyOptimizer>,
    run: Run<'_>,
    also: &mut dyn Callback,
) -> Result<()>
where
    M: Model<D::Input>,
    D: Dataset<Target = Labels> + Sync,
    D::Input: Send,
{
    let mut trainer = Trainer::new(optimizer, SparseCategoricalCrossentropy.ignore(IGNORED))
        .metric(Accuracy)
        .metric(F1::default())
        .metric(LogLoss::of_logits());
    let fit = Fit::epochs(2)
        .batch_size(run.batch_size)
        .accumulate(run.batches)
        .clip_norm(0.5)
        .seed(3)
        .validation_split(0.1)
        .checkpoint(run.path, 1)
        .resume()
        .callback(also)
        .callback(EarlyStopping::new(Goal::low("val_loss"), 9))
        .quiet()
        .processes(run.process);
    trainer.fit(model, data, fit).map(|_| ())
}
