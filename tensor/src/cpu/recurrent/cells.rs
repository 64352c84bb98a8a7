//! One step of one sequence: the elementwise part of each kind of recurrence, forward and backward side by side.
//!
//! All slices are of `units` elements, or of that many for each gate, gate after gate. The products with the weights have
//! been done before (forward) or are done after (backward).

use crate::Float;
use crate::cpu::Isa;

/// A kind of recurrence.
pub(super) trait Cell: Copy + Send + Sync {
    /// Blocks of `units` columns in the weights.
    const GATES: usize;
    /// Blocks of `units` in the bias: one for each gate; one more if the last has one for each of its parts.
    const BIASES: usize = Self::GATES;
    /// Whether a value for each unit is kept beside the gates for the backward pass.
    const SAVES_STATE: bool = true;
    /// Whether the gradient of the recurrent product differs from that of the input's.
    const SPLIT_RECURRENT_GRADIENT: bool = false;
    /// Whether the recurrent product of the last gate is of r ∘ h in place of h, so that it has to wait for r.
    const RESET_BEFORE_PRODUCT: bool = false;
    /// Gates whose recurrent product is of h; the first ones.
    const UNRESET_GATES: usize = if Self::RESET_BEFORE_PRODUCT { Self::GATES - 1 } else { Self::GATES };

    /// Advances the state by a step.
    fn forward<T: Float, S: Isa>(self, step: Forward<'_, T>);
    /// The backward pass of a step.
    fn backward<T: Float, S: Isa>(self, step: Backward<'_, T>);
    /// What comes between the two products of a kind that [`RESET_BEFORE_PRODUCT`](Self::RESET_BEFORE_PRODUCT).
    fn reset<T: Float, S: Isa>(self, _: Reset<'_, T>) {}
    /// Its backward pass.
    fn reset_backward<T: Float, S: Isa>(self, _: ResetBackward<'_, T>) {}
}

/// What the middle of a step reads and writes.
pub(super) struct Reset<'a, T> {
    /// In: x W of all gates; out: those that are known now after their activations.
    pub(super) gates: &'a mut [T],
    /// The recurrent part and the bias of these.
    pub(super) product: &'a [T],
    /// h, times its mask if there is one.
    pub(super) hidden: &'a [T],
    /// Out: r ∘ h, kept.
    pub(super) kept: &'a mut [T],
}

/// What the backward pass over the middle of a step reads and writes.
pub(super) struct ResetBackward<'a, T> {
    /// The gates after their activations.
    pub(super) gates: &'a [T],
    /// Gradient of r ∘ h.
    pub(super) reset: &'a [T],
    /// h before the step, without its mask …
    pub(super) before: &'a [T],
    /// … and the mask, empty for ones.
    pub(super) mask: &'a [T],
    /// Gradient of h: that of r ∘ h is added.
    pub(super) hidden: &'a mut [T],
    /// Out: gradient of x W + b of r.
    pub(super) input: &'a mut [T],
}

/// What a step reads and writes.
pub(super) struct Forward<'a, T> {
    /// The gates: in, the input's part, x W; out, after their activations.
    pub(super) gates: &'a mut [T],
    /// The recurrent part and the bias: h U + b; of a kind that resets, that of the last gate.
    pub(super) product: &'a [T],
    /// The bias of the last gate's input part, where `BIASES` exceeds `GATES`; empty for none.
    pub(super) bias: &'a [T],
    /// Kept for the backward pass.
    pub(super) kept: &'a mut [T],
    /// h.
    pub(super) hidden: &'a mut [T],
    /// c, of an LSTM.
    pub(super) cell: &'a mut [T],
}

/// What the backward pass reads and writes.
pub(super) struct Backward<'a, T> {
    /// The gates after their activations.
    pub(super) gates: &'a [T],
    /// What `forward` kept.
    pub(super) kept: &'a [T],
    /// h before the step.
    pub(super) before: &'a [T],
    /// In: gradient of h after the step; out: its part that does not go through the recurrent product.
    pub(super) hidden: &'a mut [T],
    /// Gradient of c after, then before the step.
    pub(super) cell: &'a mut [T],
    /// Out: gradient of x W + b.
    pub(super) input: &'a mut [T],
    /// Out: gradient of h U, where it is another.
    pub(super) recurrent: &'a mut [T],
}

/// The `N` gates of a row.
#[inline(always)]
fn gates<T, const N: usize>(row: &[T]) -> [&[T]; N] {
    let units = row.len() / N;
    std::array::from_fn(|i| &row[i * units..(i + 1) * units])
}

/// As [`gates`], for writing.
#[inline(always)]
fn gates_mut<T, const N: usize>(mut row: &mut [T]) -> [&mut [T]; N] {
    let units = row.len() / N;
    std::array::from_fn(|_| {
        let (gate, rest) = std::mem::take(&mut row).split_at_mut(units);
        row = rest;
        gate
    })
}

/// h' = tanh(x W + b + h U) (Elman 1990).
#[derive(Debug, Clone, Copy)]
pub(super) struct Tanh;
impl Cell for Tanh {
    const GATES: usize = 1;
    const SAVES_STATE: bool = false;

