//! Downloading one file so that in the end it is there whole or not at all.
//!
//! Bytes go to `NAME.part` beside the destination. A broken transfer is taken up where it stopped (HTTP `Range`), in this
//! run or a later one, from this mirror or the next: since the SHA-256 of the whole is compared at the end, it does not
//! matter where the pieces came from. Only a file of the right length and checksum is moved into place, in one step.
//! A lock on the partial file keeps two processes from writing it at once.
//!
//! Nothing here waits without bound: connecting, the answer and every single read have timeouts, a server that drips is given up
//! below a least rate, the whole has a time limit, attempts are counted, and sizes are limited.

mod http;
mod part;

use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::registry::RemoteFile;
use http::Client;
use part::Part;

/// What a download must turn out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Length in bytes, if known.
    pub size: Option<u64>,
    /// SHA-256 in hexadecimal, if known.
    pub sha256: Option<String>,
}

impl From<&RemoteFile<'_>> for Expected {
    fn from(file: &RemoteFile<'_>) -> Self {
        Expected { size: file.size, sha256: file.sha256.map(str::to_owned) }
    }
}

/// Settings for downloading.
///
/// ```no_run
/// use cairn_datasets::download::{Downloader, Expected};
/// let urls = ["https://example.org/words.txt.gz"];
/// let whatever = Expected { size: None, sha256: None };
/// Downloader::default().max_size(1 << 20).fetch(&urls, "words.txt.gz".as_ref(), &whatever)?;
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Downloader {
    attempts: u32,
    backoff: Duration,
    connect_timeout: Duration,
    read_timeout: Duration,
    lock_timeout: Duration,
    total_timeout: Duration,
    least_rate: u64,
    max_size: u64,
    progress: bool,
    token: Option<Token>,
}

/// What a server wants to see before it gives anything.
#[derive(Clone)]
struct Token {
    /// How the addresses begin that it is sent to.
    address: String,
    secret: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token(for {})", self.address)
    }
}

impl Default for Downloader {
    /// Four attempts at each mirror, half a second before the first repetition and twice as long before each further one,
    /// 15 s to connect, 30 s for an answer and for each read, at least 1 KiB a second, 12 hours in all, at most 8 GiB, a progress
    /// bar if standard error is a terminal.
    fn default() -> Self {
        Downloader {
            attempts: 4,
            backoff: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(15),
            read_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(600),
            total_timeout: Duration::from_secs(12 * 3600),
            least_rate: 1 << 10,
            max_size: 8 << 30,
            progress: true,
            token: None,
        }
    }
}

/// An attempt that brought this much counts as progress and gives a mirror its full number of attempts again. The total
/// stays bounded, because the size is.
const PROGRESS: u64 = 1 << 20;

/// Longest pause between two attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(8);

impl Downloader {
    /// How often to ask each mirror before going to the next; at least once.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Pause before the first repetition; it doubles from one to the next, up to 8 s.
    #[must_use]
    pub fn backoff(mut self, pause: Duration) -> Self {
        self.backoff = pause;
        self
    }

    /// Longest time for name lookup, and again for connection and TLS.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Longest time a server may stay silent.
    #[must_use]
    pub fn read_timeout(mut self, limit: Duration) -> Self {
        self.read_timeout = limit;
        self
    }

    /// Longest time to wait for another process that is downloading the same file.
    #[must_use]
    pub fn lock_timeout(mut self, limit: Duration) -> Self {
        self.lock_timeout = limit;
        self
    }

    /// Longest time for the whole, all attempts and mirrors together.
    #[must_use]
    pub fn total_timeout(mut self, limit: Duration) -> Self {
        self.total_timeout = limit;
        self
    }

    /// Bytes a second below which a server is given up, over any time as long as [`read_timeout`](Self::read_timeout); 0 for any
    /// rate.
    #[must_use]
    pub fn least_rate(mut self, bytes: u64) -> Self {
        self.least_rate = bytes;
        self
    }

    /// Largest file to accept, in bytes.
    #[must_use]
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.max_size = bytes;
        self
    }

    /// Sends a token (`Authorization: Bearer`) to the server at `address`, such as `https://example.org`, and to no other: neither to
    /// mirrors nor to where the server redirects.
    #[must_use]
    pub fn bearer_token(mut self, address: &str, token: impl Into<String>) -> Self {
        let address = format!("{}/", address.trim_end_matches('/'));
        self.token = Some(Token { address, secret: token.into() });
        self
    }

    /// Whether to show a progress bar on a terminal. Elsewhere none is shown.
    #[must_use]
    pub fn progress(mut self, show: bool) -> Self {
        self.progress = show;
        self
    }

    /// Downloads a file to `path`, trying the addresses in order. Folders are made as needed. A file that is already at
    /// `path` is left as it is.
    ///
    /// # Errors
    /// [`Error::Download`] with what each mirror said; [`Error::Io`] when the disk is full or cannot be written, which no
    /// mirror can mend; [`Error::Busy`] when another process holds the file too long.
    pub fn fetch<U: AsRef<str>>(&self, urls: &[U], path: &Path, expected: &Expected) -> Result<()> {
        let Some(mut part) = Part::open(path, self.lock_timeout, self.progress)? else { return Ok(()) };
        let client = Client::new(self);
        let mut failures = Vec::new();
        for url in urls {
            match self.ask(&client, url.as_ref(), &mut part, expected) {
                Ok(()) => return part.finish(),
                Err(error @ Error::Io { .. }) => return Err(error),
                Err(error) => failures.push(error),
            }
        }
        Err(Error::Download { path: path.to_owned(), attempts: failures })
    }

    /// Asks one mirror until the partial file is whole and right, or until it is plain that this mirror will not do.
    fn ask(&self, client: &Client, url: &str, part: &mut Part, expected: &Expected) -> Result<()> {
        let (mut left, mut pause) = (self.attempts, self.backoff);
        loop {
            let before = part.len();
            let outcome = client.get(url, part, expected).and_then(|()| part.check(url, expected));
            let error = match outcome {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if matches!(error, Error::Checksum { .. } | Error::WrongLength { .. }) {
                part.restart()?;
            }
            left = if part.len() >= before.saturating_add(PROGRESS) { self.attempts } else { left - 1 };
            if left == 0 || !worth_repeating(&error) || client.out_of_time(pause) {
                return Err(error);
            }
            thread::sleep(pause);
            pause = (pause * 2).min(MAX_BACKOFF);
        }
    }
}

/// Whether the same request may go better next time.
fn worth_repeating(error: &Error) -> bool {
    match error {
        Error::Network { .. } | Error::Checksum { .. } => true,
        Error::Status { status, .. } => matches!(status, 408 | 416 | 425 | 429 | 500..=599),
        _ => false,
    }
}

/// Compares a file with its expected length and checksum.
///
/// # Errors
/// [`Error::WrongLength`] or [`Error::Checksum`] naming the file; [`Error::Io`] when it cannot be read.
pub fn verify(path: &Path, expected: &Expected) -> Result<()> {
    part::verify(path, &path.display().to_string(), expected)
}
