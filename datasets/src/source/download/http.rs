//! One HTTP request: ask for what is still lacking, append what comes.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ureq::config::RedirectAuthHeaders;
use ureq::http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use ureq::http::{HeaderName, Response, StatusCode};
use ureq::{Agent, Timeout};

use super::{Downloader, Expected, Part, Token};
use crate::error::{Error, Result};

/// Longer than anybody waits; an instant has an end.
const LONG: Duration = Duration::from_secs(10 * 365 * 86_400);

pub(super) struct Client {
    agent: Agent,
    max_size: u64,
    progress: bool,
    /// When the whole must be over.
    end: Instant,
    least_rate: u64,
    /// Over which the least rate is kept.
    window: Duration,
    token: Option<Token>,
}

impl Client {
    pub(super) fn new(settings: &Downloader) -> Client {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(10)
            .redirect_auth_headers(RedirectAuthHeaders::Never)
            .timeout_resolve(Some(settings.connect_timeout))
            .timeout_connect(Some(settings.connect_timeout))
            .timeout_send_request(Some(settings.read_timeout))
            .timeout_recv_response(Some(settings.read_timeout))
            // For each read of the body, however long the whole takes.
            .timeout_per_read(Some(settings.read_timeout))
            .user_agent(concat!("cairn/", env!("CARGO_PKG_VERSION")))
            .build();
        Client {
            agent: Agent::new_with_config(config),
            max_size: settings.max_size,
            progress: settings.progress,
            end: Instant::now() + settings.total_timeout.min(LONG),
            least_rate: settings.least_rate,
            window: settings.read_timeout,
            token: settings.token.clone(),
        }
    }

    /// Whether the time for the whole would be over after a pause.
    pub(super) fn out_of_time(&self, pause: Duration) -> bool {
        Instant::now() + pause >= self.end
    }

    /// Brings `part` to its full length with one request, or fails with what came so far kept for the next.
    pub(super) fn get(&self, url: &str, part: &mut Part, expected: &Expected) -> Result<()> {
        match expected.size {
            // Nothing lacks: the check that follows decides.
            Some(size) if part.len() == size => return Ok(()),
            Some(size) if part.len() > size => part.restart()?,
            Some(_) => {}
            // A part of unknown whole might be of another file altogether.
            None if expected.sha256.is_none() => part.restart()?,
            None => {}
        }
        let mut request = self.agent.get(url).header(ACCEPT_ENCODING, "identity");
        if part.len() > 0 {
            request = request.header(RANGE, format!("bytes={}-", part.len()));
        }
        if let Some(token) = self.token.as_ref().filter(|token| url.starts_with(&token.address)) {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.secret));
        }
        // Before the answer, which a silent server lets one wait for.
        let waiting = self.bar(url, None, part.len());
        waiting.enable_steady_tick(Duration::from_millis(200));
        let response = request.call().map_err(|e| failed(url, &e, part.len()));
        waiting.finish_and_clear();
        let response = response?;
        let total = begin(url, &response, part)?;
        self.check_length(url, total, expected)?;
        self.receive(url, response, part, total, expected)
    }

    /// Refuses a file of the wrong length before a byte of it is stored.
    fn check_length(&self, url: &str, total: Option<u64>, expected: &Expected) -> Result<()> {
        let Some(got) = total else { return Ok(()) };
        match expected.size {
            Some(size) if got != size => Err(Error::WrongLength { url: url.to_owned(), expected: size, got }),
            _ if got > self.max_size => Err(self.too_long(url, got)),
            _ => Ok(()),
        }
    }

    fn too_long(&self, url: &str, got: u64) -> Error {
        Error::WrongLength { url: url.to_owned(), expected: self.max_size, got }
    }

    fn receive(
        &self,
        url: &str,
        response: Response<ureq::Body>,
        part: &mut Part,
        total: Option<u64>,
        expected: &Expected,
    ) -> Result<()> {
        let total = total.or(expected.size);
        let bar = self.bar(url, total, part.len());
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        let mut pace = Pace::new(part.len());
        loop {
            pace.check(self, part.len()).map_err(|why| network(url, &why, part.len()))?;
            let n = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(network(url, &e, part.len())),
            };
            let limit = expected.size.unwrap_or(u64::MAX).min(self.max_size);
            let reached = part.len() + n as u64;
            if reached > limit {
                return Err(Error::WrongLength { url: url.to_owned(), expected: limit, got: reached });
            }
            part.append(&buffer[..n])?;
            bar.set_position(part.len());
        }
        bar.finish_and_clear();
        match total {
            Some(total) if part.len() < total => {
                Err(network(url, &"the connection closed too early", part.len()))
            }
            _ => Ok(()),
        }
    }

    /// A bar on standard error, which shows nothing where that is not a terminal.
    fn bar(&self, url: &str, total: Option<u64>, position: u64) -> ProgressBar {
        if !self.progress {
            return ProgressBar::hidden();
        }
        let template = if total.is_some() {
            "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}"
        } else {
            "{msg} {spinner} {bytes} {bytes_per_sec}"
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr()).with_style(style);
        bar.set_message(url.rsplit('/').next().unwrap_or(url).to_owned());
        bar.set_position(position);
        bar.reset_eta();
        bar
    }
}

