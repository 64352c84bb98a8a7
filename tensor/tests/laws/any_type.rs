//! Tensors whose element type is known at run time.

use cairn_tensor::{AnyTensor, DType, Element, Error, Tensor, bf16, f16, rng};
use proptest::prelude::*;
use rand::RngExt;

use crate::naive::{shapes, view};

/// A strided view of every type, its elements of any bits.
fn one_of_each(shape: &[usize], seed: u64) -> Vec<AnyTensor> {
    let mut seeds = rng(seed);
    let mut next = || seeds.random::<u64>();
    vec![
        view(shape, next(), |rng| f32::from_bits(rng.random())).0.into(),
        view(shape, next(), |rng| f64::from_bits(rng.random())).0.into(),
        view(shape, next(), |rng| bf16::from_bits(rng.random())).0.into(),
        view(shape, next(), |rng| f16::from_bits(rng.random())).0.into(),
        view(shape, next(), RngExt::random::<i8>).0.into(),
        view(shape, next(), RngExt::random::<i16>).0.into(),
        view(shape, next(), RngExt::random::<i32>).0.into(),
        view(shape, next(), RngExt::random::<i64>).0.into(),
        view(shape, next(), RngExt::random::<u8>).0.into(),
        view(shape, next(), RngExt::random::<u32>).0.into(),
        view(shape, next(), RngExt::random::<bool>).0.into(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_type_comes_back_bit_for_bit(shape in shapes(), seed: u64) {
        let tensors = one_of_each(&shape, seed);
        let types: Vec<DType> = tensors.iter().map(AnyTensor::dtype).collect();
        prop_assert_eq!(&types, DType::ALL, "a type is missing here");
        for x in tensors {
            let bytes = x.to_le_bytes().unwrap();
            prop_assert_eq!(bytes.len(), x.byte_count());
            let back = AnyTensor::from_le_bytes(x.dtype(), x.shape(), &bytes).unwrap();
            prop_assert!(back.bits_eq(&x), "{x:?} through bytes is {back:?}");
            let text = serde_json::to_string(&x).unwrap();
            let back: AnyTensor = serde_json::from_str(&text).unwrap();
            prop_assert!(back.bits_eq(&x), "{x:?} through {text} is {back:?}");
        }
    }

    #[test]
    fn files_keep_type_and_bits(shape in shapes(), seed: u64) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.npy");
        for x in one_of_each(&shape, seed) {
            if x.dtype() == DType::BF16 {
                prop_assert!(matches!(x.write_npy(&path), Err(Error::File { .. })), "NumPy has no bf16");
                continue;
            }
            x.write_npy(&path).unwrap();
            prop_assert!(AnyTensor::read_npy(&path).unwrap().bits_eq(&x));
        }
    }

    #[test]
    fn conversions_are_those_of_typed_tensors(shape in shapes(), seed: u64) {
        fn converted<T: Element>(x: &AnyTensor) -> Option<AnyTensor> {
            fn of<A: Element, T: Element>(x: &AnyTensor) -> Option<Option<AnyTensor>> {
                Some(x.downcast_ref::<A>().ok()?.cast::<T>().ok().map(Into::into))
            }
            of::<f32, T>(x).or_else(|| of::<f64, T>(x)).or_else(|| of::<i64, T>(x)).or_else(|| of::<bool, T>(x)).unwrap()
        }
        let tensors = one_of_each(&shape, seed);
        for x in tensors.iter().filter(|x| matches!(x.dtype(), DType::F32 | DType::F64 | DType::I64 | DType::Bool)) {
            // Refused by both, where an integer type does not hold a value.
            let equal = |got: Result<AnyTensor, Error>, want: Option<AnyTensor>| match (got, want) {
                (Ok(got), Some(want)) => got.bits_eq(&want),
                (got, want) => got.is_err() && want.is_none(),
            };
            prop_assert!(equal(x.cast(DType::F32), converted::<f32>(x)), "{x:?} as f32");
            prop_assert!(equal(x.cast(DType::F64), converted::<f64>(x)), "{x:?} as f64");
            prop_assert!(equal(x.cast(DType::BF16), converted::<bf16>(x)), "{x:?} as bf16");
            prop_assert!(equal(x.cast(DType::I8), converted::<i8>(x)), "{x:?} as i8");
            prop_assert!(equal(x.cast(DType::I64), converted::<i64>(x)), "{x:?} as i64");
            prop_assert!(equal(x.cast(DType::U32), converted::<u32>(x)), "{x:?} as u32");
            prop_assert!(equal(x.cast(DType::Bool), converted::<bool>(x)), "{x:?} as bool");
        }
    }
}

#[test]
fn conversion_refuses_what_an_integer_type_does_not_hold() {
    let refused = |x: AnyTensor, dtype| x.cast(dtype).unwrap_err().to_string();
    let floats = |x: f32| AnyTensor::from(Tensor::scalar(x));
    assert_eq!(
        refused(floats(300.0), DType::I8),
        "cast: 300 does not fit into i8; `clamp` it first, or replace it"
    );
    for x in [f32::NAN, -1e30, -129.0, 128.0, f32::INFINITY] {
        assert!(refused(floats(x), DType::I8).contains("does not fit into i8"));
    }
    let inside =
        AnyTensor::from(Tensor::from_vec(vec![-128.9f32, 127.9], [2]).unwrap()).cast(DType::I8).unwrap();
    assert_eq!(inside.downcast_ref::<i8>().unwrap().to_vec(), [-128, 127]);
    for x in [i64::MAX, i64::MIN, 1 << 31] {
        assert!(refused(AnyTensor::from(Tensor::scalar(x)), DType::I32).contains("does not fit into i32"));
    }
    // Many elements: the parts in which they are converted join without a seam.
    let long = Tensor::arange(0i64, 10_000, 1).unwrap();
    let there = AnyTensor::from(long.clone()).cast(DType::I16).unwrap().cast(DType::U32).unwrap();
    assert!(there.downcast_ref::<u32>().unwrap().iter().map(i64::from).eq(long.iter()));
}

#[test]
fn another_type_is_an_error_that_names_both() {
    let mut x = AnyTensor::from(Tensor::scalar(1i64));
    let want = Error::WrongDType { op: "downcast", expected: DType::F32, found: DType::I64 };
    assert_eq!(x.as_f32().unwrap_err(), want);
    assert_eq!(x.downcast_mut::<f32>().unwrap_err(), want);
    assert_eq!(Tensor::<f32>::try_from(x.clone()).unwrap_err(), want);
    x.downcast_mut::<i64>().unwrap().as_mut_slice().unwrap()[0] = 7;
    assert_eq!(Tensor::<i64>::try_from(x).unwrap().item().unwrap(), 7);
}

#[test]
fn unsharing_gives_the_memory_back() {
    let x = Tensor::<f32>::ones([1000]).unwrap();
    let address = x.as_slice().unwrap().as_ptr();
    let any = AnyTensor::from(x);
    let mut back = Tensor::<f32>::try_from(any).unwrap();
    assert_eq!(back.as_mut_slice().unwrap().as_ptr(), address, "no copy was needed");
}

#[test]
fn bytes_that_do_not_fit_are_refused() {
    let bad = |dtype, shape: &[usize], bytes: &[u8]| {
        let error = AnyTensor::from_le_bytes(dtype, shape, bytes).unwrap_err();
        assert!(matches!(error, Error::BadBytes { .. }), "{error}");
        error.to_string()
    };
    bad(DType::F32, &[2], &[0; 7]);
    bad(DType::F32, &[2], &[0; 9]);
    bad(DType::BF16, &[usize::MAX, 2], &[]);
    assert!(bad(DType::Bool, &[2], &[1, 2]).contains("truth value"));
    let text = r#"{"dtype":"f32","shape":[1],"bytes":[0,0,0]}"#;
    assert!(serde_json::from_str::<AnyTensor>(text).is_err());
    assert!(
        serde_json::from_str::<AnyTensor>(&text.replace("f32", "f31"))
            .unwrap_err()
            .to_string()
            .contains("f31")
    );
}

#[test]
fn bits_are_compared_not_values() {
    let of = |x: f32| AnyTensor::from(Tensor::scalar(x));
    assert!(of(f32::NAN).bits_eq(&of(f32::NAN)) && of(f32::NAN) != of(f32::NAN));
    assert!(!of(0.0).bits_eq(&of(-0.0)) && of(0.0) == of(-0.0));
    assert!(!of(0.0).bits_eq(&AnyTensor::from(Tensor::scalar(0u32))), "the same bytes of another type");
}

#[test]
fn names_of_types_are_rusts() {
    for &dtype in DType::ALL {
        assert_eq!(dtype.name().parse(), Ok(dtype));
        let zeros = AnyTensor::zeros(dtype, [3]).unwrap();
        assert_eq!((zeros.dtype(), zeros.byte_count()), (dtype, 3 * dtype.size_in_bytes()));
        assert!(zeros.to_le_bytes().unwrap().iter().all(|&byte| byte == 0));
    }
}
