//! Quantised weights: blocks as ggml's reference makes them, and what holds of operations on them.
//!
//! `golden/quantized.json` is written by the script beside it. That every instruction set gives the bits of a naive product is
//! a test of the kernels themselves (`src/cpu/quantized/tests.rs`).

use std::collections::BTreeMap;

use cairn_tensor::{AnyTensor, BlockFormat, DType, Error, QuantizedTensor, Tensor, bf16, rng};
use proptest::prelude::*;

#[derive(serde::Deserialize)]
struct Golden {
    blocks: String,
    floats: String,
}

fn golden() -> BTreeMap<String, Golden> {
    serde_json::from_str(include_str!("../golden/quantized.json")).unwrap()
}

fn from_hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

/// The weights that the golden blocks were made of.
fn weights() -> Tensor {
    let mut x: Vec<f32> = (0..8 * 256u32)
        .map(|i| ((i + 1).wrapping_mul(2_654_435_761) >> 8) as f32 / 8_388_608.0 - 1.0)
        .collect();
    let rows = x.as_chunks_mut::<256>().0;
    rows[1] = rows[1].map(|x| x * x * x);
    rows[2] = [0.0; 256];
    rows[3] = [0.25; 256];
    rows[4] = rows[4].map(|x| x * 0.25 + 0.5);
    rows[5] = rows[5].map(|x| x * 0.000_976_562_5);
    rows[6][..128].fill(0.0);
    rows[7] = rows[7].map(|x| -x.abs());
    Tensor::from_vec(x, [8, 256]).unwrap()
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> String {
    let sum = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{sum:016x}")
}

#[test]
fn blocks_are_those_of_the_reference() {
    let golden = golden();
    for format in BlockFormat::ALL {
        let q = QuantizedTensor::quantize(&weights(), format).unwrap();
        let expected = from_hex(&golden[format.name()].blocks);
        let got = q.to_bytes();
        for (i, (got, expected)) in
            got.chunks(format.bytes()).zip(expected.chunks(format.bytes())).enumerate()
        {
            assert_eq!(got, expected, "{format}, block {i}");
        }
    }
}

#[test]
fn floats_are_those_of_the_reference() {
    for (name, golden) in golden() {
        let format = BlockFormat::ALL.into_iter().find(|format| format.name() == name).unwrap();
        let q = QuantizedTensor::from_bytes(format, [8, 256], from_hex(&golden.blocks).into()).unwrap();
        for q in [q.packed().unwrap(), q] {
            let floats = AnyTensor::from(q.dequantize().unwrap());
            assert_eq!(checksum(&floats.to_le_bytes().unwrap()), golden.floats, "{name}");
        }
    }
}

fn formats() -> impl Strategy<Value = BlockFormat> {
    prop::sample::select(BlockFormat::ALL.to_vec())
}

fn drawn(format: BlockFormat, rows: usize, blocks: usize, seed: u64) -> QuantizedTensor {
    let w = Tensor::normal([rows, blocks * format.weights()], 0.0, 1.0, &mut rng(seed)).unwrap();
    QuantizedTensor::quantize(&w, format).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn packed_weights_are_the_same_weights(format in formats(), rows in 0usize..40, blocks in 1usize..3, seed: u64) {
        let q = drawn(format, rows, blocks, seed);
        let packed = q.packed().unwrap();
        prop_assert!(packed.is_packed() && packed == q);
        prop_assert_eq!(packed.dequantize().unwrap(), q.dequantize().unwrap());
        prop_assert_eq!(packed.t().unwrap().dequantize().unwrap(), q.dequantize().unwrap().t().unwrap());
        let ids: Vec<u32> = (0..rows as u32).rev().collect();
        let some = q.dequantize().unwrap().index_select(0, &ids).unwrap();
        prop_assert_eq!(&packed.rows(&ids).unwrap(), &some);
        prop_assert_eq!(&q.rows(&ids).unwrap(), &some);
    }

    #[test]
    fn a_row_of_a_product_does_not_depend_on_the_others(
        format in formats(), rows in 1usize..40, batch in 1usize..40, seed: u64,
    ) {
        let q = drawn(format, rows, 1, seed);
        let (plain, packed) = (q.t().unwrap(), q.packed().unwrap().t().unwrap());
        let x: Tensor = Tensor::normal([batch, format.weights()], 0.0, 1.0, &mut rng(!seed)).unwrap();
        let bias = Tensor::normal([rows], 0.0, 1.0, &mut rng(seed / 2)).unwrap();
        let all = x.linear_quantized(&packed, Some(&bias), true).unwrap();
        prop_assert_eq!(&x.linear_quantized(&plain, Some(&bias), true).unwrap(), &all);
        for i in [0, batch / 2, batch - 1] {
            let one = x.narrow(0, i, 1).unwrap().linear_quantized(&packed, Some(&bias), true).unwrap();
            prop_assert_eq!(one, all.narrow(0, i, 1).unwrap());
        }
    }

    #[test]
    fn products_are_near_those_of_the_weights(format in formats(), rows in 1usize..20, seed: u64) {
        let q = drawn(format, rows, 1, seed).t().unwrap();
        let x: Tensor = Tensor::normal([3, 2, format.weights()], 0.0, 1.0, &mut rng(!seed)).unwrap();
        let (y, exact) = (x.linear_quantized(&q, None, false).unwrap(), x.matmul(&q.dequantize().unwrap()).unwrap());
        prop_assert_eq!(y.shape(), exact.shape());
        // Rounded to 127 steps, an activation is off by a 254th of its block's largest at most.
        let error = y.sub(&exact).unwrap().norm(..).unwrap().item().unwrap();
        let size = x.norm(..).unwrap().item().unwrap() * q.dequantize().unwrap().norm(..).unwrap().item().unwrap();
        prop_assert!(error < 0.02 * size, "{} of {}", error, size);
        // In double precision nothing is rounded.
        let wide = x.cast::<f64>().unwrap().linear_quantized(&q, None, false).unwrap();
        let exact = x.cast::<f64>().unwrap().matmul(&q.dequantize().unwrap().cast::<f64>().unwrap()).unwrap();
        let largest = wide.sub(&exact).unwrap().abs().unwrap().max(..).unwrap().item().unwrap();
        prop_assert!(largest < 1e-9);
    }

    #[test]
    fn quantised_tensors_come_back_bit_for_bit(format in formats(), rows in 1usize..20, seed: u64) {
        let q = drawn(format, rows, 2, seed);
        for q in [q.t().unwrap(), q.packed().unwrap(), q] {
            let x = AnyTensor::from(q.clone());
            prop_assert_eq!(x.byte_count(), q.byte_count());
            let text = serde_json::to_string(&x).unwrap();
            let back: AnyTensor = serde_json::from_str(&text).unwrap();
            prop_assert!(back.bits_eq(&x), "{x} as {back}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn weights_of_sixteen_bits_are_multiplied_as_floats(
        rows in 0usize..11, inputs in 1usize..70, outputs in 1usize..11, brain: bool, seed: u64,
    ) {
        let dtype = if brain { DType::BF16 } else { DType::F16 };
        let w = AnyTensor::from(Tensor::<f32>::normal([outputs, inputs], 0.0, 1.0, &mut rng(seed)).unwrap());
        let w = w.cast(dtype).unwrap();
        let x = Tensor::<f32>::normal([rows, inputs], 0.0, 1.0, &mut rng(!seed)).unwrap();
        let bias = Tensor::<f32>::normal([outputs], 0.0, 1.0, &mut rng(seed / 2)).unwrap();
        let y = x.linear_stored(&w.t().unwrap(), Some(&bias), true).unwrap();
        let wide = w.cast(DType::F32).unwrap().as_f32().unwrap().t().unwrap();
        let exact = x.linear(&wide, Some(&bias), true).unwrap();
        prop_assert!(y.iter().zip(exact.iter()).all(|(y, exact)| (y - exact).abs() < 1e-4), "{} {}", y, exact);
        for i in 0..rows {
            let one = x.narrow(0, i, 1).unwrap().linear_stored(&w.t().unwrap(), Some(&bias), true).unwrap();
            prop_assert_eq!(one, y.narrow(0, i, 1).unwrap());
        }
        // Laid out the other way around, they are converted before.
        let turned = w.t().unwrap().contiguous().unwrap();
        let other = x.linear_stored(&turned, Some(&bias), true).unwrap();
        prop_assert!(other.iter().zip(exact.iter()).all(|(y, exact)| (y - exact).abs() < 1e-4));
    }
}

#[test]
fn what_is_not_finite_shows() {
    let q = drawn(BlockFormat::Q4_1, 3, 2, 1).t().unwrap();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = vec![1.0f32; 2 * 64];
        x[70] = bad;
        let y = Tensor::from_vec(x, [2, 64]).unwrap().linear_quantized(&q, None, false).unwrap();
        assert!(y.narrow(0, 0, 1).unwrap().all_finite().unwrap());
        assert!(y.narrow(0, 1, 1).unwrap().iter().all(|y| !y.is_finite()), "{bad}: {y}");
    }
    // Numbers too small to be divided by are 0.
    let tiny = Tensor::full([1, 64], 1e-42f32).unwrap().linear_quantized(&q, None, false).unwrap();
    assert!(tiny.iter().all(|y| y == 0.0));
}

#[test]
fn other_types_become_quantised_and_back() {
    let x = AnyTensor::from(weights());
    for format in BlockFormat::ALL {
        let q = x.cast(format.into()).unwrap();
        assert_eq!(
            (q.dtype(), q.shape(), q.byte_count()),
            (DType::Quantized(format), x.shape(), 2048 / format.weights() * format.bytes())
        );
        let direct = QuantizedTensor::quantize(&weights(), format).unwrap();
        assert_eq!(q.as_quantized(), Some(&direct));
        let half = q.cast(DType::BF16).unwrap();
        assert_eq!(half.downcast_ref::<bf16>().unwrap(), &direct.dequantize().unwrap().cast().unwrap());
        assert_eq!(format.name().parse(), Ok(DType::Quantized(format)));
        let zeros = AnyTensor::zeros(format.into(), [2, 256]).unwrap();
        assert!(zeros.cast(DType::F32).unwrap().as_f32().unwrap().iter().all(|x| x == 0.0));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let q = drawn(BlockFormat::Q8_0, 4, 1, 1);
    let bad = |result: Result<QuantizedTensor, Error>| matches!(result, Err(Error::BadShape { .. }));
    assert!(bad(QuantizedTensor::quantize(&Tensor::ones([2, 33]).unwrap(), BlockFormat::Q8_0)));
    assert!(bad(QuantizedTensor::quantize(&Tensor::ones([2, 32]).unwrap(), BlockFormat::Q6K)));
    assert!(bad(QuantizedTensor::zeros(BlockFormat::Q8_0, [])));
    assert!(bad(QuantizedTensor::zeros(BlockFormat::Q8_0, [3, 0])));
    let short = QuantizedTensor::from_bytes(BlockFormat::Q8_0, [1, 64], vec![0; 67].into());
    assert!(matches!(short, Err(Error::BadBytes { .. })));
    let huge = QuantizedTensor::from_bytes(BlockFormat::Q8_0, [usize::MAX / 2, 64], vec![0; 34].into());
    assert!(matches!(huge, Err(Error::BadBytes { .. })));
    assert!(matches!(q.rows(&[4]), Err(Error::IndexOutOfRange { index: 4, .. })));
    assert!(matches!(q.t().unwrap().rows(&[0]), Err(Error::BadShape { .. })));
    let x = Tensor::<f32>::ones([2, 32]).unwrap();
    assert!(matches!(x.linear_quantized(&q, None, false), Err(Error::ShapeMismatch { .. })));
    let bias = Tensor::<f32>::ones([3]).unwrap();
    assert!(matches!(
        x.linear_quantized(&q.t().unwrap(), Some(&bias), false),
        Err(Error::ShapeMismatch { .. })
    ));
    assert!(AnyTensor::from(q).as_f32().unwrap_err().to_string().contains("q8_0"));
}
