//! What settings say of rotary positions: the base of the angles, and how they are slowed for long texts.

use cairn_tensor::{Rotary, RotaryScaling};

use super::Config;
use crate::{Error, Result};

/// As transformers names them, before version 5 in two places and since in one.
pub(super) struct Rope {
    pub(super) base: f64,
    pub(super) scaling: RotaryScaling,
}

impl Rope {
    /// Those of layers of a kind, where settings are by kinds, and else of all layers.
    pub(super) fn read(config: &Config, kind: &str) -> Result<Self> {
        let whole = config.part("rope_parameters").or_else(|| config.part("rope_scaling"));
        let own = whole.as_ref().and_then(|rope| rope.part(kind)).or(whole);
        let base = config.number_or("rope_theta", 1e4)?;
        let Some(rope) = own else { return Ok(Rope { base, scaling: RotaryScaling::None }) };
        Ok(Rope { base: rope.number_or("rope_theta", base)?, scaling: scaling(&rope)? })
    }

    /// For heads of a size.
    pub(super) fn rotary(&self, head: usize) -> Rotary {
        Rotary::new(head).base(self.base).scaling(self.scaling)
    }
}

fn scaling(rope: &Config) -> Result<RotaryScaling> {
    let factor = rope.number_or("factor", 1.0)?;
    match rope.text("rope_type").or(rope.text("type")) {
        None | Some("default") => Ok(RotaryScaling::None),
        Some("linear") => Ok(RotaryScaling::Linear { factor }),
        Some("llama3") => Ok(RotaryScaling::Llama3 {
            factor,
            low: rope.number_or("low_freq_factor", 1.0)?,
            high: rope.number_or("high_freq_factor", 4.0)?,
            original: rope.number_or("original_max_position_embeddings", 8192.0)?,
        }),
        Some(other) => Err(Error::Unsupported { what: format!("rotary positions of type `{other}`") }),
    }
}
