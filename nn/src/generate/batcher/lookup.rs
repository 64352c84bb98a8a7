//! Speculative decoding by prompt lookup (Saxena 2023; verification as in Leviathan et al. 2023): what followed the last time that the
//! text ended like this is guessed to follow again, and read together with the token it follows. The model's own draws say how much of
//! it was right. A model reads several tokens for little more than one, so that texts which repeat (code, summaries, answers from a
//! document) are written faster, and none is written otherwise.

/// Tokens that have to be the same before, at most and at least.
const LONGEST: usize = 4;
const SHORTEST: usize = 2;
/// Guesses a text begins with.
const FIRST: usize = 3;
/// Tokens that a text goes on without guesses, after they were wrong again and again.
const REST: usize = 12;

/// How many tokens a text guesses: more where guesses are right, none for a while where they are not.
#[derive(Debug, Clone)]
pub(super) struct Guesses {
    width: usize,
    rest: usize,
}

impl Guesses {
    pub(super) fn new() -> Self {
        Guesses { width: FIRST, rest: 0 }
    }

    /// At most `most` tokens that may follow a text.
    pub(super) fn after<'t>(&mut self, text: &'t [u32], most: usize) -> &'t [u32] {
        if self.rest > 0 {
            self.rest -= 1;
            return &[];
        }
        let found = (SHORTEST..=LONGEST).rev().find_map(|length| followed(text, length));
        let found = found.unwrap_or(&[]);
        &found[..found.len().min(self.width).min(most)]
    }

    /// So many of the guesses were right.
    pub(super) fn judged(&mut self, right: usize, of: usize) {
        if of == 0 {
            return;
        }
        if right == of {
            self.width = (2 * self.width).min(16);
        } else {
            self.width = right.max(self.width / 2);
        }
        if self.width == 0 {
            (self.width, self.rest) = (1, REST);
        }
    }
}

/// What followed where the text's last `length` tokens stood before, the last time.
fn followed(text: &[u32], length: usize) -> Option<&[u32]> {
    let (before, end) = text.split_at_checked(text.len().checked_sub(length)?)?;
    // The occurrence may overlap the end, but is not the end itself.
    let start = (0..before.len()).rev().find(|&start| text[start..start + length] == *end)?;
    Some(&text[start + length..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_followed_last_is_guessed() {
        assert_eq!(followed(&[1, 2, 3, 1, 2, 4, 1, 2], 2), Some(&[4, 1, 2][..]));
        assert_eq!(followed(&[7, 7, 7], 2), Some(&[7][..]));
        assert_eq!(followed(&[1, 2, 3], 2), None);
        assert_eq!(followed(&[1], 2), None);
        let mut guesses = Guesses::new();
        assert_eq!(guesses.after(&[1, 2, 3, 4, 5, 6, 1, 2], 9), [3, 4, 5]);
        assert_eq!(guesses.after(&[1, 2, 3, 4, 5, 6, 1, 2], 1), [3]);
    }

    #[test]
    fn wrong_guesses_become_fewer_and_right_ones_more() {
        let text = [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2];
        let mut guesses = Guesses::new();
        guesses.judged(3, 3);
        assert_eq!(guesses.after(&text, 99).len(), 6);
        for _ in 0..4 {
            guesses.judged(0, 1);
        }
        assert!((0..REST).all(|_| guesses.after(&text, 99).is_empty()));
        assert_eq!(guesses.after(&text, 99), [3]);
    }
}
