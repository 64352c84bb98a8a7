//! `.npy` files and half-precision storage.

use cairn_tensor::{DType, Element, Error, NpyFile, NpyWriter, Tensor, bf16, f16};
use proptest::prelude::*;
use rand::RngExt;

use crate::naive::{same, shapes, small, view};

fn round_trip<T: Element>(x: &Tensor<T>) -> Tensor<T> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npy");
    x.write_npy(&path).unwrap();
    Tensor::read_npy(&path).unwrap()
}

/// Reads bytes as a file.
fn read<T: Element>(bytes: &[u8]) -> Result<Tensor<T>, Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npy");
    std::fs::write(&path, bytes).unwrap();
    Tensor::read_npy(&path)
}

fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn files_hold_what_was_written(shape in shapes(), seed: u64) {
        let (x, n) = view(&shape, seed, small);
        same(&round_trip(&x), &n);
        let (x, n) = view(&shape, seed, RngExt::random::<f32>);
        same(&round_trip(&x), &n);
        let (x, n) = view(&shape, seed, RngExt::random::<bool>);
        same(&round_trip(&x), &n);
        let (x, n) = view(&shape, seed, |rng| f16::from_f32(rng.random()));
        same(&round_trip(&x), &n);
    }

    #[test]
    fn no_bytes_make_reading_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), version in 0..4u8) {
        prop_assert!(read::<f32>(&bytes).is_err());
        let mut start = b"\x93NUMPY".to_vec();
        start.extend([version, 0, 20, 0]);
        start.append(&mut bytes);
        let _ = read::<f32>(&start);
    }

    #[test]
    fn half_precision_rounds_to_nearest(values in prop::collection::vec(-1e5..1e5f32, 0..50)) {
        let n = values.len();
        let x = Tensor::from_vec(values.clone(), [n]).unwrap();
        let half = x.cast::<bf16>().unwrap();
        prop_assert!(half.cast::<f32>().unwrap().iter().zip(&values).all(|(h, v)| (h - v).abs() <= v.abs() / 256.0));
        let half = x.cast::<f16>().unwrap();
        for (h, v) in half.cast::<f32>().unwrap().iter().zip(&values) {
            prop_assert!(h.is_infinite() && v.abs() > 65_500.0 || (h - v).abs() <= v.abs() / 2048.0 + 1e-7);
        }
    }
}