    #[inline(always)]
    fn forward<T: Float, S: Isa>(self, step: Forward<'_, T>) {
        for ((a, &p), h) in step.gates.iter_mut().zip(step.product).zip(step.hidden) {
            *a = (*a + p).tanh::<S>();
            *h = *a;
        }
    }

    #[inline(always)]
    fn backward<T: Float, S: Isa>(self, step: Backward<'_, T>) {
        for ((o, &a), g) in step.input.iter_mut().zip(step.gates).zip(step.hidden) {
            *o = *g * (T::ONE - a * a);
            *g = T::ZERO;
        }
    }
}

/// h' = max(x W + b + h U, 0).
#[derive(Debug, Clone, Copy)]
pub(super) struct Relu;
impl Cell for Relu {
    const GATES: usize = 1;
    const SAVES_STATE: bool = false;

    #[inline(always)]
    fn forward<T: Float, S: Isa>(self, step: Forward<'_, T>) {
        for ((a, &p), h) in step.gates.iter_mut().zip(step.product).zip(step.hidden) {
            let x = *a + p;
            *a = if x < T::ZERO { T::ZERO } else { x };
            *h = *a;
        }
    }

    #[inline(always)]
    fn backward<T: Float, S: Isa>(self, step: Backward<'_, T>) {
        for ((o, &a), g) in step.input.iter_mut().zip(step.gates).zip(step.hidden) {
            *o = if a > T::ZERO { *g } else { T::ZERO };
            *g = T::ZERO;
        }
    }
}

/// Long short-term memory with a forget gate (Hochreiter and Schmidhuber 1997; Gers et al. 2000), gates in the order
/// i, f, g, o: c' = f c + i g, h' = o tanh(c'). c before the step is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lstm;
impl Cell for Lstm {
    const GATES: usize = 4;

    #[inline(always)]
    fn forward<T: Float, S: Isa>(self, step: Forward<'_, T>) {
        let n = step.hidden.len();
        let product = &step.product[..4 * n];
        step.gates.iter_mut().zip(product).for_each(|(a, &p)| *a += p);
        let [i, f, g, o] = gates_mut(step.gates);
        for gate in [&mut *i, &mut *f, &mut *o] {
            gate.iter_mut().for_each(|x| *x = x.sigmoid::<S>());
        }
        g.iter_mut().for_each(|x| *x = x.tanh::<S>());
        let (i, f, g, o) = (&i[..n], &f[..n], &g[..n], &o[..n]);
        let (kept, cell, hidden) = (&mut step.kept[..n], &mut step.cell[..n], &mut step.hidden[..n]);
        for u in 0..n {
            kept[u] = cell[u];
            cell[u] = f[u].fma::<S>(cell[u], i[u] * g[u]);
            hidden[u] = o[u] * cell[u].tanh::<S>();
        }
    }

    #[inline(always)]
    fn backward<T: Float, S: Isa>(self, step: Backward<'_, T>) {
        let [di, df, dg, d_o] = gates_mut(step.input);
        lstm_backward::<T, S>(gates(step.gates), step.kept, step.hidden, step.cell, di, df, dg, d_o);
    }
}

/// A function of its own, so that the compiler knows the slices apart and makes vectors of the loop.
#[inline(always)]
fn lstm_backward<T: Float, S: Isa>(
    [i, f, g, o]: [&[T]; 4],
    before: &[T],
    dh: &mut [T],
    dc: &mut [T],
    di: &mut [T],
    df: &mut [T],
    dg: &mut [T],
    d_o: &mut [T],
) {
    let n = dh.len();
    let (i, f, g, o, before) = (&i[..n], &f[..n], &g[..n], &o[..n], &before[..n]);
    let (di, df, dg, d_o, dc) = (&mut di[..n], &mut df[..n], &mut dg[..n], &mut d_o[..n], &mut dc[..n]);
    for u in 0..n {
        let (i, f, g, o) = (i[u], f[u], g[u], o[u]);
        let squashed = f.fma::<S>(before[u], i * g).tanh::<S>();
        d_o[u] = dh[u] * squashed * o * (T::ONE - o);
        let c = dc[u] + dh[u] * o * (T::ONE - squashed * squashed);
        di[u] = c * g * i * (T::ONE - i);
        df[u] = c * before[u] * f * (T::ONE - f);
        dg[u] = c * i * (T::ONE - g * g);
        dc[u] = c * f;
        dh[u] = T::ZERO;
    }
}

/// Gated recurrent unit (Cho et al. 2014) with the reset gate after the product, gates in the order r, z, n:
/// n = tanh(x Wn + bn + r (h Un + q)), h' = (1 - z) n + z h. h Un + q is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gru;
impl Cell for Gru {
    const GATES: usize = 3;
    const BIASES: usize = 4;
    const SPLIT_RECURRENT_GRADIENT: bool = true;

