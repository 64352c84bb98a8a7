//! Choosing the instruction set at run time, with one source per kernel.
//!
//! A kernel is a [`Kernel`] whose `run` is `#[inline(always)]` plain Rust. [`dispatch`] calls it from a function that the
//! compiler builds with AVX-512, AVX2+FMA or the target's own baseline (NEON on 64-bit Arm), so the same loop is
//! vectorised three times and the right one is taken on the machine at hand: the default build, with no flags, is the
//! fast one. Hand-written intrinsics would be three sources for each kernel, and gain little where a loop vectorises.
//!
//! The type parameter `S: Isa` tells a kernel what it is being compiled for: whether a fused multiply-add is one
//! instruction, and, for the few kernels built of register tiles, what a register is (see [`simd`](super::simd)).

use std::sync::OnceLock;

use crate::cpu::simd::{BaselineF32, BaselineF64, Vector};

pub(crate) mod sealed {
    /// Keeps a trait to the types of this crate: that a register's type can be named says that the processor has it.
    pub trait Sealed {}
}

/// The instruction set that a kernel is compiled for. [`dispatch`] chooses among this crate's own.
pub trait Isa: Copy + Send + Sync + sealed::Sealed + 'static {
    /// Whether `mul_add` is a single instruction.
    const FMA: bool;
    /// Vector registers, which bounds the tiles that kernels keep in them.
    const REGISTERS: usize;
    /// A register of `f32`.
    type F32: Vector<f32>;
    /// A register of `f64`.
    type F64: Vector<f64>;
}

/// The target's baseline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Baseline;
impl sealed::Sealed for Baseline {}
impl Isa for Baseline {
    const FMA: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));
    const REGISTERS: usize = if cfg!(target_arch = "aarch64") { 32 } else { 16 };
    type F32 = BaselineF32;
    type F64 = BaselineF64;
}

/// A loop that is compiled once for every instruction set: a struct of its operands with the loop as `run`.
///
/// Implementations of `run` must be `#[inline(always)]`, and so must what they call, or it is compiled for the baseline
/// alone.
pub trait Kernel {
    /// What the loop returns.
    type Output;
    /// The loop, for one instruction set.
    fn run<S: Isa>(self) -> Self::Output;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Baseline,
}

fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(detect)
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512cd");
    match std::env::var("CAIRN_ISA").as_deref() {
        Ok("baseline") => Level::Baseline,
        Ok("avx2") if avx2 => Level::Avx2,
        _ if avx512 && avx2 => Level::Avx512,
        _ if avx2 => Level::Avx2,
        _ => Level::Baseline,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Level {
    Level::Baseline
}

/// The instruction set that kernels use on this machine: `"avx512"`, `"avx2"` or `"baseline"`.
///
/// The environment variable `CAIRN_ISA` (`avx512`, `avx2`, `baseline`), read once, chooses a lower one, for comparisons and for
/// hunting down differences between machines. Matrix products and `linalg` are computed by other crates, which choose
/// for themselves.
pub fn instruction_set() -> &'static str {
    match level() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => "avx512",
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => "avx2",
        Level::Baseline => "baseline",
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::sealed::Sealed;
    use super::{Isa, Kernel};
    use crate::cpu::simd::x86::{F32x8, F32x16, F64x4, F64x8};

    #[derive(Debug, Clone, Copy)]
    pub(super) struct Avx512;
    impl Sealed for Avx512 {}
    impl Isa for Avx512 {
        const FMA: bool = true;
        const REGISTERS: usize = 32;
        type F32 = F32x16;
        type F64 = F64x8;
    }

    #[derive(Debug, Clone, Copy)]
    pub(super) struct Avx2;
    impl Sealed for Avx2 {}
    impl Isa for Avx2 {
        const FMA: bool = true;
        const REGISTERS: usize = 16;
        type F32 = F32x8;
        type F64 = F64x4;
    }

    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx512>()
    }

    #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx2>()
    }
}

/// Runs a kernel with the best instructions the machine has, or those that `CAIRN_ISA` names (see [`instruction_set`]).
#[inline]
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    match level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `detect` found every feature the function is compiled for (bmi, lzcnt and popcnt come with AVX2 in
        // every processor that has it).
        Level::Avx512 => unsafe { x86::avx512(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { x86::avx2(kernel) },
        Level::Baseline => kernel.run::<Baseline>(),
    }
}
