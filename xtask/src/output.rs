//! Printing, when nobody reads it any more: `cargo xtask e2e | head`, a closed terminal, a full disk.
//!
//! `println!` panics then. A task whose result is a file, a download or an exit status goes on without its lines
//! ([`BestEffort`]); a benchmark, which has nothing but its lines, returns the error, and a closed pipe is taken for the reader's
//! wish to stop ([`is_closed_pipe`]).

use std::io::{self, ErrorKind, Write};

/// A writer that drops what it cannot write.
#[derive(Debug)]
pub struct BestEffort<W>(pub W);

impl<W: Write> Write for BestEffort<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            // Tried again by whoever calls.
            Err(e) if e.kind() == ErrorKind::Interrupted => Err(e),
            Ok(0) | Err(_) => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().or(Ok(()))
    }
}

/// Prints a line beside the results, on standard error.
pub fn note(line: impl std::fmt::Display) {
    // Whoever closed it does not miss the line.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whether `error` comes from writing to a pipe whose reader has gone.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|e| e.kind() == ErrorKind::BrokenPipe)
}
