//! Rows that lie scattered in a table, by index and each with a factor: brought together, or used where they are.

use cairn_tensor::kernel::{Isa, Kernel, Vector, dispatch};

use super::products::{four_products, one_product};
use super::{PAD, Register};
use crate::data::ids::Idx;

/// The rows `roots[r] table[columns[r]]`, of `width` floats, a multiple of [`PAD`].
#[derive(Clone, Copy)]
pub(crate) struct Scattered<'a, C> {
    pub(crate) table: &'a [f32],
    pub(crate) width: usize,
    pub(crate) columns: &'a [C],
    pub(crate) roots: &'a [f32],
}

/// `z[r] = roots[r] table[columns[r]]`.
pub(crate) fn gather<C: Idx>(rows: Scattered<'_, C>, z: &mut [f32]) {
    debug_assert!(rows.width.is_multiple_of(PAD) && z.len() == rows.columns.len() * rows.width);
    dispatch(Gather { rows, z });
}

struct Gather<'a, C> {
    rows: Scattered<'a, C>,
    z: &'a mut [f32],
}

impl<C: Idx> Kernel for Gather<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Isa>(self) {
        // With the number of vectors known when compiled, a row is a few moves and no loop.
        match self.rows.width / Register::<S>::LANES {
            1 => self.rows::<S, 1>(),
            2 => self.rows::<S, 2>(),
            4 => self.rows::<S, 4>(),
            8 => self.rows::<S, 8>(),
            _ => {
                let Self { rows: Scattered { table, width, columns, roots }, z } = self;
                for ((z, column), &root) in z.chunks_exact_mut(width).zip(columns).zip(roots) {
                    let row = &table[column.at() * width..(column.at() + 1) * width];
                    let (z, _) = Register::<S>::chunks_mut(z);
                    let (row, _) = Register::<S>::chunks(row);
                    let root = Register::<S>::splat(root);
                    for (z, y) in z.iter_mut().zip(row) {
                        root.mul(Register::<S>::load(y)).store(z);
                    }
                }
            }
        }
    }
}

impl<C: Idx> Gather<'_, C> {
    #[inline(always)]
    fn rows<S: Isa, const N: usize>(self) {
        let ((table, _), (z, _)) =
            (Register::<S>::chunks(self.rows.table), Register::<S>::chunks_mut(self.z));
        let ((table, _), (z, _)) = (table.as_chunks::<N>(), z.as_chunks_mut::<N>());
        for ((z, column), &root) in z.iter_mut().zip(self.rows.columns).zip(self.rows.roots) {
            let (row, root) = (&table[column.at()], Register::<S>::splat(root));
            for i in 0..N {
                root.mul(Register::<S>::load(&row[i])).store(&mut z[i]);
            }
        }
    }
}

/// `out[r] += roots[r] table[columns[r]] · x`; rows of the length of `x`.
pub(crate) fn add_gathered_products<C: Idx>(rows: Scattered<'_, C>, x: &[f32], out: &mut [f32]) {
    debug_assert!(rows.width == x.len() && out.len() == rows.columns.len());
    dispatch(Products { rows, x, out });
}

struct Products<'a, C> {
    rows: Scattered<'a, C>,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl<C: Idx> Kernel for Products<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Isa>(self) {
        let Self { rows: Scattered { table, width, columns, roots }, x, out } = self;
        let (columns4, columns1) = columns.as_chunks::<4>();
        let (roots4, roots1) = roots.as_chunks::<4>();
        let (out4, out1) = out.as_chunks_mut::<4>();
        for ((columns, roots), out) in columns4.iter().zip(roots4).zip(out4) {
            let at = [columns[0].at(), columns[1].at(), columns[2].at(), columns[3].at()];
            let a = &table[at[0] * width..(at[0] + 1) * width];
            let b = &table[at[1] * width..(at[1] + 1) * width];
            let c = &table[at[2] * width..(at[2] + 1) * width];
            let d = &table[at[3] * width..(at[3] + 1) * width];
            let products = four_products::<S>([a, b, c, d], x);
            for i in 0..4 {
                out[i] += roots[i] * products[i];
            }
        }
        for ((column, root), out) in columns1.iter().zip(roots1).zip(out1) {
            *out += root * one_product::<S>(&table[column.at() * width..(column.at() + 1) * width], x);
        }
    }
}
