//! Which instructions a product is computed with, chosen at run time.
//!
//! `CAIRN_ISA` reaches these too: `baseline` leaves NEON on 64-bit Arm and plain loops elsewhere, `avx2` leaves AVX2 without
//! VNNI, and `avx512` everything but AMX.

use std::sync::OnceLock;

use crate::BlockFormat;
#[cfg(target_arch = "x86_64")]
use crate::cpu::instruction_set;

use super::activations::{Form, Rows};
use super::lanes::Portable;
use super::panels::ROWS;
#[cfg(target_arch = "x86_64")]
use super::product::Format;
use super::product::{form, run, with_format};

/// Instructions that products of quantised weights are computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    #[cfg(target_arch = "x86_64")]
    Amx,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Engine {
    /// Those that the machine has, the best first.
    pub(crate) fn all() -> Vec<Engine> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            let avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            if avx2 && avx512 && is_x86_feature_detected!("avx512vnni") {
                if super::amx::available() {
                    all.push(Engine::Amx);
                }
                all.push(Engine::Avx512Vnni);
            }
            if avx2 && is_x86_feature_detected!("avxvnni") {
                all.push(Engine::AvxVnni);
            }
            if avx2 {
                all.push(Engine::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        all.push(Engine::Neon);
        all.push(Engine::Portable);
        all
    }

    /// The best that the machine has, or that `CAIRN_ISA` leaves.
    pub(crate) fn best() -> Engine {
        static BEST: OnceLock<Engine> = OnceLock::new();
        *BEST.get_or_init(|| {
            let allowed = |engine: &Engine| match *engine {
                #[cfg(target_arch = "x86_64")]
                Engine::Amx => {
                    instruction_set() == "avx512" && std::env::var("CAIRN_ISA").as_deref() != Ok("avx512")
                }
                #[cfg(target_arch = "x86_64")]
                Engine::Avx512Vnni => instruction_set() == "avx512",
                #[cfg(target_arch = "x86_64")]
                Engine::AvxVnni => {
                    std::env::var("CAIRN_ISA").as_deref() != Ok("avx2") && instruction_set() != "baseline"
                }
                #[cfg(target_arch = "x86_64")]
                Engine::Avx2 => instruction_set() != "baseline",
                _ => true,
            };
            Engine::all().into_iter().find(allowed).unwrap_or(Engine::Portable)
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Engine::Amx => "amx-int8",
            #[cfg(target_arch = "x86_64")]
            Engine::Avx512Vnni => "avx512-vnni",
            #[cfg(target_arch = "x86_64")]
            Engine::AvxVnni => "avx-vnni",
            #[cfg(target_arch = "x86_64")]
            Engine::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Engine::Neon => "neon",
            Engine::Portable => "portable",
        }
    }

    /// What [`Activations`](super::activations::Activations) for products with a format are made for.
    pub(super) fn form(self, format: BlockFormat) -> Form {
        with_format!(format, F => match self {
            #[cfg(target_arch = "x86_64")]
            Engine::Amx | Engine::Avx512Vnni => form::<super::x86::Avx512, F>(),
            #[cfg(target_arch = "x86_64")]
            Engine::AvxVnni => form::<super::x86::Avx2<true>, F>(),
            #[cfg(target_arch = "x86_64")]
            Engine::Avx2 => form::<super::x86::Avx2<false>, F>(),
            #[cfg(target_arch = "aarch64")]
            Engine::Neon => form::<super::neon::Neon, F>(),
            Engine::Portable => form::<Portable, F>(),
        })
    }

    /// Panels times all rows; see [`run`].
    pub(super) fn run(self, format: BlockFormat, panels: &[u8], x: Rows<'_>, out: &mut [[f32; ROWS]]) {
        with_format!(format, F => match self {
            // SAFETY: an engine is one of `all`, which has seen the features.
            #[cfg(target_arch = "x86_64")]
            Engine::Amx if x.count >= ROWS && !F::HALVES => unsafe { x86::amx::<F>(panels, x, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Engine::Amx | Engine::Avx512Vnni => unsafe { x86::avx512_vnni::<F>(panels, x, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Engine::AvxVnni => unsafe { x86::avx_vnni::<F>(panels, x, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Engine::Avx2 => unsafe { x86::avx2::<F>(panels, x, out) },
            #[cfg(target_arch = "aarch64")]
            Engine::Neon => run::<super::neon::Neon, F>(panels, x, out),
            Engine::Portable => run::<Portable, F>(panels, x, out),
        });
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::x86::{Avx2, Avx512};
    use super::{Format, ROWS, Rows, run};

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn avx512_vnni<F: Format>(panels: &[u8], x: Rows<'_>, out: &mut [[f32; ROWS]]) {
        run::<Avx512, F>(panels, x, out);
    }

    /// # Safety
    /// The matrix unit is available.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) unsafe fn amx<F: Format>(panels: &[u8], x: Rows<'_>, out: &mut [[f32; ROWS]]) {
        // SAFETY: as the caller promises; this function is compiled for the features.
        unsafe { super::super::amx::run::<F>(panels, x, out) }
    }

    #[target_feature(enable = "avxvnni,avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn avx_vnni<F: Format>(panels: &[u8], x: Rows<'_>, out: &mut [[f32; ROWS]]) {
        run::<Avx2<true>, F>(panels, x, out);
    }

    #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn avx2<F: Format>(panels: &[u8], x: Rows<'_>, out: &mut [[f32; ROWS]]) {
        run::<Avx2<false>, F>(panels, x, out);
    }
}
