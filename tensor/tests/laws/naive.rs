//! The reference: a shape, the elements in row-major order, and nothing clever. And proptest strategies for shapes and
//! views.

use cairn_tensor::{Element, Rng, Shape, Slice, Tensor, rng};
use proptest::prelude::*;
use rand::RngExt;

/// Row-major array.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Naive<T> {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<T>,
}

/// All multi-indices of a shape in row-major order.
pub(crate) fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for &size in shape {
        all = all
            .into_iter()
            .flat_map(|index: Vec<usize>| {
                (0..size).map(move |i| {
                    let mut index = index.clone();
                    index.push(i);
                    index
                })
            })
            .collect();
    }
    all
}

impl<T: Element> Naive<T> {
    pub(crate) fn from_fn(shape: &[usize], f: impl FnMut(&[usize]) -> T) -> Self {
        let mut f = f;
        Naive { shape: shape.to_vec(), data: indices(shape).iter().map(|index| f(index)).collect() }
    }

    pub(crate) fn at(&self, index: &[usize]) -> T {
        assert_eq!(index.len(), self.shape.len());
        let mut position = 0;
        for (&i, &size) in index.iter().zip(&self.shape) {
            assert!(i < size);
            position = position * size + i;
        }
        self.data[position]
    }

    /// The element of an array that is broadcast to more or longer axes.
    pub(crate) fn at_broadcast(&self, index: &[usize]) -> T {
        let own = &index[index.len() - self.shape.len()..];
        let own: Vec<usize> =
            own.iter().zip(&self.shape).map(|(&i, &size)| if size == 1 { 0 } else { i }).collect();
        self.at(&own)
    }

    pub(crate) fn broadcast(&self, shape: &[usize]) -> Self {
        Self::from_fn(shape, |index| self.at_broadcast(index))
    }

    pub(crate) fn permute(&self, order: &[usize]) -> Self {
        let shape: Vec<usize> = order.iter().map(|&axis| self.shape[axis]).collect();
        Self::from_fn(&shape, |index| {
            let mut source = vec![0; index.len()];
            for (&axis, &i) in order.iter().zip(index) {
                source[axis] = i;
            }
            self.at(&source)
        })
    }

    pub(crate) fn narrow(&self, axis: usize, start: usize, len: usize) -> Self {
        let mut shape = self.shape.clone();
        shape[axis] = len;
        Self::from_fn(&shape, |index| {
            let mut index = index.to_vec();
            index[axis] += start;
            self.at(&index)
        })
    }

    /// `len` entries of an axis, `step` apart, of a part that begins at `start`; backwards for a negative step.
    fn stepped(&self, axis: usize, start: usize, len: usize, step: isize) -> Self {
        let mut shape = self.shape.clone();
        shape[axis] = len;
        Self::from_fn(&shape, |index| {
            let mut index = index.to_vec();
            let place = if step < 0 { len - 1 - index[axis] } else { index[axis] };
            index[axis] = start + place * step.unsigned_abs();
            self.at(&index)
        })
    }

    pub(crate) fn map<O: Element>(&self, f: impl Fn(T) -> O) -> Naive<O> {
        Naive { shape: self.shape.clone(), data: self.data.iter().map(|&x| f(x)).collect() }
    }

    /// Runs along one axis: for each index of the other axes, the elements.
    pub(crate) fn runs(&self, axis: usize) -> Naive0<Vec<T>> {
        let mut shape = self.shape.clone();
        let len = shape.remove(axis);
        let data = indices(&shape)
            .into_iter()
            .map(|mut index| {
                index.insert(axis, 0);
                (0..len)
                    .map(|i| {
                        index[axis] = i;
                        self.at(&index)
                    })
                    .collect()
            })
            .collect();
        Naive0 { shape, data }
    }

