//! Sizes that depend on what is left open: the batch, the length of sequences.

use std::fmt;

use cairn_tensor::Shape;

/// A size of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dim {
    /// Left open, under a name: equal names are equal sizes.
    Open(&'static str),
    /// Always the same.
    Fixed(usize),
}

impl Dim {
    /// The number of items.
    pub const BATCH: Dim = Dim::Open("batch");
    /// The number of steps.
    pub const TIME: Dim = Dim::Open("time");
}

impl From<usize> for Dim {
    fn from(size: usize) -> Self {
        Dim::Fixed(size)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Open(name) => f.write_str(name),
            Dim::Fixed(size) => write!(f, "{size}"),
        }
    }
}

/// A size of a value within a graph: a sum of multiples of what is left open, and of products of two of them.
///
/// Terms with the open sizes whose bits are set, ascending, none of factor 0; no bit is the fixed part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Size(Vec<(u8, isize)>);

/// How many sizes may be open.
pub(super) const MOST_OPEN: usize = 8;

impl Size {
    pub(crate) fn fixed(size: usize) -> Self {
        Size::of_terms([(0, size as isize)])
    }

    /// The open size of this number.
    pub(crate) fn open(which: usize) -> Self {
        Size::of_terms([(1 << which, 1)])
    }

    fn of_terms(terms: impl IntoIterator<Item = (u8, isize)>) -> Self {
        let mut terms: Vec<(u8, isize)> = terms.into_iter().filter(|&(_, factor)| factor != 0).collect();
        terms.sort_unstable();
        Size(terms)
    }

    /// The sum of two sizes.
    pub(crate) fn add(&self, other: &Size) -> Self {
        let mut sum = self.0.clone();
        for &(dims, factor) in &other.0 {
            match sum.iter_mut().find(|(own, _)| *own == dims) {
                Some((_, own)) => *own += factor,
                None => sum.push((dims, factor)),
            }
        }
        Size::of_terms(sum)
    }

    pub(crate) fn at(&self, open: &[usize]) -> usize {
        let term = |&(dims, factor): &(u8, isize)| {
            let chosen = open.iter().enumerate().filter(|(i, _)| dims & (1 << i) != 0);
            chosen.fold(factor, |product, (_, &size)| product.saturating_mul(size as isize))
        };
        self.0.iter().map(term).fold(0, isize::saturating_add).max(0) as usize
    }

    /// The size that is always the same.
    pub(crate) fn as_fixed(&self) -> Option<usize> {
        match self.0[..] {
            [] => Some(0),
            [(0, size)] => Some(size as usize),
            _ => None,
        }
    }

    /// The open size that this is, alone.
    pub(crate) fn as_open(&self) -> Option<usize> {
        match self.0[..] {
            [(dims, 1)] if dims.is_power_of_two() => Some(dims.trailing_zeros() as usize),
            _ => None,
        }
    }

    /// The open sizes whose product a term is, and its factor; the fixed part is the empty product.
    pub(crate) fn terms(&self) -> impl Iterator<Item = (Vec<usize>, isize)> + '_ {
        self.0
            .iter()
            .map(|&(dims, factor)| ((0..MOST_OPEN).filter(|i| dims & (1 << i) != 0).collect(), factor))
    }
}

pub(crate) fn shape_at(sizes: &[Size], open: &[usize]) -> Shape {
    sizes.iter().map(|size| size.at(open)).collect()
}

/// The values of the open sizes in the runs that a graph is traced by.
#[derive(Debug)]
pub(super) struct Probes {
    count: usize,
    pub(super) runs: Vec<Vec<usize>>,
}

/// The value of open size `i`, and the other one that it is given. Different ones, so that no two are taken for each other.
fn values(i: usize) -> [usize; 2] {
    [2 + 3 * i, 3 + 4 * i]
}

impl Probes {
    /// For so many open sizes: all as they are, each changed alone, each two of them together, and all at once, which sees through
    /// what grows otherwise than by a sum of products of two.
    pub(super) fn new(count: usize) -> Self {
        let changed = |which: &[usize]| -> Vec<usize> {
            (0..count).map(|i| values(i)[usize::from(which.contains(&i))]).collect()
        };
        let mut runs = vec![changed(&[])];
        runs.extend((0..count).map(|i| changed(&[i])));
        runs.extend(pairs(count).map(|(i, j)| changed(&[i, j])));
        if count > 1 {
            runs.push((0..count).map(|i| 4 + 7 * i).collect());
        }
        Probes { count, runs }
    }

    /// The size that was so in each of the runs; `None` if there is none.
    pub(super) fn size(&self, probed: &[usize]) -> Option<Size> {
        let f: Vec<isize> = probed.iter().map(|&size| size as isize).collect();
        let (start, step) =
            (|i: usize| values(i)[0] as isize, |i: usize| (values(i)[1] - values(i)[0]) as isize);
        let mut terms = Vec::new();
        // Of products first: what is left of a change of one is its own factor and those of products with the others.
        let mut slopes: Vec<isize> = (0..self.count).map(|i| (f[1 + i] - f[0]) / step(i)).collect();
        let mut fixed = f[0];
        for (at, (i, j)) in pairs(self.count).enumerate() {
            let both = f[1 + self.count + at] - f[1 + i] - f[1 + j] + f[0];
            let factor = both / (step(i) * step(j));
            slopes[i] -= factor * start(j);
            slopes[j] -= factor * start(i);
            fixed -= factor * start(i) * start(j);
            terms.push((1 << i | 1 << j, factor));
        }
        for (i, &slope) in slopes.iter().enumerate() {
            fixed -= slope * start(i);
            terms.push((1 << i, slope));
        }
        terms.push((0, fixed));
        let size = Size::of_terms(terms);
        // The number of items is never added to.
        let plain = !size.0.contains(&(1, 1)) || size.0.len() == 1;
        (plain && self.runs.iter().zip(probed).all(|(open, &probed)| size.at(open) == probed)).then_some(size)
    }
}

fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |i| (i + 1..count).map(move |j| (i, j)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_found_from_what_they_were() {
        for count in 1..=4 {
            let probes = Probes::new(count);
            let size = |f: &dyn Fn(&[usize]) -> usize| {
                probes.size(&probes.runs.iter().map(|open| f(open)).collect::<Vec<_>>())
            };
            let last = count - 1;
            assert_eq!(size(&|_| 7), Some(Size::fixed(7)));
            assert_eq!(size(&|open| open[last]), Some(Size::open(last)));
            let tripled = size(&|open| 3 * open[last]).unwrap();
            assert_eq!(
                (tripled.at(&[5; 4][..count]), tripled.as_fixed(), tripled.as_open()),
                (15, None, None)
            );
            if count > 1 {
                let mixed = size(&|open| 1 + 2 * open[1] + 5 * open[0] * open[last]).unwrap();
                assert_eq!(mixed.at(&[2, 3, 10, 20][..count]), 1 + 6 + 5 * 2 * [2, 3, 10, 20][last]);
                assert_eq!(size(&|open| open[last] * open[last]), None);
            }
        }
    }
}
