//! Without the feature `linalg` there are no operations of linear algebra. The stem stays, empty, so that whoever matches on
//! [`Op`](crate::op::Op) writes the same with the feature and without it.

use cairn_tensor::Float;

use crate::Result;
use crate::op::{Operands, Ran, Rule, Wanted};

/// Linear algebra: nothing without the feature `linalg`.
#[derive(Debug, Clone, PartialEq)]
pub enum Linalg {}

impl Linalg {
    pub(crate) const NAMES: &[&'static str] = &[];

    pub(crate) fn name(&self) -> &'static str {
        match *self {}
    }
}

impl Rule for Linalg {
    fn run<T: Float>(&self, _: Operands<'_, T>, _: Wanted<'_>) -> Result<Ran<T>> {
        match *self {}
    }
}
