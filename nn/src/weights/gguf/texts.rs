//! A list of texts as a file has it: tens of thousands of tokens, read in place.

use std::fmt;

use cairn_tensor::SharedBytes;

/// Before each text stands its length.
const LENGTH: usize = size_of::<u64>();

/// Texts in order, of a file or of memory.
///
/// ```
/// use cairn_nn::weights::gguf::Texts;
/// let texts: Texts = ["<s>", "▁a"].into_iter().collect();
/// assert_eq!((texts.len(), texts.get(1)), (2, Some("▁a")));
/// assert!(texts.iter().eq(["<s>", "▁a"]));
/// ```
#[derive(Clone)]
pub struct Texts {
    /// Each with its length before it.
    bytes: SharedBytes,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Texts {
    /// Of bytes that a reader has gone through: lengths and ends agree, and texts are UTF-8.
    pub(super) fn checked(bytes: SharedBytes, ends: Vec<usize>) -> Self {
        Texts { bytes, ends }
    }

    /// The number of texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A text by its place.
    pub fn get(&self, at: usize) -> Option<&str> {
        let end = *self.ends.get(at)?;
        let start = if at == 0 { 0 } else { self.ends[at - 1] } + LENGTH;
        // Whoever changes a file while it is read gets no text from it.
        Some(self.bytes.get(start..end).and_then(|text| str::from_utf8(text).ok()).unwrap_or_default())
    }

    /// The texts in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        (0..self.len()).map(|at| self.get(at).unwrap_or_default())
    }
}

impl<S: AsRef<str>> FromIterator<S> for Texts {
    fn from_iter<I: IntoIterator<Item = S>>(texts: I) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for text in texts {
            let text = text.as_ref();
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
            ends.push(bytes.len());
        }
        Texts { bytes: bytes.into(), ends }
    }
}

impl PartialEq for Texts {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
