//! Samples in `.npy` files: the same batches as from memory, whatever the files they are divided into.

use cairn_datasets::{Dataset, Error, Loader, NpyDataset, Tensor, TensorDataset};
use proptest::prelude::*;

proptest! {
    #[test]
    fn batches_are_those_of_tensors_in_memory(lengths in prop::collection::vec(0usize..5, 1..5), size in 1usize..7, seed in any::<u64>()) {
        let len: usize = lengths.iter().sum();
        let dir = tempfile::tempdir().unwrap();
        let x = Tensor::from_vec((0..len * 3).map(|i| (i * 7 % 256) as u8).collect(), [len, 3]).unwrap();
        let y = Tensor::from_vec((0..len as i64).collect(), [len]).unwrap();
        let (mut pairs, mut start) = (Vec::new(), 0);
        for (part, &count) in lengths.iter().enumerate() {
            let pair = (dir.path().join(format!("x{part}.npy")), dir.path().join(format!("y{part}.npy")));
            x.narrow(0, start, count).unwrap().write_npy(&pair.0).unwrap();
            y.narrow(0, start, count).unwrap().write_npy(&pair.1).unwrap();
            pairs.push(pair);
            start += count;
        }
        let data = NpyDataset::<f32, u32>::open_parts(pairs);
        if len == 0 {
            let empty = matches!(data, Err(Error::Empty { .. }));
            prop_assert!(empty);
            return Ok(());
        }
        let (data, memory) = (data.unwrap(), TensorDataset::new(x.cast::<f32>().unwrap(), y.cast::<u32>().unwrap()).unwrap());
        prop_assert_eq!(data.len(), len);
        let (read, held) = (Loader::new(&data).batch_size(size).shuffle(seed), Loader::new(&memory).batch_size(size).shuffle(seed));
        for (read, held) in read.epoch(1).unwrap().zip(held.epoch(1).unwrap()) {
            let ((x, y), (u, v)) = (read.unwrap(), held.unwrap());
            prop_assert!(x == u && y == v);
        }
        let (none, _) = data.batch(&[]).unwrap();
        prop_assert_eq!(none.shape(), &[0, 3]);
        let beyond = data.batch(&[len]);
        let named = matches!(beyond, Err(Error::IndexOutOfRange { .. }));
        prop_assert!(named);
    }
}

#[test]
fn files_that_do_not_go_together_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, shape: &[usize]| {
        let path = dir.path().join(name);
        Tensor::<f32>::ones(shape).unwrap().write_npy(&path).unwrap();
        path
    };
    let (x, y) = (write("x.npy", &[4, 2]), write("y.npy", &[4]));
    let refused = |pairs: &[(&std::path::Path, &std::path::Path)], what: &[&str]| {
        let error = NpyDataset::<f32, u32>::open_parts(pairs.iter().copied()).unwrap_err().to_string();
        assert!(what.iter().all(|what| error.contains(what)), "{error}");
    };
    refused(&[(&x, &write("few.npy", &[3]))], &["few.npy", "3 targets for the 4 inputs", "x.npy"]);
    refused(&[(&x, &y), (&write("wide.npy", &[4, 3]), &y)], &["wide.npy", "[3]", "[2]", "x.npy"]);
    refused(&[(&x, &y), (&x, &write("deep.npy", &[4, 1]))], &["deep.npy", "y.npy"]);
    refused(&[(&dir.path().join("none.npy"), &y)], &["none.npy"]);
    // A label that is none.
    Tensor::from_vec(vec![0i64, 1, -1, 2], [4]).unwrap().write_npy(&y).unwrap();
    let data = NpyDataset::<f32, u32>::open(&x, &y).unwrap();
    assert!(data.batch(&[0, 1]).is_ok());
    assert!(data.batch(&[1, 2]).unwrap_err().to_string().contains("-1"));
}
