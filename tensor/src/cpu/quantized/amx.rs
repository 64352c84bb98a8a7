//! Tiles of 16 rows on AMX, Intel's matrix unit: a block's 16 × 16 integer sums are one instruction.
//!
//! Whole numbers leave the unit by way of memory and are scaled as everywhere, so the bits are those of the other instruction sets;
//! what the vector units are spared is two thirds of their work. Weights are taken apart once a panel, into memory, signed.
//! Tiles of fewer rows, and formats with two scales in a block, are left to AVX-512.
//!
//! An instruction takes 64 products for each sum: those of the coarse bytes with the weights times their step, which are bytes still, and
//! those of the fine bytes with the weights. Of weights of eight bits the two are summed apart.
//!
//! Rust has no intrinsics for it on stable compilers, so the instructions stand in assembly. A process must ask the system before
//! it uses the unit's registers ([`available`]), which are set up and given back around each call.

use std::arch::asm;
use std::arch::x86_64::{__m512, __m512i};

use super::activations::{Block, FINE, Rows, SCALE, SUM, WORDS, tiles};
use super::lanes::Lanes;
use super::panels::{QUAD, ROWS};
use super::product::{Format, part, tile};
use super::x86::Avx512;

/// Whether the processor has the unit, and the system lets this process use it.
pub(super) fn available() -> bool {
    #[cfg(target_os = "linux")]
    {
        use std::arch::x86_64::{__cpuid, __cpuid_count};
        use std::sync::OnceLock;
        static AVAILABLE: OnceLock<bool> = OnceLock::new();
        *AVAILABLE.get_or_init(|| {
            if __cpuid(0).eax < 7 {
                return false;
            }
            // AMX-TILE and AMX-INT8.
            let wanted = 1 << 24 | 1 << 25;
            __cpuid_count(7, 0).edx & wanted == wanted && permitted()
        })
    }
    #[cfg(not(target_os = "linux"))]
    false
}

/// Asks Linux for the right to use the tiles: `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`, for all threads.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    let (call, request, feature) = (158usize, 0x1023usize, 18usize);
    let result: isize;
    // SAFETY: the call reads no memory of ours; the system changes what it says it does (rcx and r11).
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") call as isize => result,
            in("rdi") request,
            in("rsi") feature,
            out("rcx") _,
            out("r11") _,
            options(nostack)
        );
    }
    result == 0
}

/// The shapes of the registers: `ldtilecfg`'s 64 bytes.
#[repr(C, align(64))]
struct Shapes([u8; 64]);

/// Sums in registers 0 and 1 (16 rows of 16), activations in 2 and 3 (16 rows of 64 bytes, coarse and fine), weights in 4 and 5 (16 quads);
/// of weights of eight bits, activations in 6 (16 rows of 32 bytes, coarse or fine), weights in 7 (8 quads).
static SHAPES: Shapes = {
    let mut shapes = [0; 64];
    shapes[0] = 1;
    let registers: [(usize, u8, u8); 8] = [
        (0, 64, 16),
        (1, 64, 16),
        (2, 64, 16),
        (3, 64, 16),
        (4, 64, 16),
        (5, 64, 16),
        (6, 32, 16),
        (7, 64, 8),
    ];
    let mut i = 0;
    while i < registers.len() {
        let (register, bytes, rows) = registers[i];
        shapes[16 + 2 * register] = bytes;
        shapes[48 + register] = rows;
        i += 1;
    }
    Shapes(shapes)
};

/// A block of 16 rows of weights, taken apart.
#[derive(Clone)]
#[repr(C, align(64))]
struct Weights {
    /// Times the step of the coarse bytes, and as they are; of weights of eight bits as they are, and nothing.
    quads: [[u8; QUAD]; 16],
    scale: [f32; ROWS],
    minimum: [f32; ROWS],
}

/// The sums of a block.
#[repr(C, align(64))]
struct Sums([[i32; ROWS]; ROWS]);

