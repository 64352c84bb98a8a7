//! The circumstances of a forward pass: training or not, what is random in it, and which steps of its sequences count.
//!
//! Passed explicitly, so that a model has no hidden mode that was left on or off, and one model can serve many threads.
//!
//! Randomness is counted, not consumed. A draw is a function of the seed, the training step, the micro-batch and the place
//! in the pass, that is, of how many layers have drawn before it in this pass. No generator is carried from step to step, so
//! a run that goes on from a checkpoint, or a step that another process computes, draws what it would have drawn anyway,
//! and how much one layer draws does not change what the next one gets.

use cairn_tensor::{Rng, Tensor, rng};

use crate::{AttentionMask, SequenceMask};

/// Whether a forward pass is part of training, what it draws from, and the valid steps of the sequences in it.
///
/// ```
/// use cairn_nn::{Context, Dropout};
/// use cairn_tensor::Tensor;
/// let (dropout, x) = (Dropout::new(0.5), Tensor::ones([4, 8])?.into());
/// let drop = |step| dropout.forward(&x, &mut Context::train(7).at_step(step));
/// assert_eq!(drop(3)?.value(), drop(3)?.value());
/// assert_ne!(drop(3)?.value(), drop(4)?.value());
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Context {
    training: bool,
    seed: u64,
    step: u64,
    micro_batch: u64,
    /// Draws so far in this pass.
    place: u64,
    mask: Option<SequenceMask>,
    /// Of the pairs within a sequence.
    attention_mask: Option<AttentionMask>,
    /// Of the pairs of its steps with another's.
    memory_mask: Option<AttentionMask>,
    recomputes: bool,
}

impl Context {
    fn new(training: bool, seed: u64) -> Self {
        Context {
            training,
            seed,
            step: 0,
            micro_batch: 0,
            place: 0,
            mask: None,
            attention_mask: None,
            memory_mask: None,
            recomputes: false,
        }
    }

    /// A pass in training, of step 0: dropout drops, by draws from this seed.
    #[doc(alias("manual_seed", "training"))]
    pub fn train(seed: u64) -> Self {
        Self::new(true, seed)
    }

    /// A pass at inference: nothing is random.
    pub fn eval() -> Self {
        Self::new(false, 0)
    }

    /// The same pass at another training step: every step draws anew.
    #[must_use]
    pub fn at_step(self, step: u64) -> Self {
        Context { step, place: 0, ..self }
    }

    /// The same pass for another part of a step's batch, where a step is computed in parts.
    #[must_use]
    pub fn micro_batch(self, micro_batch: u64) -> Self {
        Context { micro_batch, place: 0, ..self }
    }

    /// For sequences that have these numbers of steps, `[batch]`; what comes after is padding, which recurrent layers and
    /// [`GlobalAvgPool`](crate::GlobalAvgPool) pass over.
    ///
    /// ```
    /// use cairn_nn::{Context, Gru};
    /// use cairn_tensor::{Tensor, rng};
    /// let gru = Gru::new(3, 4, &mut rng(0))?.return_sequences(false);
    /// let x = Tensor::normal([1, 5, 3], 0.0, 1.0, &mut rng(1))?;
    /// let lengths = Tensor::from_vec(vec![2], [1])?;
    /// let last = gru.forward(&x.clone().into(), &mut Context::eval().with_lengths(&lengths))?;
    /// let alone = gru.forward(&x.narrow(1, 0, 2)?.into(), &mut Context::eval())?;
    /// assert_eq!(last.value(), alone.value());
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    #[must_use]
    pub fn with_lengths(self, lengths: &Tensor<u32>) -> Self {
        Context { mask: Some(SequenceMask::of_lengths(lengths)), ..self }
    }

