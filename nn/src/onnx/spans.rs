//! Where the sequences of a padded batch begin and end, found out from their ids, and which steps that leaves.

use cairn_autograd::op::{IdsOp, Spans};

use super::export::Export;
use super::proto::{self, Attribute};
use crate::Result;
use crate::graph::Size;

impl Export<'_> {
    /// The first step, or the one after the last, that is not padding, `[batch]`; 0 where all is.
    pub(super) fn span(&mut self, op: IdsOp, ids: usize) -> Result<String> {
        let (time, ids) = (self.node(ids).sizes[1].clone(), self.name(ids)?);
        let (IdsOp::Starts { padding } | IdsOp::Ends { padding }) = op;
        let padding = self.integers("padding", &[padding.into()]);
        let padding = self.result("Equal", &[ids, padding], &[]);
        let tokens = self.result("Not", &[padding], &[]);
        let each = ("keepdims", Attribute::Int(0));
        Ok(match op {
            IdsOp::Starts { .. } => {
                let tokens = self.cast(tokens, proto::FLOAT);
                // The first of those that are largest: 0 where all are padding.
                self.result("ArgMax", &[tokens], &[("axis", Attribute::Int(1)), each])
            }
            IdsOp::Ends { .. } => {
                let tokens = self.cast(tokens, proto::INT64);
                let (one, steps) = (self.integers("one", &[1]), self.steps(&time));
                let after = self.result("Add", &[steps, one], &[]);
                let after = self.result("Mul", &[tokens, after], &[]);
                self.result("ReduceMax", &[after], &[("axes", Attribute::Ints(vec![1])), each])
            }
        })
    }

    /// Which steps are of their sequence, as numbers.
    pub(super) fn spans(&mut self, node: usize, op: &Spans) -> Result<String> {
        let Spans::Valid { .. } = op;
        let sizes = &self.node(node).sizes;
        let (batch, time) = (&sizes[0], &sizes[1]);
        let ends = self.operand(node, 0)?;
        let mut valid = self.before(ends, batch, time, 2);
        if self.node(node).operands().len() > 1 {
            let starts = self.operand(node, 1)?;
            let early = self.before(starts, batch, time, 2);
            let late = self.result("Not", &[early], &[]);
            valid = self.result("And", &[valid, late], &[]);
        }
        let valid = self.cast(valid, proto::FLOAT);
        Ok(self.reshape(valid, sizes))
    }

    /// Which of so many steps come before these of each sequence, `[batch, 1, …, time]` with so many axes.
    pub(super) fn before(&mut self, ends: String, batch: &Size, time: &Size, rank: usize) -> String {
        let mut sizes = vec![Size::fixed(1); rank];
        sizes[0] = batch.clone();
        let (ends, steps) = (self.reshape(ends, &sizes), self.steps(time));
        self.result("Less", &[steps, ends], &[])
    }

    /// The numbers of so many steps, from 0.
    fn steps(&mut self, time: &Size) -> String {
        if let Some(time) = time.as_fixed() {
            let steps: Vec<i64> = (0..time as i64).collect();
            return self.integers("steps", &steps);
        }
        let (one, count) = (self.integers("one", &[1]), self.size(time));
        let ones = self.result("Expand", &[one, count], &[]);
        let axis = self.integers("axis", &[0]);
        self.result("CumSum", &[ones, axis], &[("exclusive", Attribute::Int(1))])
    }

    fn cast(&mut self, x: String, kind: i64) -> String {
        self.result("Cast", &[x], &[("to", Attribute::Int(kind))])
    }
}