    /// Each run along an axis replaced by `f` of it, of any length.
    pub(crate) fn map_runs<O: Element>(&self, axis: usize, f: impl Fn(&[T]) -> Vec<O>) -> Naive<O> {
        let runs = self.runs(axis);
        let new: Vec<Vec<O>> = runs.data.iter().map(|run| f(run)).collect();
        let mut shape = runs.shape.clone();
        // With no runs at all, the length is taken from a run of defaults.
        let len = new.first().map_or_else(|| f(&vec![T::default(); self.shape[axis]]).len(), Vec::len);
        shape.insert(axis, len);
        Naive::from_fn(&shape, |index| {
            let mut run = 0;
            for (a, &i) in index.iter().enumerate().filter(|(a, _)| *a != axis) {
                run = run * shape[a] + i;
            }
            new[run][index[axis]]
        })
    }

    /// The values folded over masked axes: for each index of the others, in row-major order.
    pub(crate) fn groups(&self, mask: &[bool]) -> Naive0<Vec<T>> {
        let kept: Vec<usize> = (0..mask.len()).filter(|&i| !mask[i]).map(|i| self.shape[i]).collect();
        let outer = indices(&kept);
        let mut data = vec![vec![]; outer.len()];
        for index in indices(&self.shape) {
            let key: Vec<usize> = (0..mask.len()).filter(|&i| !mask[i]).map(|i| index[i]).collect();
            data[outer.iter().position(|o| *o == key).unwrap()].push(self.at(&index));
        }
        Naive0 { shape: kept, data }
    }

    pub(crate) fn tensor(&self) -> Tensor<T> {
        Tensor::from_vec(self.data.clone(), self.shape.clone()).unwrap()
    }
}

/// As [`Naive`], of anything.
pub(crate) struct Naive0<T> {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<T>,
}

/// Same shape, same elements; read through `get`, which shares no code with the copying kernels, and through `to_vec`.
#[track_caller]
pub(crate) fn same<T: Element>(got: &Tensor<T>, want: &Naive<T>) {
    assert_eq!(got.shape(), want.shape, "shape");
    assert_eq!(got.to_vec(), want.data, "shape {:?}", want.shape);
    for (index, &x) in indices(&want.shape).iter().zip(&want.data) {
        assert_eq!(got.get(index).unwrap(), x, "at {index:?}");
    }
    assert!(got.iter().eq(want.data.iter().copied()));
}

/// Same shape; elements within `tolerance` relative to the larger of 1 and the wanted one, NaN for NaN.
#[track_caller]
pub(crate) fn close<T: Element>(got: &Tensor<T>, want: &Naive<f64>, tolerance: f64) {
    assert_eq!(got.shape(), want.shape, "shape");
    for (i, (x, &w)) in got.to_vec().into_iter().zip(&want.data).enumerate() {
        let x = x.to_f64();
        let ok = x == w || x.is_nan() && w.is_nan() || (x - w).abs() <= tolerance * w.abs().max(1.0);
        assert!(ok, "element {i} of {:?}: {x} for {w}", want.shape);
    }
}

/// Shapes of 0 to 4 axes; sizes of 0 and 1 among them.
pub(crate) fn shapes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1 => Just(0), 4 => Just(1), 16 => 2..6usize], 0..=4)
}

/// Shapes with at least one axis, and one of the axes.
pub(crate) fn shape_and_axis() -> impl Strategy<Value = (Vec<usize>, usize)> {
    (shapes(), any::<prop::sample::Index>())
        .prop_filter("an axis is needed", |(shape, _)| !shape.is_empty())
        .prop_map(|(shape, axis)| {
            let axis = axis.index(shape.len());
            (shape, axis)
        })
}

/// Two or three shapes that broadcast together, and the result's shape.
pub(crate) fn broadcasting(count: usize) -> impl Strategy<Value = (Vec<Vec<usize>>, Vec<usize>)> {
    (shapes(), any::<u64>()).prop_map(move |(shape, seed)| {
        let mut rng = rng(seed);
        let mut parts: Vec<Vec<usize>> = (0..count)
            .map(|_| {
                let drop = if rng.random_bool(0.3) { rng.random_range(0..=shape.len()) } else { 0 };
                shape[drop..].iter().map(|&size| if rng.random_bool(0.3) { 1 } else { size }).collect()
            })
            .collect();
        parts[0] = if rng.random_bool(0.5) { shape.clone() } else { parts[0].clone() };
        let mut result = vec![1; parts.iter().map(Vec::len).max().unwrap_or(0)];
        for part in &parts {
            let new = result.len() - part.len();
            for (i, &size) in part.iter().enumerate() {
                if size != 1 {
                    result[new + i] = size;
                }
            }
        }
        (parts, result)
    })
}