/// See [`run`](super::product::run); for formats with one scale in a block of 32.
///
/// # Safety
/// The unit is [`available`], and the caller compiled for what [`Avx512`] needs.
#[inline(always)]
pub(super) unsafe fn run<F: Format>(panels: &[u8], x: Rows<'_>, out: &mut [[f32; ROWS]]) {
    let all = x.blocks;
    let blocks = all.len() / x.count.max(1);
    let size = blocks / F::PARTS * F::UNIT;
    let empty = Weights { quads: [[0; QUAD]; 16], scale: [0.0; ROWS], minimum: [0.0; ROWS] };
    let mut weights = if x.count >= ROWS { vec![empty; blocks] } else { Vec::new() };
    if x.count >= ROWS {
        // SAFETY: the unit is there, and the shapes are 64 bytes of a kind that it knows.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack, readonly)) };
    }
    for (panel, out) in panels.chunks_exact(size).zip(out.chunks_exact_mut(x.count)) {
        for (b, weights) in weights.iter_mut().enumerate() {
            take_apart::<F>(&panel[b / F::PARTS * F::UNIT..][..F::UNIT], b % F::PARTS, weights);
        }
        for (first, rows) in tiles(x.count) {
            let x = &all[first * blocks..][..rows * blocks];
            let out = &mut out[first..][..rows];
            match rows {
                // SAFETY: the unit is there, and set up.
                16 => unsafe { sixteen::<F>(&weights, x, out) },
                4 => tile::<Avx512, F, 4>(panel, x, out),
                _ => tile::<Avx512, F, 1>(panel, x, out),
            }
        }
    }
    if x.count >= ROWS {
        // SAFETY: gives the registers back, which nothing here holds anything in.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// The quants of a part as signed bytes, and its scales.
#[inline(always)]
fn take_apart<F: Format>(unit: &[u8], p: usize, weights: &mut Weights) {
    let part = part::<Avx512, F>(unit, p);
    // Those of `Q8_0` come with 128 added, for the other instructions.
    let offset = if F::SIGNED { 128 } else { F::SMALL.map_or(0, |small| small.offset) };
    for (out, quad) in weights.quads.iter_mut().zip(part.quads) {
        Avx512::store_less(quad, offset as u8, if F::SIGNED { 0 } else { F::SHIFT }, out);
    }
    if !F::SIGNED {
        for (out, quad) in weights.quads[8..].iter_mut().zip(part.quads) {
            Avx512::store_less(quad, offset as u8, 0, out);
        }
    }
    Avx512::store(part.scale, &mut weights.scale);
    Avx512::store(part.second, &mut weights.minimum);
}

/// A panel times 16 rows.
///
/// # Safety
/// As [`run`], and the unit is set up.
#[inline(always)]
unsafe fn sixteen<F: Format>(weights: &[Weights], x: &[Block], out: &mut [[f32; ROWS]]) {
    let mut results = [Avx512::splat(0.0); ROWS];
    let mut sums = [const { [Sums([[0; ROWS]; ROWS]), Sums([[0; ROWS]; ROWS])] }; 2];
    let size = if F::SIGNED { 1 } else { 2 };
    let pairs = || weights.chunks(size).zip(x.as_chunks::<ROWS>().0.chunks(size));
    // The unit works on one pair of blocks while the pair before is scaled; of weights of eight bits, on one block.
    let mut ahead = pairs().enumerate();
    for (i, pair) in pairs().enumerate() {
        for (next, (weights, x)) in ahead.by_ref().take(if i == 0 { 2 } else { 1 }) {
            // SAFETY: as the caller promises.
            unsafe {
                if F::SIGNED {
                    multiply_apart(&weights[0], &x[0], &mut sums[next % 2]);
                } else {
                    multiply(weights, x, &mut sums[next % 2]);
                }
            }
        }
        let [first, second] = &sums[i % 2];
        if F::SIGNED {
            let sum = |row: usize| {
                let (coarse, fine) = (Avx512::load_sums(&first.0[row]), Avx512::load_sums(&second.0[row]));
                Avx512::twofold(coarse, fine, F::SHIFT)
            };
            scale::<F>(&pair.0[0], &pair.1[0], sum, &mut results);
        } else {
            for ((weights, x), sums) in pair.0.iter().zip(pair.1).zip([first, second]) {
                scale::<F>(weights, x, |row| Avx512::load_sums(&sums.0[row]), &mut results);
            }
        }
    }
    for (out, result) in out.iter_mut().zip(results) {
        Avx512::store(result, out);
    }
}

/// The sums of one or two blocks; those of a single one are computed twice.
///
/// # Safety
/// The unit is there, and set up.
#[inline(always)]
unsafe fn multiply(weights: &[Weights], x: &[[Block; ROWS]], sums: &mut [Sums; 2]) {
    // SAFETY: the registers have the shapes said above. Activations are 16 rows of 64 bytes, a block apart; quads are 16 rows of 64
    // bytes; sums are 16 rows of 64 bytes.
    unsafe {
        asm!(
            "tileloadd tmm2, [{x0} + {block}*1]",
            "tileloadd tmm4, [{w0} + {line}*1]",
            "tilezero tmm0",
            "tdpbssd tmm0, tmm2, tmm4",
            "tileloadd tmm3, [{x1} + {block}*1]",
            "tileloadd tmm5, [{w1} + {line}*1]",
            "tilezero tmm1",
            "tdpbssd tmm1, tmm3, tmm5",
            "tilestored [{s0} + {line}*1], tmm0",
            "tilestored [{s1} + {line}*1], tmm1",
            x0 = in(reg) x[0].as_ptr(),
            x1 = in(reg) x[x.len() - 1].as_ptr(),
            w0 = in(reg) weights[0].quads.as_ptr(),
            w1 = in(reg) weights[weights.len() - 1].quads.as_ptr(),
            s0 = in(reg) &raw mut sums[0],
            s1 = in(reg) &raw mut sums[1],
            block = in(reg) 4 * WORDS,
            line = in(reg) QUAD,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _,
            options(nostack)
        );
    }
}

/// The sums of a block's coarse bytes, and of its fine ones.
///
/// # Safety
/// The unit is there, and set up.
#[inline(always)]
unsafe fn multiply_apart(weights: &Weights, x: &[Block; ROWS], sums: &mut [Sums; 2]) {
    // SAFETY: the registers have the shapes said above. Activations are twice 16 rows of 32 bytes, a block apart; quads are 8 rows of 64
    // bytes; sums are 16 rows of 64 bytes.
    unsafe {
        asm!(
            "tileloadd tmm7, [{w} + {line}*1]",
            "tileloadd tmm6, [{x0} + {block}*1]",
            "tilezero tmm0",
            "tdpbssd tmm0, tmm6, tmm7",
            "tileloadd tmm6, [{x1} + {block}*1]",
            "tilezero tmm1",
            "tdpbssd tmm1, tmm6, tmm7",
            "tilestored [{s0} + {line}*1], tmm0",
            "tilestored [{s1} + {line}*1], tmm1",
            x0 = in(reg) x.as_ptr(),
            x1 = in(reg) x.as_ptr().cast::<u32>().add(FINE),
            w = in(reg) weights.quads.as_ptr(),
            s0 = in(reg) &raw mut sums[0],
            s1 = in(reg) &raw mut sums[1],
            block = in(reg) 4 * WORDS,
            line = in(reg) QUAD,
            out("tmm0") _, out("tmm1") _, out("tmm6") _, out("tmm7") _,
            options(nostack)
        );
    }
}

/// Adds the sums of a block, scaled, to the results: as `add` of [`product`](super::product) does.
#[inline(always)]
fn scale<F: Format>(
    weights: &Weights,
    x: &[Block; ROWS],
    sums: impl Fn(usize) -> __m512i,
    results: &mut [__m512; ROWS],
) {
    let (scale, minimum) = (Avx512::load_floats(&weights.scale), Avx512::load_floats(&weights.minimum));
    for row in 0..ROWS {
        let d = Avx512::splat(f32::from_bits(x[row][SCALE]));
        let sum = Avx512::floats(sums(row));
        let result = Avx512::mul_add(sum, Avx512::mul(scale, d), results[row]);
        let total = Avx512::splat(f32::from_bits(x[row][SUM]));
        results[row] = if F::MINIMA { Avx512::mul_add(minimum, total, result) } else { result };
    }
}