    /// Every attention of a sequence to itself looks at no other pairs of steps than this mask says: in all layers of an encoder, and in the
    /// self-attention of a decoder.
    ///
    /// ```
    /// use cairn_nn::{AttentionMask, Context, TransformerEncoder, spec};
    /// use cairn_tensor::{Tensor, rng};
    /// let block = spec::TransformerEncoderLayer::new(2, 16);
    /// let encoder = TransformerEncoder::new(2, &block, 8, &mut rng(0))?;
    /// let x = Tensor::normal([1, 4, 8], 0.0, 1.0, &mut rng(1))?;
    /// // Where PyTorch's `src_mask` is true nothing is attended to: here all that comes later.
    /// let later = Tensor::<f32>::ones([4, 4])?.triu(1)?.gt(&Tensor::scalar(0.0))?;
    /// let mut cx = Context::eval().with_attention_mask(AttentionMask::hidden(&later)?);
    /// let masked = encoder.forward(&x.clone().into(), &mut cx)?;
    /// let first = encoder.forward(&x.narrow(1, 0, 1)?.into(), &mut Context::eval())?;
    /// assert_eq!(&masked.value().narrow(1, 0, 1)?, first.value());
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    #[must_use]
    #[doc(alias("attn_mask", "src_mask", "tgt_mask"))]
    pub fn with_attention_mask(self, mask: AttentionMask) -> Self {
        Context { attention_mask: Some(mask), ..self }
    }

    /// As [`with_attention_mask`](Self::with_attention_mask), for every attention to another sequence.
    #[must_use]
    pub fn with_memory_mask(self, mask: AttentionMask) -> Self {
        Context { memory_mask: Some(mask), ..self }
    }

    /// Stacks of blocks keep nothing but each block's input for the backward pass, which computes the blocks again (gradient
    /// checkpointing, Chen et al. 2016): a fraction of the memory, for a third more time.
    #[must_use]
    #[doc(alias("gradient_checkpointing", "remat"))]
    pub fn recomputing(self) -> Self {
        Context { recomputes: true, ..self }
    }

    /// Whether blocks are computed again in the backward pass.
    pub fn recomputes(&self) -> bool {
        self.recomputes
    }

    /// The context of a part that may be computed more than once: what it draws is its own, and the same each time.
    pub(crate) fn fork(&mut self) -> Self {
        let place = self.place;
        self.place += 1;
        Context { seed: mix(self.seed ^ mix(place)), place: 0, recomputes: false, ..self.clone() }
    }

    /// Whether this is training.
    pub fn is_training(&self) -> bool {
        self.training
    }

    /// A generator for the next place of the pass that is random.
    pub fn draw(&mut self) -> Rng {
        let place = self.place;
        self.place += 1;
        let words = [self.seed, self.step, self.micro_batch, place];
        rng(words.into_iter().fold(0, |hash, word| mix(hash ^ word)))
    }

    /// The valid steps of the sequences that the next layer gets, if they are not all.
    pub fn mask(&self) -> Option<&SequenceMask> {
        self.mask.as_ref()
    }

    /// Says which steps are valid from here on.
    pub fn set_mask(&mut self, mask: Option<SequenceMask>) {
        self.mask = mask;
    }

    /// The mask for attention of a sequence to itself, if there is one.
    pub fn attention_mask(&self) -> Option<&AttentionMask> {
        self.attention_mask.as_ref()
    }

    /// Says the mask for attention of a sequence to itself from here on.
    pub fn set_attention_mask(&mut self, mask: Option<AttentionMask>) {
        self.attention_mask = mask;
    }

    /// The mask for attention to another sequence, if there is one.
    pub fn memory_mask(&self) -> Option<&AttentionMask> {
        self.memory_mask.as_ref()
    }

    /// Says the mask for attention to another sequence from here on.
    pub fn set_memory_mask(&mut self, mask: Option<AttentionMask>) {
        self.memory_mask = mask;
    }
}

/// The step and finaliser of splitmix64 (Steele et al. 2014): every bit of the word has a part in every bit of the result.
fn mix(word: u64) -> u64 {
    let z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
