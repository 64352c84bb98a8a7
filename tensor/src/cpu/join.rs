//! Several operands written side by side: joining along an axis, and surrounding with a margin.

use crate::Element;
use crate::cpu::copy::short;
use crate::cpu::threads;

/// Pieces of a slab that are copied as loops: a call to copy memory costs more.
const TINY: usize = 8;

/// `out` is a stack of `count` slabs; each holds one piece of every part, in order.
pub(crate) fn slabs<T: Element>(parts: &[&[T]], count: usize, out: &mut [T]) {
    if out.is_empty() {
        return;
    }
    let slab = out.len() / count;
    // Elements in turn from a few parts.
    match parts {
        [a, b] if slab == 2 && a.len() == count => return interleave([a, b], out),
        [a, b, c] if slab == 3 && a.len() == count && b.len() == count => {
            return interleave([a, b, c], out);
        }
        _ => {}
    }
    if count == 1 {
        let mut rest = out;
        for part in parts {
            let (head, tail) = rest.split_at_mut(part.len());
            threads::split_units(head, 1, 1, |first, head| {
                head.copy_from_slice(&part[first..first + head.len()]);
                false
            });
            rest = tail;
        }
        return;
    }
    threads::split_units(out, slab, slab, |first, out| {
        for (i, mut out) in out.chunks_exact_mut(slab).enumerate() {
            for part in parts {
                let len = part.len() / count;
                let (head, tail) = out.split_at_mut(len);
                let from = &part[(first + i) * len..][..len];
                if len <= TINY {
                    head.iter_mut().zip(from).for_each(|(o, &x)| *o = x);
                } else {
                    head.copy_from_slice(from);
                }
                out = tail;
            }
        }
        false
    });
}

/// `out[i N + k] = parts[k][i]`.
fn interleave<T: Element, const N: usize>(parts: [&[T]; N], out: &mut [T]) {
    threads::split_units(out, N, N, |first, out| {
        let (rows, _) = out.as_chunks_mut::<N>();
        short::interleave(parts.map(|part| &part[first..first + rows.len()]), rows);
        false
    });
}

/// `out`, of `shape`, is `x`, of `inner`, with `before` places of `value` in front along each axis and the rest behind. All
/// three have one size for each axis, and there is at least one axis.
pub(crate) fn surround<T: Element>(
    (x, inner): (&[T], &[usize]),
    before: &[usize],
    (out, shape): (&mut [T], &[usize]),
    value: T,
) {
    let last = shape.len() - 1;
    let (len, front, row) = (inner[last], before[last], shape[last]);
    threads::split_units(out, row, row, |first, out| {
        for (i, out) in out.chunks_exact_mut(row).enumerate() {
            // The row of `x` that stands here, counted over the axes before the last; none in the margin.
            let (mut rest, mut from, mut step) = (first + i, Some(0), 1);
            for axis in (0..last).rev() {
                let at = (rest % shape[axis]).checked_sub(before[axis]).filter(|&at| at < inner[axis]);
                from = from.zip(at).map(|(from, at)| from + at * step);
                (rest, step) = (rest / shape[axis], step * inner[axis]);
            }
            match from {
                None => out.fill(value),
                Some(from) => {
                    let (head, tail) = out.split_at_mut(front);
                    let (middle, tail) = tail.split_at_mut(len);
                    head.fill(value);
                    middle.copy_from_slice(&x[from * len..][..len]);
                    tail.fill(value);
                }
            }
        }
        false
    });
}
