//! The kernel toolkit: registers against plain loops, and tasks that each run once.

use std::sync::atomic::{AtomicUsize, Ordering};

use cairn_tensor::kernel::{
    Isa, Kernel, Vector, dispatch, for_each, for_each_chunk, for_each_part, for_each_run, map, vectorize,
};
use proptest::prelude::*;

/// Every operation of a register, on whole slices.
struct All<'a, T> {
    x: &'a [T],
    y: &'a [T],
}

struct Results<T> {
    lanes: usize,
    maps: Vec<[T; 5]>,
    sums: Vec<T>,
    four: Vec<[T; 4]>,
}

macro_rules! all {
    ($t:ty, $register:ident) => {
        impl Kernel for All<'_, $t> {
            type Output = Results<$t>;
            #[inline(always)]
            fn run<S: Isa>(self) -> Results<$t> {
                type V<S> = <S as Isa>::$register;
                let (x, rest) = V::<S>::chunks(self.x);
                let (y, _) = V::<S>::chunks(self.y);
                assert_eq!(rest.len(), self.x.len() % V::<S>::LANES);
                let (mut maps, mut sums, mut four) = (vec![], vec![], vec![]);
                for (x, y) in x.iter().zip(y) {
                    let (x, y) = (V::<S>::load(x), V::<S>::load(y));
                    let results = [x.add(y), x.sub(y), x.mul(y), x.mul_add(y, V::<S>::splat(0.5)), x.relu()];
                    let results = results.map(|x| x.to_array());
                    maps.extend((0..V::<S>::LANES).map(|i| results.map(|r| r[i])));
                    sums.push(x.sum());
                    four.push(V::<S>::sum_four([x, y, x.mul(y), V::<S>::splat(1.0)]));
                }
                Results { lanes: V::<S>::LANES, maps, sums, four }
            }
        }

        impl All<'_, $t> {
            fn check(self) -> Result<(), TestCaseError> {
                let All { x, y } = self;
                let Results { lanes, maps, sums, four } = dispatch(All { x, y });
                prop_assert_eq!(maps.len(), x.len() / lanes * lanes);
                // Small integers and halves: sums and products are exact, in any order.
                for ((&x, &y), got) in x.iter().zip(y).zip(maps) {
                    prop_assert_eq!(got, [x + y, x - y, x * y, x * y + 0.5, x.max(0.0)]);
                }
                for (i, (sum, four)) in sums.into_iter().zip(four).enumerate() {
                    let (x, y) = (&x[i * lanes..][..lanes], &y[i * lanes..][..lanes]);
                    prop_assert_eq!(sum, x.iter().sum::<$t>());
                    let xy = x.iter().zip(y).map(|(x, y)| x * y);
                    prop_assert_eq!(four, [sum, y.iter().sum(), xy.sum(), lanes as $t]);
                }
                Ok(())
            }
        }
    };
}
all!(f32, F32);
all!(f64, F64);

proptest! {
    #[test]
    fn registers_do_what_loops_do(values in prop::collection::vec((-99..100i32, -99..100i32), 0..100)) {
        let x: Vec<f32> = values.iter().map(|v| v.0 as f32).collect();
        let y: Vec<f32> = values.iter().map(|v| v.1 as f32).collect();
        All { x: &x[..], y: &y[..] }.check()?;
        let x: Vec<f64> = values.iter().map(|v| v.0.into()).collect();
        let y: Vec<f64> = values.iter().map(|v| v.1.into()).collect();
        All { x: &x[..], y: &y[..] }.check()?;
    }

    #[test]
    fn every_part_is_handed_out_once(len in 0..3000usize, size in 1..100usize) {
        let mut out = vec![usize::MAX; len];
        for_each_chunk(&mut out, size, |i, chunk| chunk.iter_mut().for_each(|x| *x = x.wrapping_add(i + 1)));
        prop_assert!(out.iter().enumerate().all(|(at, &x)| x == at / size));
        let mut ends: Vec<usize> = (0..len).step_by(size).collect();
        ends.push(len);
        for_each_part(&mut out, &ends, |i, part| part.iter_mut().for_each(|x| *x += i));
        prop_assert!(out.iter().enumerate().all(|(at, &x)| x == at / size + at / size + 1));
        for_each_run(&mut out, size, 1 << 12, |first, run| {
            run.chunks_mut(size).zip(first..).for_each(|(unit, i)| unit.iter_mut().for_each(|x| *x -= i));
        });
        prop_assert!(out.iter().enumerate().all(|(at, &x)| x == at / size + 1));
        prop_assert_eq!(map(len, |i| i * i), (0..len).map(|i| i * i).collect::<Vec<_>>());
    }
}

#[test]
fn tasks_may_split_their_own_work() {
    let calls = AtomicUsize::new(0);
    for_each(20, |_| for_each(30, |_| _ = calls.fetch_add(1, Ordering::Relaxed)));
    assert_eq!(calls.into_inner(), 600);
    for_each_chunk(&mut [1, 2, 3], 0, |_, _| panic!("chunks of no elements"));
    let mut out = [0; 3];
    assert_eq!(vectorize(|| out.iter_mut().map(|x| std::mem::replace(x, 1) + 1).sum::<i32>()), 3);
    assert_eq!(out, [1; 3]);
}

#[test]
#[should_panic(expected = "task 7")]
fn a_panic_reaches_the_caller() {
    for_each(50, |i| assert!(i != 7, "task {i}"));
}

#[test]
#[should_panic(expected = "ends of pieces")]
fn parts_that_end_elsewhere_are_refused() {
    for_each_part(&mut [0; 5], &[2, 4], |_, _| {});
}
