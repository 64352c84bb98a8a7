//! The end of a text at one of the caller's: what may be the beginning of such a text is held back until it is known.

/// Pieces of a text up to the first of some texts.
#[derive(Debug, Default)]
pub(super) struct Until {
    stops: Vec<String>,
    held: String,
    stopped: bool,
}

impl Until {
    /// Ends before any of these, too; empty ones are passed over.
    pub(super) fn extend<S: Into<String>>(&mut self, stops: impl IntoIterator<Item = S>) {
        self.stops.extend(stops.into_iter().map(Into::into).filter(|stop: &String| !stop.is_empty()));
    }

    /// Whether one of them has come.
    pub(super) fn stopped(&self) -> bool {
        self.stopped
    }

    /// What can be given out with a further piece: all before a text to stop at, or all that cannot be the beginning of one.
    pub(super) fn push(&mut self, piece: &str) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(piece);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let begins = |at: &usize| self.stops.iter().any(|stop| stop.starts_with(&self.held[*at..]));
        let keep = self.held.char_indices().map(|(at, _)| at).find(begins).unwrap_or(self.held.len());
        let rest = self.held.split_off(keep);
        std::mem::replace(&mut self.held, rest)
    }

    /// As [`push`](Self::push) of the last piece, after which nothing is held back.
    pub(super) fn finish(&mut self, piece: &str) -> String {
        let text = self.push(piece);
        text + &std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_stop_is_held_back() {
        let mut until = Until::default();
        until.extend(["END", "", "EN!"]);
        assert_eq!(until.push("the E"), "the ");
        assert_eq!(until.push("N"), "");
        assert_eq!(until.push("E"), "EN");
        assert_eq!(until.push("ND of"), "");
        assert!(until.stopped());
        assert_eq!(until.push("more") + &until.finish("more"), "");
        let mut until = Until::default();
        until.extend(["END"]);
        assert_eq!(until.push("EN") + &until.finish(""), "EN");
    }
}
