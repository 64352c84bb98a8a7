//! Attention, rotary positions and gated activations as standard operators. Attention is two products and a softmax, with what its
//! options do between them; the operators `Attention` and `RotaryEmbedding` came with opset 23.

use cairn_autograd::op::{Attention, Elementwise, Gated, Rotary};
use cairn_tensor::{AttentionRules, Causal, Gate, Pairs, Tensor};

use super::export::Export;
use super::proto::Attribute;
use crate::Result;
use crate::graph::Size;

/// The sizes of one attention, as the graph knows them.
struct Sizes {
    batch: Size,
    queries: Size,
    keys: Size,
    heads: usize,
    key_heads: usize,
    size: Size,
    value_size: Size,
}

impl Export<'_> {
    pub(super) fn attention(&mut self, node: usize, op: &Attention) -> Result<String> {
        let Attention::Attention { rules, present } = op;
        let [bias, visible, key_lengths, query_lengths] = present.positions();
        let lengths = key_lengths.is_some() || query_lengths.is_some();
        // Dropout is of training; the corner of each sequence's own scores is a cache's, which a graph has not.
        if rules.dropout.is_some() || lengths && rules.causal == Some(Causal::BottomRight) {
            return Err(self.unsupported(node));
        }
        let sizes = self.attention_sizes(node)?;
        let across = sizes.heads / sizes.key_heads;
        let fixed = Size::fixed;
        let [q, k, v] = [self.operand(node, 0)?, self.operand(node, 1)?, self.operand(node, 2)?];
        // Query heads by the head of keys that they share: [batch, key heads, group, queries, size].
        let q = self.transpose(q, vec![0, 2, 1, 3]);
        let (groups, group) = (fixed(sizes.key_heads), fixed(across));
        let (batch, queries, keys) = (&sizes.batch, &sizes.queries, &sizes.keys);
        let grouped =
            |size: &Size| [batch.clone(), groups.clone(), group.clone(), queries.clone(), size.clone()];
        let one_by_one = |rows: &Size, columns: &Size| {
            [batch.clone(), groups.clone(), fixed(1), rows.clone(), columns.clone()]
        };
        let flat = |size: &Size| [batch.clone(), fixed(sizes.heads), queries.clone(), size.clone()];
        let q = self.reshape(q, &grouped(&sizes.size));
        let k = self.transpose(k, vec![0, 2, 3, 1]);
        let k = self.reshape(k, &one_by_one(&sizes.size, keys));
        let products = self.result("MatMul", &[q, k], &[]);
        let products = self.reshape(products, &flat(keys));
        // Rows of scores that are all -∞ have no softmax. Where no mask says so a bias may.
        let hides = bias.map(|position| self.may_hide(node, position)).transpose()?.unwrap_or(false);
        let bias = bias.map(|position| self.operand(node, position)).transpose()?;
        let mut masks = Vec::new();
        if let Some(position) = visible {
            masks.push(self.operand(node, position)?);
        }
        if let Some(position) = key_lengths {
            let ends = self.operand(node, position)?;
            masks.push(self.before(ends, batch, keys, 4));
        }
        if let Some(position) = query_lengths {
            let ends = self.operand(node, position)?;
            let own = self.before(ends, batch, queries, 3);
            masks.push(self.reshape(own, &[batch.clone(), fixed(1), queries.clone(), fixed(1)]));
        }
        let scores = self.attention_scores(node, products, rules, bias, &sizes)?;
        let weights = self.attention_weights(scores, rules, masks, hides, &sizes);
        let weights = self.reshape(weights, &grouped(keys));
        let v = self.transpose(v, vec![0, 2, 1, 3]);
        let v = self.reshape(v, &one_by_one(keys, &sizes.value_size));
        let mixed = self.result("MatMul", &[weights, v], &[]);
        let mixed = self.reshape(mixed, &flat(&sizes.value_size));
        Ok(self.transpose(mixed, vec![0, 2, 1, 3]))
    }

    fn attention_sizes(&self, node: usize) -> Result<Sizes> {
        let sizes = |i| -> Result<&[Size]> { Ok(&self.node(self.operand_of(node, i)?).sizes) };
        let ([batch, queries, heads, size], [_, keys, key_heads, _], [.., value_size]) =
            (sizes(0)?, sizes(1)?, sizes(2)?)
        else {
            return Err(self.unsupported(node));
        };
        let (Some(heads), Some(key_heads)) = (heads.as_fixed(), key_heads.as_fixed()) else {
            return Err(self.unsupported(node));
        };
        let [batch, queries, keys] = [batch, queries, keys].map(Clone::clone);
        let (size, value_size) = (size.clone(), value_size.clone());
        Ok(Sizes { batch, queries, keys, heads, key_heads, size, value_size })
    }

    /// Whether a bias may be -∞ for all keys of a query, unless it is a constant that nowhere is.
    fn may_hide(&self, node: usize, position: usize) -> Result<bool> {
        let bias = self.graph.constant(self.operand_of(node, position)?);
        Ok(bias.is_none_or(|bias| bias.iter().any(|x| x == f32::NEG_INFINITY)))
    }

    /// Scale, soft cap, bias and slopes.
    fn attention_scores(
        &mut self,
        node: usize,
        products: String,
        rules: &AttentionRules,
        bias: Option<String>,
        sizes: &Sizes,
    ) -> Result<String> {
        let Some(size) = sizes.size.as_fixed() else { return Err(self.unsupported(node)) };
        let scale = self.scalar(rules.scale.unwrap_or(1.0 / (size as f64).sqrt()));
        let mut scores = self.result("Mul", &[products, scale], &[]);
        if let Some(cap) = rules.soft_cap {
            let cap = self.scalar(cap);
            let part = self.result("Div", &[scores, cap.clone()], &[]);
            let tanh = self.result("Tanh", &[part], &[]);
            scores = self.result("Mul", &[tanh, cap], &[]);
        }
        if let Some(bias) = bias {
            scores = self.result("Add", &[scores, bias], &[]);
        }
        if let Some(slopes) = &rules.slopes {
            let (Some(queries), Some(keys)) = (sizes.queries.as_fixed(), sizes.keys.as_fixed()) else {
                return Err(self.unsupported(node));
            };
            let last = rules.causal == Some(Causal::BottomRight);
            let offset = if last { keys as f64 - queries as f64 } else { 0.0 };
            let mut values = Vec::with_capacity(slopes.len() * queries * keys);
            for slope in slopes {
                for q in 0..queries {
                    values.extend((0..keys).map(|k| (-slope * (k as f64 - q as f64 - offset).abs()) as f32));
                }
            }
            let values = self.floats("slopes", &Tensor::from_vec(values, [slopes.len(), queries, keys])?);
            scores = self.result("Add", &[scores, values], &[]);
        }
        Ok(scores)
    }

    /// The softmax over what these masks, and the rules, let be attended to; 0 elsewhere, in rows of nothing too, which scores that may `hide`
    /// make by themselves.
    fn attention_weights(
        &mut self,
        mut scores: String,
        rules: &AttentionRules,
        mut masks: Vec<String>,
        hide: bool,
        sizes: &Sizes,
    ) -> String {
        let window = rules.window.map(|window| window.min(i32::MAX as usize) as i64);
        let corner = rules.causal == Some(Causal::BottomRight);
        if rules.causal.is_some() {
            masks.push(self.triangle(sizes, corner, 0, false));
        } else if let Some(window) = window {
            masks.push(self.triangle(sizes, corner, window - 1, false));
        }
        if let Some(window) = window {
            masks.push(self.triangle(sizes, corner, 1 - window, true));
        }
        let lowest = (!masks.is_empty()).then(|| self.scalar(f64::NEG_INFINITY));
        for mask in &masks {
            let lowest = lowest.clone().unwrap_or_default();
            scores = self.result("Where", &[mask.clone(), scores, lowest], &[]);
        }
        let mut weights = self.result("Softmax", &[scores], &[("axis", Attribute::Int(-1))]);
        if hide {
            let (nothing, zero) =
                (self.result("IsNaN", std::slice::from_ref(&weights), &[]), self.scalar(0.0));
            weights = self.result("Where", &[nothing, zero, weights], &[]);
        }
        for mask in masks {
            let zero = self.scalar(0.0);
            weights = self.result("Where", &[mask, weights, zero], &[]);
        }
        weights
    }

    /// `[queries, keys]`, true up to a diagonal, or from it on: `offset` from the one through the corner.
    fn triangle(&mut self, sizes: &Sizes, bottom_right: bool, offset: i64, upper: bool) -> String {
        let (one, zero) = (self.scalar(1.0), self.scalar(0.0));
        let shape = self.shape(&[sizes.queries.clone(), sizes.keys.clone()]);
        let ones = self.result("Expand", &[one, shape], &[]);
        let mut at = self.integers("offset", &[offset]);
        if bottom_right {
            let (keys, queries) = (self.size(&sizes.keys), self.size(&sizes.queries));
            let corner = self.result("Sub", &[keys, queries], &[]);
            at = self.result("Add", &[at, corner], &[]);
        }
        let part = self.result("Trilu", &[ones, at], &[("upper", Attribute::Int(upper.into()))]);
        self.result("Greater", &[part, zero], &[])
    }

    /// The turned elements as two parts times cosines and sines, put together again; what is not turned follows.
    pub(super) fn rotary(&mut self, node: usize, op: &Rotary) -> Result<String> {
        let &Rotary::Rotary { pairs, start, given } = op;
        let (table, sizes) = (self.constant(node, 1)?, &self.node(node).sizes);
        let ([_, time, ..], &[_, count]) = (&sizes[..], table.shape()) else {
            return Err(self.unsupported(node));
        };
        // Positions that are given are of each batch: ids that no file can hold.
        let Some(size) = sizes[3].as_fixed().filter(|_| !given) else { return Err(self.unsupported(node)) };
        // The tables' rows as [1, time, 1, pairs].
        let mut rows = Vec::new();
        for operand in [1, 2] {
            let table = self.operand(node, operand)?;
            let (first, len) = (self.integers("start", &[start as i64]), self.size(time));
            let end = self.result("Add", &[first.clone(), len], &[]);
            let axis = self.integers("axes", &[0]);
            let some = self.result("Slice", &[table, first, end, axis], &[]);
            rows.push(
                self.reshape(some, &[Size::fixed(1), time.clone(), Size::fixed(1), Size::fixed(count)]),
            );
        }
        let [cos, sin] = [rows.remove(0), rows.remove(0)];
        let x = self.operand(node, 0)?;
        // Neighbours get an axis of their own.
        let apart = |last: usize| {
            let mut shape = sizes[..3].to_vec();
            shape.extend([Size::fixed(last), Size::fixed(2)]);
            shape
        };
        let turned = self.part(&x, 0, 2 * count, 3);
        let (a, b) = match pairs {
            Pairs::Halves => (self.part(&turned, 0, count, 3), self.part(&turned, count, 2 * count, 3)),
            Pairs::Neighbours => {
                let turned = self.reshape(turned, &apart(count));
                let [a, b] = [0, 1].map(|at| self.part(&turned, at, at + 1, 4));
                let flat = [&sizes[..3], &[Size::fixed(count)]].concat();
                (self.reshape(a, &flat), self.reshape(b, &flat))
            }
        };
        let product =
            |export: &mut Self, x: &String, y: &String| export.result("Mul", &[x.clone(), y.clone()], &[]);
        let (ac, bs) = (product(self, &a, &cos), product(self, &b, &sin));
        let (bc, r#as) = (product(self, &b, &cos), product(self, &a, &sin));
        let (first, second) = (self.result("Sub", &[ac, bs], &[]), self.result("Add", &[bc, r#as], &[]));
        let last = [("axis", Attribute::Int(-1))];
        let mut parts = match pairs {
            Pairs::Halves => vec![first, second],
            Pairs::Neighbours => {
                let one = [&sizes[..3], &[Size::fixed(count), Size::fixed(1)]].concat();
                let both = [self.reshape(first, &one), self.reshape(second, &one)];
                let both = self.result("Concat", &both, &last);
                vec![self.reshape(both, &[&sizes[..3], &[Size::fixed(2 * count)]].concat())]
            }
        };
        if size > 2 * count {
            parts.push(self.part(&x, 2 * count, size, 3));
        }
        Ok(match &parts[..] {
            [one] => one.clone(),
            all => self.result("Concat", all, &last),
        })
    }

    /// Entries `start` to `end` of an axis.
    fn part(&mut self, x: &str, start: usize, end: usize, axis: i64) -> String {
        let [start, end, axis] = [("starts", start as i64), ("ends", end as i64), ("axes", axis)]
            .map(|(what, n)| self.integers(what, &[n]));
        self.result("Slice", &[x.to_owned(), start, end, axis], &[])
    }

    pub(super) fn gated(&mut self, node: usize, op: &Gated) -> Result<String> {
        let (kind, gate, up) = match *op {
            Gated::Gated { gate } => (gate, self.operand(node, 0)?, self.operand(node, 1)?),
            Gated::Halves { gate } => {
                let (x, sizes) = (self.operand(node, 0)?, &self.node(node).sizes);
                let last = sizes.len() as i64 - 1;
                let Some(half) = sizes.last().and_then(Size::as_fixed) else {
                    return Err(self.unsupported(node));
                };
                (gate, self.part(&x, 0, half, last), self.part(&x, half, 2 * half, last))
            }
        };
        let activation = match kind {
            Gate::Relu => Elementwise::Relu,
            Gate::Sigmoid => Elementwise::Sigmoid,
            Gate::Silu => Elementwise::Silu,
            Gate::Gelu => Elementwise::Gelu,
            Gate::GeluTanh => Elementwise::GeluTanh,
        };
        let gate = self.function(gate, &activation);
        Ok(self.result("Mul", &[gate, up], &[]))
    }
}
