//! Operations on whole images and sequences, `[batch, …, channels]`, that ONNX wants with channels first, and recurrences, that it
//! wants with time first. Their weights must be constants, since they are turned once, here.

use cairn_autograd::op::{Conv, Elementwise, Norm, Pooling, Recurrent, Resizing};
use cairn_tensor::{Pool, Recurrence, Resize, Returns, Tensor, Window};

use super::export::{Attributes, Export, Made};
use super::gates::{self, Direction};
use super::proto::{self, Attribute};
use crate::graph::Size;
use crate::{Error, Result};

fn turned(name: String) -> Made {
    Made { name, channels_first: true }
}

impl Export<'_> {
    pub(super) fn conv(&mut self, node: usize, op: &Conv) -> Result<Made> {
        let operand = self.operand_of(node, 0)?;
        let weight = self.constant(node, 1)?;
        let has_bias = self.node(node).operands().len() > 2;
        let bias = if has_bias { Some(self.constant(node, 2)?) } else { None };
        let x = self.channels_first(operand)?;
        let (operator, mut attributes, groups, relu, pool) = match op {
            Conv::Conv2d { window, groups, relu } => {
                ("Conv", sliding(&weight.shape()[..2], window), groups, *relu, None)
            }
            Conv::Conv2dMaxPool2d { window, groups, relu, pool } => {
                ("Conv", sliding(&weight.shape()[..2], window), groups, *relu, Some(pool))
            }
            Conv::ConvTranspose2d { window, output_padding, groups } => {
                let mut attributes = sliding(&weight.shape()[..2], window);
                attributes.push(("output_padding", ints(output_padding)));
                ("ConvTranspose", attributes, groups, false, None)
            }
        };
        attributes.push(("group", Attribute::Int(*groups as i64)));
        let mut operands = vec![x, self.floats("weight", &weight.permute([3, 2, 0, 1])?)];
        operands.extend(bias.map(|bias| self.floats("bias", bias)));
        let mut y = self.result(operator, &operands, &attributes);
        if relu {
            y = self.function(y, &Elementwise::Relu);
        }
        if let Some(pool) = pool {
            y = self.max_pool(node, y, pool)?;
        }
        Ok(turned(y))
    }

    pub(super) fn pooling(&mut self, node: usize, op: &Pooling) -> Result<Made> {
        let operand = self.operand_of(node, 0)?;
        let x = self.channels_first(operand)?;
        Ok(turned(match op {
            Pooling::Max { pool } => self.max_pool(node, x, pool)?,
            Pooling::Mean { pool } => match pool.as_sliding() {
                Some((size, window, count_padding)) => {
                    let mut attributes = sliding(&size, &window);
                    // Windows of the mean are not dilated in this operator set, nor by any layer.
                    attributes.retain(|(name, _)| *name != "dilations");
                    attributes.push(("count_include_pad", Attribute::Int(count_padding.into())));
                    self.result("AveragePool", &[x], &attributes)
                }
                None => self.adaptive(node, operand, x)?,
            },
        }))
    }

    fn max_pool(&mut self, node: usize, x: String, pool: &Pool) -> Result<String> {
        let Some((size, window, _)) = pool.as_sliding() else { return Err(self.unsupported(node)) };
        Ok(self.result("MaxPool", &[x], &sliding(&size, &window)))
    }

    /// A product with a matrix of means along each axis: windows are of different sizes, which no operator has.
    fn adaptive(&mut self, node: usize, operand: usize, x: String) -> Result<String> {
        let fixed = |size: &Size| size.as_fixed().ok_or_else(|| self.unsupported(node));
        let input: Vec<usize> = self.node(operand).sizes[1..3].iter().map(fixed).collect::<Result<_>>()?;
        let output: Vec<usize> = self.node(node).sizes[1..3].iter().map(fixed).collect::<Result<_>>()?;
        // Row `i` of the pooled identity holds the weights of window `i`.
        let means = |size: usize, output: usize| -> Result<Tensor> {
            let eye = Tensor::<f32>::eye(size)?.reshape([1, size, 1, size])?;
            Ok(eye.avg_pool2d(&Pool::adaptive([output, 1]))?.reshape([output, size])?)
        };
        let rows = self.floats("rows", &means(input[0], output[0])?);
        let columns = self.floats("columns", &means(input[1], output[1])?.t()?);
        let by_rows = self.result("MatMul", &[rows, x], &[]);
        Ok(self.result("MatMul", &[by_rows, columns], &[]))
    }

    pub(super) fn norm(&mut self, node: usize, op: &Norm) -> Result<Made> {
        let operand = self.operand_of(node, 0)?;
        let rank = self.node(node).sizes.len();
        let name = match *op {
            Norm::Given { epsilon } => {
                let [mean, variance] = [self.constant(node, 1)?, self.constant(node, 2)?];
                let [scale, shift] = [self.constant(node, 3)?, self.constant(node, 4)?];
                let mut operands = vec![self.channels_first(operand)?];
                for (name, values) in
                    [("scale", scale), ("shift", shift), ("mean", mean), ("variance", variance)]
                {
                    operands.push(self.floats(name, values));
                }
                self.result("BatchNormalization", &operands, &[("epsilon", Attribute::Float(epsilon as f32))])
            }
            Norm::Group { groups, epsilon } => self.group_norm(node, operand, groups, epsilon)?,
            Norm::Layer { epsilon } => {
                let operands = self.operands(node)?;
                let attributes =
                    [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(epsilon as f32))];
                return Ok(self.result("LayerNormalization", &operands, &attributes).into());
            }
            Norm::Rms { epsilon } => return Ok(self.rms_norm(node, epsilon)?.into()),
            // In training alone.
            Norm::Batch { .. } => return Err(self.unsupported(node)),
        };
        Ok(Made { name, channels_first: rank > 2 })
    }

    /// Groups as the channels of an instance normalisation; the operator `GroupNormalization` came with opset 18.
    fn group_norm(&mut self, node: usize, operand: usize, groups: usize, epsilon: f64) -> Result<String> {
        let (scale, shift) = (self.constant(node, 1)?, self.constant(node, 2)?);
        let sizes = &self.node(node).sizes;
        let batch = sizes[0].clone();
        let item: usize = sizes[1..].iter().map(|size| size.as_fixed().unwrap_or(0)).product();
        if item == 0 {
            return Err(self.unsupported(node));
        }
        let x = self.channels_first(operand)?;
        let x = self.reshape(x, &[batch.clone(), Size::fixed(groups), Size::fixed(item / groups)]);
        let (ones, zeros) = (Tensor::ones([groups])?, Tensor::zeros([groups])?);
        let operands = [x, self.floats("ones", &ones), self.floats("zeros", &zeros)];
        let epsilon = [("epsilon", Attribute::Float(epsilon as f32))];
        let normal = self.result("InstanceNormalization", &operands, &epsilon);
        let (first, last) = (&sizes[1..sizes.len() - 1], sizes[sizes.len() - 1].clone());
        let normal = self.reshape(normal, &[&[batch, last], first].concat());
        let (scale, shift) = (Self::by_channel(scale, sizes.len())?, Self::by_channel(shift, sizes.len())?);
        let (scale, shift) = (self.floats("scale", &scale), self.floats("shift", &shift));
        let scaled = self.result("Mul", &[normal, scale], &[]);
        Ok(self.result("Add", &[scaled, shift], &[]))
    }

    /// x / sqrt(mean(x²) + epsilon) · scale; the operator `RMSNormalization` came with opset 23.
    fn rms_norm(&mut self, node: usize, epsilon: f64) -> Result<String> {
        let (x, scale) = (self.operand(node, 0)?, self.operand(node, 1)?);
        let square = self.result("Mul", &[x.clone(), x.clone()], &[]);
        let mean = self.result("ReduceMean", &[square], &[("axes", Attribute::Ints(vec![-1]))]);
        let epsilon = self.scalar(epsilon);
        let more = self.result("Add", &[mean, epsilon], &[]);
        let root = self.result("Sqrt", &[more], &[]);
        let normal = self.result("Div", &[x, root], &[]);
        Ok(self.result("Mul", &[normal, scale], &[]))
    }

    pub(super) fn resizing(&mut self, node: usize, op: &Resizing) -> Result<Made> {
        let &Resizing::Resize2d { kind, .. } = op;
        let operand = self.operand_of(node, 0)?;
        let mut factors = [1.0f32; 4];
        for axis in 0..2 {
            let sizes =
                (self.node(operand).sizes[axis + 1].as_fixed(), self.node(node).sizes[axis + 1].as_fixed());
            match sizes {
                (Some(input @ 1..), Some(output)) if output.is_multiple_of(input) => {
                    factors[axis + 2] = (output / input) as f32;
                }
                _ => return Err(self.unsupported(node)),
            }
        }
        let x = self.channels_first(operand)?;
        let scales = self.floats("scales", &Tensor::from_slice(&factors, [4])?);
        let attributes = match kind {
            Resize::Nearest => vec![
                ("mode", Attribute::text("nearest")),
                ("coordinate_transformation_mode", Attribute::text("asymmetric")),
                ("nearest_mode", Attribute::text("floor")),
            ],
            Resize::Bilinear => vec![
                ("mode", Attribute::text("linear")),
                ("coordinate_transformation_mode", Attribute::text("half_pixel")),
            ],
        };
        // No region of interest.
        Ok(turned(self.result("Resize", &[x, String::new(), scales], &attributes)))
    }

    /// A recurrence in one direction, perhaps from first states and with the last ones behind the outputs.
    pub(super) fn recurrent(&mut self, node: usize, op: &Recurrent) -> Result<String> {
        let &Recurrent::Recurrent { kind, reverse, returns, present } = op;
        // A mask is of training.
        if present.mask {
            return Err(self.unsupported(node));
        }
        if present.starts {
            let what = "ONNX of a recurrent layer that passes over padding before a sequence (`masked`)";
            return Err(Error::Unsupported { what: what.into() });
        }
        let [bias, hidden, cell, _, lengths, _] = present.positions();
        let lengths = match lengths {
            Some(i) => {
                let lengths = self.operand(node, i)?;
                self.result("Cast", &[lengths], &[("to", Attribute::Int(proto::INT32))])
            }
            None => String::new(),
        };
        let (weight, recurrent_weight) = (self.constant(node, 1)?, self.constant(node, 2)?);
        let units = recurrent_weight.shape()[0];
        let bias = match bias {
            Some(i) => self.constant(node, i)?.clone(),
            None => Tensor::zeros([kind.biases() * units])?,
        };
        let mut further = vec![lengths];
        for state in [hidden, cell] {
            further.push(match state {
                Some(i) => {
                    let operand = self.operand_of(node, i)?;
                    let name = self.name(operand)?;
                    let sizes = [&[Size::fixed(1)], self.node(operand).sizes.as_slice()].concat();
                    self.reshape(name, &sizes)
                }
                None => String::new(),
            });
        }
        while further.last().is_some_and(String::is_empty) {
            further.pop();
        }
        let operand = self.operand_of(node, 0)?;
        let x = self.time_first(operand)?;
        let direction = Direction { weight, recurrent_weight, bias: &bias, reverse };
        let with_states = returns == Returns::StepsAndStates;
        let wanted = [returns != Returns::Last, returns != Returns::Steps, with_states && kind.states() == 2];
        let [all, last, cell] = self.recurrence(kind, &direction, &x, &further, wanted)?;
        let sizes = &self.node(operand).sizes;
        let (batch, units) = (sizes[0].clone(), Size::fixed(units));
        let steps = [batch.clone(), sizes[1].clone(), units.clone()];
        Ok(match returns {
            Returns::Steps => self.every_output(&all, &steps),
            Returns::Last => self.last_output(&last, &[batch, units]),
            Returns::StepsAndStates => {
                let mut parts = vec![self.every_output(&all, &steps)];
                for state in [last, cell].iter().filter(|name| !name.is_empty()) {
                    parts.push(self.last_output(state, &[batch.clone(), Size::fixed(1), units.clone()]));
                }
                self.result("Concat", &parts, &[("axis", Attribute::Int(1))])
            }
        })
    }

    /// One layer in one direction, on `[time, batch, inputs]`, and then lengths `[batch]` and first states `[1, batch, units]`, if
    /// any. Of its three results
    /// those that are `wanted` get names: all outputs, `[time, 1, batch, units]`, the last one, `[1, batch, units]`, and the
    /// last c.
    fn recurrence(
        &mut self,
        kind: Recurrence,
        direction: &Direction<'_>,
        input: &str,
        further: &[String],
        wanted: [bool; 3],
    ) -> Result<[String; 3]> {
        let operator = gates::operator(kind)?;
        let weights = gates::operands(kind, direction)?.map(|values| self.floats("weights", &values));
        let inputs = [&[input.to_owned()], &weights[..], further].concat();
        let name = self.new_name(operator);
        let results: [String; 3] =
            std::array::from_fn(|i| if wanted[i] { format!("{name}.{i}") } else { String::new() });
        let count = wanted.iter().rposition(|&wanted| wanted).map_or(0, |last| last + 1);
        let names: Vec<&str> = results[..count].iter().map(String::as_str).collect();
        let units = direction.recurrent_weight.shape()[0];
        self.results(operator, &name, &inputs, &names, &gates::attributes(kind, units, direction.reverse));
        Ok(results)
    }

    /// All outputs of [`recurrence`](Self::recurrence) as `[batch, time, units]`.
    fn every_output(&mut self, all: &str, sizes: &[Size]) -> String {
        let turned = self.transpose(all.to_owned(), vec![2, 0, 1, 3]);
        self.reshape(turned, sizes)
    }

    /// Its last output as `[batch, …]`.
    fn last_output(&mut self, last: &str, sizes: &[Size]) -> String {
        let turned = self.transpose(last.to_owned(), vec![1, 0, 2]);
        self.reshape(turned, sizes)
    }
}

fn ints(values: &[usize]) -> Attribute {
    Attribute::Ints(values.iter().map(|&value| value as i64).collect())
}

/// How windows slide: ONNX's padding is above, left, below, right.
fn sliding(size: &[usize], window: &Window) -> Attributes {
    let [[above, below], [left, right]] = window.padding;
    vec![
        ("kernel_shape", ints(size)),
        ("strides", ints(&window.stride)),
        ("pads", ints(&[above, left, below, right])),
        ("dilations", ints(&window.dilation)),
    ]
}