/// Byte for byte what `numpy.save` writes for `array([[1, 2], [3, 4]], dtype=float32)`.
#[test]
fn the_bytes_are_numpys() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npy");
    Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2]).unwrap().write_npy(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00\x76\x00");
    assert_eq!(bytes.len(), 128 + 16);
    assert!(bytes[10..].starts_with(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2"));
    assert_eq!(bytes[127], b'\n');
    assert_eq!(&bytes[128..136], [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40]);
}

#[test]
fn other_orders_are_read() {
    let columns = "{'descr': '<u4', 'fortran_order': True, 'shape': (2, 3), }";
    let data: Vec<u8> = [1u32, 4, 2, 5, 3, 6].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(read::<u32>(&file(columns, &data)).unwrap().to_vec(), [1, 2, 3, 4, 5, 6]);
    let big = "{'descr': '>i8', 'fortran_order': False, 'shape': (), }";
    assert_eq!(read::<i64>(&file(big, &(-7i64).to_be_bytes())).unwrap().item().unwrap(), -7);
}

#[test]
fn bad_files_are_refused() {
    let refused = |bytes: &[u8], why: &str| match read::<f32>(bytes) {
        Err(Error::File { op: "read_npy", why: found, .. }) => {
            assert!(found.contains(why), "{found} for {why}");
        }
        other => panic!("{why}: {other:?}"),
    };
    let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }";
    assert!(read::<f32>(&file(good, &[0; 12])).is_ok());
    refused(&file(good, &[0; 11]), "cut short: 11 of 12");
    refused(b"PK\x03\x04 not an array", "not a .npy file");
    refused(&file(&good.replace("<f4", "<f8"), &[0; 24]), "<f8, not f32");
    refused(&file(&good.replace("(3,)", "(99999999999999999999,)"), &[]), "shape");
    refused(&file(&good.replace("(3,)", "(4000000000000, 4000000000000)"), &[]), "shape is too large");
    refused(&file(&good.replace("(3,)", "(4000000000000,)"), &[0; 8]), "cut short");
    refused(&file("{'fortran_order': False}", &[]), "no descr");
    refused(&file(&good.replace("'<f4'", "[('a', '<f4')]"), &[]), "structured");
    let truth = "{'descr': '|b1', 'fortran_order': False, 'shape': (1,), }";
    assert!(read::<bool>(&file(truth, &[2])).is_err());
    let missing = Tensor::<f32>::read_npy("/no/such/file.npy");
    assert!(matches!(missing, Err(Error::File { kind: std::io::ErrorKind::NotFound, .. })));
    let nowhere = Tensor::scalar(1f32).write_npy("/no/such/file.npy");
    assert!(matches!(nowhere, Err(Error::File { op: "write_npy", .. })));
    assert!(Tensor::scalar(bf16::ONE).write_npy("/no/such/file.npy").is_err());
}

#[test]
fn headers_of_older_writers_and_other_programs_are_read() {
    let data: Vec<u8> = (0..12u8).flat_map(|x| f32::from(x).to_le_bytes()).collect();
    let expected: Vec<f32> = (0..12u8).map(f32::from).collect();
    for header in [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3L, 4L), }",
        "{\"descr\" : \"<f4\", \"fortran_order\" : False, \"shape\" : (3, 4), }",
        "{'shape' : (3,4),'fortran_order':False,'descr' :\t'<f4'}",
        "{ 'descr': '<f4', 'fortran_order': False, 'shape': ( 3 , 4 , ) }",
    ] {
        let x = read::<f32>(&file(header, &data)).unwrap_or_else(|error| panic!("{header}: {error}"));
        assert_eq!((x.shape(), x.to_vec()), (&[3, 4][..], expected.clone()), "{header}");
    }
    // Another type than was asked for says how to read it.
    let bytes: Vec<u8> = [-1i32, 0, 7].iter().flat_map(|x| x.to_le_bytes()).collect();
    let bytes = file("{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }", &bytes);
    let error = read::<i64>(&bytes).unwrap_err().to_string();
    assert!(error.contains("<i4, not i64") && error.contains("AnyTensor::read_npy"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npy");
    std::fs::write(&path, &bytes).unwrap();
    let any = cairn_tensor::AnyTensor::read_npy(&path).unwrap().cast(cairn_tensor::DType::I64).unwrap();
    assert_eq!(any.downcast_ref::<i64>().unwrap().to_vec(), [-1, 0, 7]);
    for header in
        ["", "{", "{'descr'", "{'descr': '<f4' 'shape': (1,)}", "{'descr': <f4}", "{'more': '<f4'}", "[]"]
    {
        assert!(read::<f32>(&file(header, &data)).is_err(), "{header}");
    }
}

/// Zeros pack a thousandfold.
#[cfg(feature = "npz")]
#[test]
fn archives_unpack_to_no_more_than_a_multiple_of_themselves() {
    use cairn_tensor::{NpzReader, NpzWriter};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zeros.npz");
    let mut archive = NpzWriter::create(&path).unwrap();
    archive.add("zeros", &Tensor::<f32>::zeros([20 << 20]).unwrap()).unwrap();
    archive.finish().unwrap();
    let error = NpzReader::open(&path).unwrap().read::<f32>("zeros").unwrap_err().to_string();
    assert!(error.contains("no more than"), "{error}");
    let mut archive = NpzReader::open(&path).unwrap().limit(1 << 30);
    assert_eq!(archive.read::<f32>("zeros").unwrap().len(), 20 << 20);
}

/// The shell limits the size of files, as a full disk would; the test runs itself in it.
#[cfg(all(feature = "npz", unix))]
#[test]
fn a_full_disk_leaves_the_old_archive_and_one_message() {
    use cairn_tensor::NpzWriter;
    const VARIABLE: &str = "CAIRN_NPZ_WRITE_TOO_MUCH";
    let noise = |n: usize| Tensor::<f32>::normal([n], 0.0, 1.0, &mut cairn_tensor::rng(0)).unwrap();
    if let Some(path) = std::env::var_os(VARIABLE) {
        let mut archive = NpzWriter::create(&path).unwrap();
        let refused = archive.add("noise", &noise(1 << 20)).is_err() || archive.finish().is_err();
        print!("refused: {refused}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npz");
    let mut archive = NpzWriter::create(&path).unwrap();
    archive.add("noise", &noise(3)).unwrap();
    archive.finish().unwrap();
    let old = std::fs::read(&path).unwrap();
    let limited = "trap '' XFSZ; ulimit -f 1024; exec \"$0\" --nocapture --exact \"$1\"";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", limited]).arg(std::env::current_exe().unwrap());
    shell.arg("files::a_full_disk_leaves_the_old_archive_and_one_message").env(VARIABLE, &path);
    let output = shell.output().unwrap();
    let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(printed.contains("refused: true"), "{printed}{said}");
    assert!(!said.contains("finalize"), "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), old);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[cfg(feature = "npz")]
#[test]
fn archives_hold_tensors_by_name() {
    use cairn_tensor::{NpzReader, NpzWriter};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npz");
    let mut archive = NpzWriter::create(&path).unwrap();
    let x = Tensor::arange(0i64, 1000, 1).unwrap().reshape([10, 100]).unwrap();
    archive.add("x", &x).unwrap();
    archive.add("y/z", &Tensor::scalar(true)).unwrap();
    archive.finish().unwrap();
    let mut archive = NpzReader::open(&path).unwrap();
    assert_eq!(archive.names(), ["x", "y/z"]);
    assert_eq!(archive.read::<i64>("x").unwrap(), x);
    assert!(archive.read::<bool>("y/z").unwrap().item().unwrap());
    assert!(matches!(archive.read::<f32>("x"), Err(Error::File { op: "read_npz", .. })));
    assert!(archive.read::<f32>("w").unwrap_err().to_string().contains("w:"));
    // An archive that is not finished leaves the one before, and nothing else.
    let mut unfinished = NpzWriter::create(&path).unwrap();
    unfinished.add("z", &x).unwrap();
    drop(unfinished);
    assert_eq!(NpzReader::open(&path).unwrap().names(), ["x", "y/z"]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    std::fs::write(&path, b"PK").unwrap();
    assert!(matches!(NpzReader::open(&path), Err(Error::File { .. })));
}

proptest! {
    /// Rows by position are those of the whole, in any order, also asked for twice; what is written row by row is what is written at once.
    #[test]
    fn rows_of_a_file(count in 1usize..9, item in prop::collection::vec(0usize..4, 0..3), pieces in 1usize..4,
                      picked in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let dir = tempfile::tempdir().unwrap();
        let (at_once, by_rows) = (dir.path().join("a.npy"), dir.path().join("b.npy"));
        let shape: Vec<usize> = std::iter::once(count).chain(item.iter().copied()).collect();
        let x = Tensor::from_vec((0..shape.iter().product()).map(|i: usize| i as f64 / 3.0).collect(), &shape).unwrap();
        x.write_npy(&at_once).unwrap();
        let mut file = NpyWriter::create(&by_rows, &item[..]).unwrap();
        for start in (0..count).step_by(pieces) {
            file.add(&x.narrow(0, start, pieces.min(count - start)).unwrap()).unwrap();
        }
        file.finish().unwrap();
        prop_assert!(std::fs::read(&at_once).unwrap() == std::fs::read(&by_rows).unwrap());
        let file = NpyFile::open(&by_rows).unwrap();
        prop_assert_eq!((file.shape(), file.dtype()), (&shape[..], DType::F64));
        let picked: Vec<usize> = picked.iter().map(|i| i.index(count)).collect();
        let ids: Vec<u32> = picked.iter().map(|&i| i as u32).collect();
        let expected = x.index_select(0, &ids).unwrap();
        let found = file.rows(&picked).unwrap();
        prop_assert_eq!(found.downcast_ref::<f64>().unwrap(), &expected);
    }
}

#[test]
fn rows_of_either_byte_order_and_what_has_no_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npy");
    let open = |head: &str, elements: &[u8]| {
        let head = format!("{head:<117}\n");
        std::fs::write(&path, [b"\x93NUMPY\x01\x00\x76\x00", head.as_bytes(), elements].concat()).unwrap();
        NpyFile::open(&path)
    };
    let head = |order: &str, fortran: &str, shape: &str| {
        format!("{{'descr': '{order}', 'fortran_order': {fortran}, 'shape': {shape}, }}")
    };
    let big: Vec<u8> = (1..=4u32).flat_map(u32::to_be_bytes).collect();
    let file = open(&head(">u4", "False", "(2, 2)"), &big).unwrap();
    assert_eq!(file.rows(&[1, 0]).unwrap().downcast_ref::<u32>().unwrap().to_vec(), [3, 4, 1, 2]);
    assert!(matches!(file.rows(&[0, 2]), Err(Error::IndexOutOfRange { index: 2, position: 1, size: 2, .. })));
    // One axis has no order.
    assert_eq!(open(&head(">u4", "True", "(4,)"), &big).unwrap().rows(&[2]).unwrap().shape(), [1]);
    for (head, bytes, why) in [
        (head(">u4", "True", "(2, 2)"), &big[..], "ascontiguousarray"),
        (head(">u4", "False", "(2, 2)"), &big[..15], "15 bytes of elements, of 16"),
        (head(">u4", "False", "(3,)"), &big[..], "16 bytes of elements, of 12"),
        (head(">u4", "False", "()"), &big[..4], "no rows"),
        (head("<c8", "False", "(2,)"), &big[..], "type <c8"),
        (head("<f8", "False", "(0, 9223372036854775807, 9)"), &[], "too large"),
    ] {
        let error = open(&head, bytes).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("x.npy"), "{error}");
    }
    // Cut while it is read.
    let file = open(&head(">u4", "False", "(2, 2)"), &big).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(140).unwrap();
    assert_eq!(file.rows(&[0]).unwrap().shape(), [1, 2]);
    assert!(file.rows(&[0, 1]).unwrap_err().to_string().contains("x.npy"));
}

#[test]
fn a_file_written_by_rows_is_there_when_it_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npy");
    let mut file = NpyWriter::<f32>::create(&path, [3]).unwrap();
    file.add(&Tensor::ones([2, 3]).unwrap()).unwrap();
    for shape in [vec![3], vec![2, 4], vec![1, 3, 1], vec![]] {
        assert!(matches!(file.add(&Tensor::ones(shape).unwrap()), Err(Error::ShapeMismatch { .. })));
    }
    drop(file);
    assert!(!path.exists());
    NpyWriter::<f32>::create(&path, [3]).unwrap().finish().unwrap();
    assert_eq!(Tensor::<f32>::read_npy(&path).unwrap().shape(), [0, 3]);
    assert!(NpyWriter::<bf16>::create(&path, [3]).is_err());
}