/// How fast bytes come. Time-outs are for each read, and a byte every now and then would be progress for ever.
struct Pace {
    since: Instant,
    from: u64,
}

impl Pace {
    fn new(from: u64) -> Pace {
        Pace { since: Instant::now(), from }
    }

    /// That the least rate was kept over the last window, and that there is time left.
    fn check(&mut self, client: &Client, position: u64) -> Result<(), String> {
        if Instant::now() >= client.end {
            return Err("the time for the whole download is over".to_owned());
        }
        let passed = self.since.elapsed();
        if passed < client.window {
            return Ok(());
        }
        let rate = (position - self.from) as f64 / passed.as_secs_f64();
        if rate < client.least_rate as f64 {
            return Err(format!("{rate:.0} bytes a second, less than {}", client.least_rate));
        }
        *self = Pace::new(position);
        Ok(())
    }
}

/// Reads status and headers: whether the bytes to come continue the partial file or begin anew, and how long the whole
/// will be.
fn begin(url: &str, response: &Response<ureq::Body>, part: &mut Part) -> Result<Option<u64>> {
    let status = response.status();
    match status {
        StatusCode::PARTIAL_CONTENT => match content_range(response) {
            Some((first, total)) if first == part.len() => Ok(total),
            _ => {
                part.restart()?;
                Err(network(url, &"the server sent another range than was asked for", 0))
            }
        },
        // The server knows no ranges, or has nothing there: start again.
        StatusCode::OK => {
            part.restart()?;
            Ok(header(response, &CONTENT_LENGTH).and_then(|v| v.parse().ok()))
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            part.restart()?;
            Err(Error::Status { url: url.to_owned(), status: status.as_u16() })
        }
        _ => Err(Error::Status { url: url.to_owned(), status: status.as_u16() }),
    }
}

/// First byte and total length of `Content-Range: bytes FIRST-LAST/TOTAL` (the total may be `*`).
fn content_range(response: &Response<ureq::Body>) -> Option<(u64, Option<u64>)> {
    parse_content_range(header(response, &CONTENT_RANGE)?)
}

fn parse_content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, _last) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, total.trim().parse().ok()))
}

fn header<'a>(response: &'a Response<ureq::Body>, name: &HeaderName) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// What a request that was not answered failed of. Where some of the file is there, a name that is not found is more likely a network
/// that is gone for a moment than a host that nobody knows.
fn failed(url: &str, error: &ureq::Error, received: u64) -> Error {
    if received == 0 && not_found(error) {
        return Error::UnknownHost { url: url.to_owned(), message: error.to_string() };
    }
    match error {
        ureq::Error::TooManyRedirects => {
            network(url, &"too many redirects, or one to an address that is not of the web", received)
        }
        _ => network(url, error, received),
    }
}

/// Whether a name was looked up without success. The standard library has no kind of error for that, only these words, and on Windows the
/// system's numbers.
fn not_found(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::HostNotFound | ureq::Error::Timeout(Timeout::Resolve) => true,
        ureq::Error::Io(error) => match error.raw_os_error() {
            Some(number) => cfg!(windows) && matches!(number, 11_001..=11_004),
            None => error.to_string().starts_with("failed to lookup address information"),
        },
        _ => false,
    }
}

fn network(url: &str, message: &dyn std::fmt::Display, received: u64) -> Error {
    Error::Network { url: url.to_owned(), message: message.to_string(), received }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{Error, failed, parse_content_range};

    #[test]
    fn unknown_hosts() {
        let lookup = io::Error::other("failed to lookup address information: Name or service not known");
        let lookup = ureq::Error::Io(lookup);
        assert!(matches!(failed("u", &lookup, 0), Error::UnknownHost { .. }));
        assert!(matches!(failed("u", &lookup, 5), Error::Network { received: 5, .. }));
        for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionReset] {
            assert!(matches!(failed("u", &ureq::Error::Io(kind.into()), 0), Error::Network { .. }));
        }
    }

    #[test]
    fn content_ranges() {
        assert_eq!(parse_content_range("bytes 100-199/1000"), Some((100, Some(1000))));
        assert_eq!(parse_content_range("bytes 0-9/*"), Some((0, None)));
        for bad in ["", "bytes */1000", "items 0-9/10", "bytes 0-9", "bytes x-9/10"] {
            assert_eq!(parse_content_range(bad), None, "{bad}");
        }
    }
}