    #[inline(always)]
    fn forward<T: Float, S: Isa>(self, step: Forward<'_, T>) {
        let units = step.hidden.len();
        let [pr, pz, pn] = gates(&step.product[..3 * units]);
        let [r, z, n] = gates_mut(step.gates);
        for (gate, product) in [(&mut *r, pr), (&mut *z, pz)] {
            gate.iter_mut().zip(product).for_each(|(x, &p)| *x = (*x + p).sigmoid::<S>());
        }
        step.kept.copy_from_slice(pn);
        n.iter_mut().zip(step.bias).for_each(|(n, &b)| *n += b);
        let (r, z, n) = (&r[..units], &z[..units], &mut n[..units]);
        let (kept, hidden) = (&step.kept[..units], &mut step.hidden[..units]);
        for u in 0..units {
            n[u] = r[u].fma::<S>(kept[u], n[u]).tanh::<S>();
            hidden[u] = z[u].fma::<S>(hidden[u] - n[u], n[u]);
        }
    }

    #[inline(always)]
    fn backward<T: Float, S: Isa>(self, step: Backward<'_, T>) {
        let [dr, dz, dn] = gates_mut(step.input);
        let [ur, uz, un] = gates_mut(step.recurrent);
        gru_backward(gates(step.gates), step.kept, step.before, step.hidden, dr, dz, dn, un);
        ur.copy_from_slice(dr);
        uz.copy_from_slice(dz);
    }
}

/// As [`lstm_backward`].
#[inline(always)]
fn gru_backward<T: Float>(
    [r, z, n]: [&[T]; 3],
    kept: &[T],
    before: &[T],
    dh: &mut [T],
    dr: &mut [T],
    dz: &mut [T],
    dn: &mut [T],
    un: &mut [T],
) {
    let units = dh.len();
    let (r, z, n, kept, before) = (&r[..units], &z[..units], &n[..units], &kept[..units], &before[..units]);
    let (dr, dz, dn, un) = (&mut dr[..units], &mut dz[..units], &mut dn[..units], &mut un[..units]);
    for u in 0..units {
        let (r, z, n, g) = (r[u], z[u], n[u], dh[u]);
        let d = g * (T::ONE - z) * (T::ONE - n * n);
        dn[u] = d;
        un[u] = d * r;
        dr[u] = d * kept[u] * r * (T::ONE - r);
        dz[u] = g * (before[u] - n) * z * (T::ONE - z);
        dh[u] = g * z;
    }
}

/// Gated recurrent unit with the reset gate before the product, as first published, gates in the order r, z, n:
/// n = tanh(x Wn + bn + (r h) Un), h' = (1 - z) n + z h. r h is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct GruResetBefore;
impl Cell for GruResetBefore {
    const GATES: usize = 3;
    const RESET_BEFORE_PRODUCT: bool = true;

    #[inline(always)]
    fn reset<T: Float, S: Isa>(self, step: Reset<'_, T>) {
        let units = step.hidden.len();
        let [r, z, _] = gates_mut(step.gates);
        for (gate, product) in [(&mut *r, &step.product[..units]), (z, &step.product[units..2 * units])] {
            gate.iter_mut().zip(product).for_each(|(x, &p)| *x = (*x + p).sigmoid::<S>());
        }
        step.kept.iter_mut().zip(&*r).zip(step.hidden).for_each(|((o, &r), &h)| *o = r * h);
    }

    #[inline(always)]
    fn forward<T: Float, S: Isa>(self, step: Forward<'_, T>) {
        let units = step.hidden.len();
        let [_, z, n] = gates_mut(step.gates);
        for (((n, &p), &z), h) in n.iter_mut().zip(&step.product[..units]).zip(&*z).zip(step.hidden) {
            *n = (*n + p).tanh::<S>();
            *h = z.fma::<S>(*h - *n, *n);
        }
    }

    #[inline(always)]
    fn backward<T: Float, S: Isa>(self, step: Backward<'_, T>) {
        let [_, dz, dn] = gates_mut(step.input);
        let [_, z, n] = gates(step.gates);
        let units = step.hidden.len();
        let (z, n, before) = (&z[..units], &n[..units], &step.before[..units]);
        let (dz, dn) = (&mut dz[..units], &mut dn[..units]);
        for (u, dh) in step.hidden.iter_mut().enumerate() {
            let (z, n, g) = (z[u], n[u], *dh);
            dn[u] = g * (T::ONE - z) * (T::ONE - n * n);
            dz[u] = g * (before[u] - n) * z * (T::ONE - z);
            *dh = g * z;
        }
    }

    #[inline(always)]
    fn reset_backward<T: Float, S: Isa>(self, step: ResetBackward<'_, T>) {
        let units = step.hidden.len();
        let [r, ..] = gates::<T, 3>(step.gates);
        let (r, reset, before, dr) =
            (&r[..units], &step.reset[..units], &step.before[..units], &mut step.input[..units]);
        for (u, dh) in step.hidden.iter_mut().enumerate() {
            let of_hidden = reset[u] * step.mask.get(u).copied().unwrap_or(T::ONE);
            dr[u] = of_hidden * before[u] * r[u] * (T::ONE - r[u]);
            *dh += of_hidden * r[u];
        }
    }
}
