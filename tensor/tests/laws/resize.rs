//! Resizing images against the formulas.

use cairn_tensor::Resize;
use proptest::prelude::*;

use crate::naive::{Naive, close, real, view};

proptest! {
    #[test]
    fn resizing_matches_its_formula(old in (1..6usize, 1..6usize), new in (1..9usize, 1..9usize), seed: u64) {
        let (x, nx) = view(&[2, old.0, old.1, 3], seed, real);
        let shape = [2, new.0, new.1, 3];
        let nearest = Naive::from_fn(&shape, |i| nx.at(&[i[0], i[1] * old.0 / new.0, i[2] * old.1 / new.1, i[3]]));
        close(&x.resize2d([new.0, new.1], Resize::Nearest).unwrap(), &nearest, 0.0);
        // Tent weights around the pixel's centre, with the border repeated.
        let place = |i: usize, old: usize, new: usize| {
            ((i as f64 + 0.5) * old as f64 / new as f64 - 0.5).clamp(0.0, (old - 1) as f64)
        };
        let bilinear = Naive::from_fn(&shape, |i| {
            let (py, px) = (place(i[1], old.0, new.0), place(i[2], old.1, new.1));
            let mut sum = 0.0;
            for y in 0..old.0 {
                for x in 0..old.1 {
                    let weight = (1.0 - (py - y as f64).abs()).max(0.0) * (1.0 - (px - x as f64).abs()).max(0.0);
                    sum += weight * nx.at(&[i[0], y, x, i[3]]);
                }
            }
            sum
        });
        close(&x.resize2d([new.0, new.1], Resize::Bilinear).unwrap(), &bilinear, 1e-12);
    }
}