/// A view of the given shape with strides of all kinds (permuted, with gaps and steps, backwards, repeated, in order), and
/// what it holds.
pub(crate) fn view<T: Element>(
    shape: &[usize],
    seed: u64,
    value: impl Fn(&mut Rng) -> T,
) -> (Tensor<T>, Naive<T>) {
    let rng = &mut rng(seed);
    let plain = rng.random_bool(0.3);
    let mut order: Vec<usize> = (0..shape.len()).collect();
    if !plain {
        for i in (1..order.len()).rev() {
            order.swap(i, rng.random_range(0..=i));
        }
    }
    // A larger array, whose axis `i` holds the axis `order[i]` of the view, or one element of it if it is repeated.
    let repeated: Vec<bool> = shape.iter().map(|_| !plain && rng.random_bool(0.15)).collect();
    let core: Vec<usize> =
        shape.iter().zip(&repeated).map(|(&size, &repeated)| if repeated { 1 } else { size }).collect();
    let gaps: Vec<(usize, usize)> = shape
        .iter()
        .map(|_| {
            if !plain && rng.random_bool(0.4) {
                (rng.random_range(0..3), rng.random_range(0..3))
            } else {
                (0, 0)
            }
        })
        .collect();
    // Every element, every second or third, from the front or from the end.
    let steps: Vec<isize> = shape
        .iter()
        .map(|_| {
            let step = if rng.random_bool(0.2) { rng.random_range(2..4i64) as isize } else { 1 };
            if plain {
                1
            } else if rng.random_bool(0.25) {
                -step
            } else {
                step
            }
        })
        .collect();
    let spans: Vec<usize> = core
        .iter()
        .zip(&steps)
        .map(|(&len, step)| len.checked_sub(1).map_or(0, |last| last * step.unsigned_abs() + 1))
        .collect();
    let base: Vec<usize> = order.iter().map(|&axis| gaps[axis].0 + spans[axis] + gaps[axis].1).collect();
    let mut naive = Naive::from_fn(&base, |_| value(rng));
    let mut tensor = naive.tensor();
    for (i, &axis) in order.iter().enumerate() {
        let mut slices = vec![Slice::from(..); i];
        slices.push(Slice::from(gaps[axis].0..gaps[axis].0 + spans[axis]).step(steps[axis]));
        tensor = tensor.slice(slices).unwrap();
        naive = naive.stepped(i, gaps[axis].0, core[axis], steps[axis]);
    }
    let mut back = vec![0; order.len()];
    for (i, &axis) in order.iter().enumerate() {
        back[axis] = i;
    }
    (permuted(&tensor, &back).broadcast_to(shape).unwrap(), naive.permute(&back).broadcast(shape))
}

/// `permute` takes arrays; this takes any length up to 4.
pub(crate) fn permuted<T: Element>(x: &Tensor<T>, order: &[usize]) -> Tensor<T> {
    match *order {
        [] => x.clone(),
        [a] => x.permute([a]).unwrap(),
        [a, b] => x.permute([a, b]).unwrap(),
        [a, b, c] => x.permute([a, b, c]).unwrap(),
        [a, b, c, d] => x.permute([a, b, c, d]).unwrap(),
        _ => unreachable!("at most four axes"),
    }
}

/// Small integers, with ties.
pub(crate) fn small(rng: &mut Rng) -> i64 {
    rng.random_range(-9..10)
}

/// Numbers of ordinary size.
pub(crate) fn real(rng: &mut Rng) -> f64 {
    rng.random_range(-3.0..3.0)
}

pub(crate) fn real32(rng: &mut Rng) -> f32 {
    rng.random_range(-3.0..3.0)
}

/// An empty tensor with an axis that no memory could hold: loops must not multiply its sizes.
pub(crate) fn huge_and_empty<T: Element>() -> Tensor<T> {
    Tensor::zeros(Shape::from([usize::MAX, 0, usize::MAX / 2])).unwrap()
}
