//! The operators that each operation becomes: a match over [`Op`], so that the compiler asks for a new one's form.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use cairn_autograd::op::{
    Arithmetic, Elementwise, Index, Join, Linear, Matmul, Op, Reduce, Reduced, Reduction, Scan, Slicing,
    Softmax, View,
};
use cairn_tensor::{Slice, Tensor};

use super::export::{Export, Made};
use super::proto::Attribute;
use crate::Result;
use crate::graph::{Open, Size, Source};

impl Export<'_> {
    /// Writes an operation; what it made.
    pub(super) fn operation(&mut self, node: usize, op: &Op) -> Result<Made> {
        Ok(match op {
            Op::Elementwise(op) => return self.elementwise(node, op),
            Op::Arithmetic(op) => return self.arithmetic(node, op),
            Op::Reduce(op) => self.reduce(node, op)?.into(),
            Op::Softmax(op) => self.softmax(node, op)?.into(),
            Op::Matmul(op) => self.matmul(node, op)?.into(),
            Op::Linear(Linear::Linear { relu } | Linear::Stored { relu }) => self.linear(node, *relu)?.into(),
            // A loss is no part of a model at inference.
            Op::Linear(Linear::CrossEntropy { .. }) => return Err(self.unsupported(node)),
            Op::Conv(op) => return self.conv(node, op),
            Op::Pooling(op) => return self.pooling(node, op),
            Op::Norm(op) => return self.norm(node, op),
            Op::Resizing(op) => return self.resizing(node, op),
            Op::Recurrent(op) => self.recurrent(node, op)?.into(),
            Op::Attention(op) => self.attention(node, op)?.into(),
            Op::Rotary(op) => self.rotary(node, op)?.into(),
            Op::Gated(op) => self.gated(node, op)?.into(),
            Op::Index(op) => self.index(node, op)?.into(),
            Op::Slicing(op) => self.slicing(node, op)?.into(),
            Op::View(op) => self.view(node, op)?.into(),
            Op::Join(Join::Cat { axis }) => {
                let all = self.operands(node)?;
                self.result("Concat", &all, &along(*axis)).into()
            }
            Op::Scan(Scan::CumSum { axis }) => {
                let (x, axis) = (self.operand(node, 0)?, self.integers("axis", &[*axis as i64]));
                self.result("CumSum", &[x, axis], &[]).into()
            }
            Op::Spans(op) => self.spans(node, op)?.into(),
            // The operators of a running product, of ranking, of linear algebra, of a user's own: none.
            Op::Scan(Scan::CumProd { .. }) | Op::Sort(_) | Op::Linalg(_) | Op::Custom(_) => {
                return Err(self.unsupported(node));
            }
        })
    }

    /// Functions of one element do not mind the order of axes.
    fn elementwise(&mut self, node: usize, op: &Elementwise) -> Result<Made> {
        let operand = self.operand_of(node, 0)?;
        let channels_first = self.is_channels_first(operand);
        let x = if channels_first { self.channels_first(operand)? } else { self.name(operand)? };
        let name = self.function(x, op);
        Ok(Made { name, channels_first })
    }

    pub(super) fn function(&mut self, x: String, op: &Elementwise) -> String {
        let float = |name, value: f64| [(name, Attribute::Float(value as f32))];
        match *op {
            Elementwise::Relu => self.result("Relu", &[x], &[]),
            Elementwise::Exp => self.result("Exp", &[x], &[]),
            Elementwise::Expm1 => {
                let (power, one) = (self.result("Exp", &[x], &[]), self.scalar(1.0));
                self.result("Sub", &[power, one], &[])
            }
            Elementwise::Sqrt => self.result("Sqrt", &[x], &[]),
            Elementwise::Rsqrt => {
                let root = self.result("Sqrt", &[x], &[]);
                self.result("Reciprocal", &[root], &[])
            }
            Elementwise::Recip => self.result("Reciprocal", &[x], &[]),
            Elementwise::Tanh => self.result("Tanh", &[x], &[]),
            Elementwise::Abs => self.result("Abs", &[x], &[]),
            Elementwise::Square => self.result("Mul", &[x.clone(), x], &[]),
            Elementwise::Log => self.result("Log", &[x], &[]),
            Elementwise::Log1p => {
                let one = self.scalar(1.0);
                let more = self.result("Add", &[x, one], &[]);
                self.result("Log", &[more], &[])
            }
            Elementwise::Sin => self.result("Sin", &[x], &[]),
            Elementwise::Cos => self.result("Cos", &[x], &[]),
            Elementwise::Erf => self.result("Erf", &[x], &[]),
            Elementwise::Softplus => self.result("Softplus", &[x], &[]),
            Elementwise::Silu => {
                let gate = self.result("Sigmoid", std::slice::from_ref(&x), &[]);
                self.result("Mul", &[gate, x], &[])
            }
            Elementwise::Gelu => self.gelu(&x),
            Elementwise::GeluTanh => self.gelu_tanh(&x),
            // The operator's defaults are the constants of the paper.
            Elementwise::Selu => self.result("Selu", &[x], &[]),
            Elementwise::LeakyRelu { slope } => self.result("LeakyRelu", &[x], &float("alpha", slope)),
            Elementwise::Elu { alpha } => self.result("Elu", &[x], &float("alpha", alpha)),
            Elementwise::Clamp { low, high } => {
                let (low, high) = (self.scalar(low), self.scalar(high));
                self.result("Clip", &[x, low, high], &[])
            }
            Elementwise::Powf { exponent } => {
                let exponent = self.scalar(exponent);
                self.result("Pow", &[x, exponent], &[])
            }
            Elementwise::Sigmoid => self.result("Sigmoid", &[x], &[]),
            Elementwise::Neg => self.result("Neg", &[x], &[]),
            Elementwise::Scale { factor } => {
                let factor = self.scalar(factor);
                self.result("Mul", &[x, factor], &[])
            }
            Elementwise::Floor => self.result("Floor", &[x], &[]),
            Elementwise::Round => self.result("Round", &[x], &[]),
            Elementwise::Sign => self.result("Sign", &[x], &[]),
        }
    }

    /// x (1 + erf(x / √2)) / 2; the operator `Gelu` came with opset 20.
    fn gelu(&mut self, x: &str) -> String {
        let (root, one, half) = (self.scalar(FRAC_1_SQRT_2), self.scalar(1.0), self.scalar(0.5));
        let scaled = self.result("Mul", &[x.to_owned(), root], &[]);
        let erf = self.result("Erf", &[scaled], &[]);
        let more = self.result("Add", &[erf, one], &[]);
        let twice = self.result("Mul", &[more, x.to_owned()], &[]);
        self.result("Mul", &[twice, half], &[])
    }

    /// x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2
    fn gelu_tanh(&mut self, x: &str) -> String {
        let x = x.to_owned();
        let (one, half) = (self.scalar(1.0), self.scalar(0.5));
        let (cubic, root) = (self.scalar(0.044_715), self.scalar((2.0 / PI).sqrt()));
        let square = self.result("Mul", &[x.clone(), x.clone()], &[]);
        let scaled = self.result("Mul", &[square, cubic], &[]);
        let more = self.result("Add", &[scaled, one.clone()], &[]);
        let inner = self.result("Mul", &[more, x.clone()], &[]);
        let inner = self.result("Mul", &[inner, root], &[]);
        let tanh = self.result("Tanh", &[inner], &[]);
        let more = self.result("Add", &[tanh, one], &[]);
        let twice = self.result("Mul", &[more, x], &[]);
        self.result("Mul", &[twice, half], &[])
    }

    fn arithmetic(&mut self, node: usize, op: &Arithmetic) -> Result<Made> {
        let operator = match op {
            Arithmetic::Add => "Add",
            Arithmetic::Sub => "Sub",
            Arithmetic::Mul => "Mul",
            Arithmetic::Div => "Div",
            Arithmetic::Pow => "Pow",
            Arithmetic::Maximum => "Max",
            Arithmetic::Minimum => "Min",
            Arithmetic::Select => "Where",
        };
        // Two images of one size that are both turned stay so.
        let &[a, b, ..] = self.node(node).operands() else { return Err(self.unsupported(node)) };
        let alike = self.node(a).sizes == self.node(b).sizes && self.node(node).operands().len() == 2;
        if alike && self.is_channels_first(a) && self.is_channels_first(b) {
            let operands = [self.channels_first(a)?, self.channels_first(b)?];
            return Ok(Made { name: self.result(operator, &operands, &[]), channels_first: true });
        }
        let operands = self.operands(node)?;
        Ok(self.result(operator, &operands, &[]).into())
    }

    fn reduce(&mut self, node: usize, op: &Reduce) -> Result<String> {
        let Reduced::Over(reduction, axes, keepdim) = op.parts() else { return Err(self.unsupported(node)) };
        let operator = match reduction {
            Reduction::Sum => "ReduceSum",
            Reduction::Mean => "ReduceMean",
            Reduction::Max => "ReduceMax",
            Reduction::Min => "ReduceMin",
            Reduction::Prod => "ReduceProd",
            Reduction::LogSumExp => "ReduceLogSumExp",
            Reduction::Norm => "ReduceL2",
            Reduction::Variance { .. } | Reduction::Deviation { .. } => return Err(self.unsupported(node)),
        };
        let operand = self.operand_of(node, 0)?;
        let (mut axes, rank) = (signed(axes), self.node(operand).sizes.len() as i64);
        let keepdims = ("keepdims", Attribute::Int(keepdim.into()));
        if reduction == Reduction::Sum {
            let (x, axes) = (self.name(operand)?, self.integers("axes", &axes));
            return Ok(self.result(
                operator,
                &[x, axes],
                &[keepdims, ("noop_with_empty_axes", Attribute::Int(1))],
            ));
        }
        if axes.is_empty() {
            return self.name(operand);
        }
        // All positions of an image: it may stay turned.
        let whole = !keepdim && axes == (1..rank - 1).collect::<Vec<_>>();
        let x = if whole && self.is_channels_first(operand) {
            axes = (2..rank).collect();
            self.channels_first(operand)?
        } else {
            self.name(operand)?
        };
        Ok(self.result(operator, &[x], &[("axes", Attribute::Ints(axes)), keepdims]))
    }

    fn softmax(&mut self, node: usize, op: &Softmax) -> Result<String> {
        let (operator, axis) = match op {
            Softmax::Softmax { axis } => ("Softmax", *axis),
            Softmax::LogSoftmax { axis } => ("LogSoftmax", *axis),
            // A loss is no part of a model at inference.
            Softmax::CrossEntropy { .. } => return Err(self.unsupported(node)),
        };
        let x = self.operand(node, 0)?;
        Ok(self.result(operator, &[x], &along(axis)))
    }

    fn matmul(&mut self, node: usize, op: &Matmul) -> Result<String> {
        let all = self.operands(node)?;
        Ok(match op {
            Matmul::Matmul => self.result("MatMul", &all, &[]),
            Matmul::Outer => self.result("Einsum", &all, &[("equation", Attribute::text("i,j->ij"))]),
            Matmul::Einsum { formula } => {
                self.result("Einsum", &all, &[("equation", Attribute::text(formula.clone()))])
            }
        })
    }

    fn linear(&mut self, node: usize, relu: bool) -> Result<String> {
        let operands = self.operands(node)?;
        let mut y = if self.node(node).sizes.len() == 2 {
            self.result("Gemm", &operands, &[])
        } else {
            let product = self.result("MatMul", &operands[..2], &[]);
            match operands.get(2) {
                Some(bias) => self.result("Add", &[product, bias.clone()], &[]),
                None => product,
            }
        };
        if relu {
            y = self.result("Relu", &[y], &[]);
        }
        Ok(y)
    }

    fn index(&mut self, node: usize, op: &Index) -> Result<String> {
        Ok(match op {
            Index::IndexSelect { axis } => {
                let operands = self.operands(node)?;
                self.result("Gather", &operands, &along(*axis))
            }
            Index::Lookup { .. } | Index::LookupStored => {
                let operands = self.operands(node)?;
                self.result("Gather", &operands, &along(0))
            }
            Index::Gather { axis } => {
                let operands = self.operands(node)?;
                self.result("GatherElements", &operands, &along(*axis))
            }
            Index::MaskedFill { value } => {
                let (mask, value, x) = (self.operand(node, 1)?, self.scalar(*value), self.operand(node, 0)?);
                self.result("Where", &[mask, value, x], &[])
            }
            Index::MaskedScale { scale } => {
                let (x, mask) = (self.operand(node, 0)?, self.operand(node, 1)?);
                let (scale, zero) = (self.scalar(*scale), self.scalar(0.0));
                let scaled = self.result("Mul", &[x, scale], &[]);
                self.result("Where", &[mask, scaled, zero], &[])
            }
            Index::IndexAdd | Index::ScatterAdd { .. } | Index::MaskedSelect => {
                return Err(self.unsupported(node));
            }
        })
    }

    fn view(&mut self, node: usize, op: &View) -> Result<String> {
        let sizes = &self.node(node).sizes;
        let x = self.operand(node, 0)?;
        Ok(match op {
            View::Reshape { .. } => self.reshape(x, sizes),
            View::Broadcast { .. } => {
                let shape = self.shape(sizes);
                self.result("Expand", &[x, shape], &[])
            }
            View::Permute { order } => self.transpose(x, signed(order)),
            View::Narrow { axis, start, len } => {
                if Open::Nothing != self.openness(node) {
                    let (start, end) = self.open_range(node, *axis)?;
                    let axis = self.integers("axes", &[*axis as i64]);
                    return Ok(self.result("Slice", &[x, start, end, axis], &[]));
                }
                let (start, end) = (*start as i64, (start + len) as i64);
                self.slice(x, &[start], &[end], &[*axis as i64], None)
            }
            View::Index { axis, index } => {
                let at = match self.openness(node) {
                    Open::SizesFrom(size) => self.size(&size),
                    _ => self.integers("indices", &[*index as i64]),
                };
                let one = self.result("Gather", &[x, at], &along(*axis));
                self.reshape(one, sizes)
            }
        })
    }

    /// The first entry of a range, and the one after its last, that depend on batch or time.
    fn open_range(&mut self, node: usize, axis: usize) -> Result<(String, String)> {
        let Open::SizesFrom(start) = self.openness(node) else { return Err(self.unsupported(node)) };
        let end = start.add(&self.node(node).sizes[axis]);
        Ok((self.size(&start), self.size(&end)))
    }

    fn openness(&self, node: usize) -> Open {
        match &self.node(node).source {
            Source::Operation { open, .. } => open.clone(),
            _ => Open::Nothing,
        }
    }

    fn slicing(&mut self, node: usize, op: &Slicing) -> Result<String> {
        let operand = self.operand_of(node, 0)?;
        let x = self.name(operand)?;
        Ok(match op {
            Slicing::Slice { slices } => self.entries(node, x, slices)?,
            Slicing::Flip { axes } => {
                let back = vec![-1; axes.len()];
                self.slice(x, &back, &vec![i64::MIN; axes.len()], &signed(axes), Some(&back))
            }
            Slicing::Pad { widths, value } => {
                let sides = widths.iter().map(|width| width.0).chain(widths.iter().map(|width| width.1));
                let widths = self.integers("pads", &signed(&sides.collect::<Vec<_>>()));
                let value = self.scalar(*value);
                self.result("Pad", &[x, widths, value], &[])
            }
            Slicing::Tile { counts } => {
                let own = &self.node(operand).sizes;
                let new = vec![Size::fixed(1); counts.len().saturating_sub(own.len())];
                let x = if new.is_empty() { x } else { self.reshape(x, &[new.as_slice(), own].concat()) };
                let counts = self.integers("counts", &signed(counts));
                self.result("Tile", &[x, counts], &[])
            }
            Slicing::Tril { offset } | Slicing::Triu { offset } => {
                let offset = self.integers("offset", &[*offset as i64]);
                let upper = matches!(op, Slicing::Triu { .. });
                self.result("Trilu", &[x, offset], &[("upper", Attribute::Int(upper.into()))])
            }
            Slicing::Repeat { .. } | Slicing::Diagonal { .. } => return Err(self.unsupported(node)),
        })
    }

    /// The entries of each axis that slices take, of those that they do not take whole.
    fn entries(&mut self, node: usize, mut x: String, slices: &[Slice]) -> Result<String> {
        let operand = self.operand_of(node, 0)?;
        let mut dropped = false;
        for (axis, &slice) in slices.iter().enumerate() {
            let size = &self.node(operand).sizes[axis];
            // Of an axis that is left open all is taken.
            let count = size.as_fixed().unwrap_or(2);
            let part = Tensor::arange(0u32, count as u32, 1)?.slice([slice])?;
            let (indices, one) = (part.to_vec(), part.rank() == 0);
            let whole = !one && indices.len() == count && indices.iter().copied().eq(0..count as u32);
            if whole {
                continue;
            }
            if size.as_fixed().is_none() {
                return Err(self.unsupported(node));
            }
            dropped |= one;
            let indices: Vec<i64> = indices.into_iter().map(i64::from).collect();
            let indices = self.integers("indices", &indices);
            x = self.result("Gather", &[x, indices], &along(axis));
        }
        let sizes = &self.node(node).sizes;
        Ok(if dropped { self.reshape(x, sizes) } else { x })
    }

    fn slice(
        &mut self,
        x: String,
        starts: &[i64],
        ends: &[i64],
        axes: &[i64],
        steps: Option<&[i64]>,
    ) -> String {
        let mut operands = vec![x];
        let all = [("starts", Some(starts)), ("ends", Some(ends)), ("axes", Some(axes)), ("steps", steps)];
        for (what, values) in all {
            operands.extend(values.map(|values| self.integers(what, values)));
        }
        self.result("Slice", &operands, &[])
    }
}

fn along(axis: usize) -> [(&'static str, Attribute); 1] {
    [("axis", Attribute::Int(axis as i64))]
}

fn signed(values: &[usize]) -> Vec<i64> {
    values.iter().map(|&value| value as i64).collect()
}
