//! Bodies of requests: as long as they may be, in time, and JSON.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use futures_core::Stream;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::refusal::Refusal;

/// How long a client may pause.
const PAUSE: Duration = Duration::from_secs(30);
/// How many bytes a second come at least, but for one pause: by a byte now and then a connection would be held for as long as anybody likes.
const SLOWEST: f64 = 4096.0;
/// How much more of a body that is too long is read, and thrown away, so that the client comes to read the answer.
const PATIENCE: usize = 8;

/// Reads a body of at most so many bytes as JSON.
pub(super) async fn read<T: DeserializeOwned>(body: Body, most: usize) -> Result<T, Refusal> {
    let mut stream = body.into_data_stream();
    let (mut bytes, mut length) = (Vec::new(), 0usize);
    let began = Instant::now();
    while let Some(part) = next(&mut stream, left(length, began.elapsed())).await? {
        length += part.len();
        if length <= most {
            bytes.extend_from_slice(&part);
        } else if length > most.saturating_mul(PATIENCE) {
            break;
        }
    }
    if length > most {
        return Err(Refusal::too_large(most));
    }
    serde_json::from_slice(&bytes).map_err(|error| Refusal::bad(format!("the body: {error}")))
}

/// How long the next part may take, after so many bytes in such a time.
fn left(length: usize, taken: Duration) -> Duration {
    let due = PAUSE + Duration::from_secs_f64(length as f64 / SLOWEST);
    due.saturating_sub(taken).min(PAUSE)
}

async fn next(stream: &mut axum::body::BodyDataStream, most: Duration) -> Result<Option<Bytes>, Refusal> {
    match timeout(most, poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx))).await {
        Ok(Some(Ok(part))) => Ok(Some(part)),
        Ok(None) => Ok(None),
        Ok(Some(Err(error))) => Err(Refusal::bad(format!("the body ended early: {error}"))),
        Err(_) => Err(Refusal::too_slow()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_may_pause_once_and_not_drip() {
        let seconds = Duration::from_secs;
        assert_eq!(left(0, seconds(0)), PAUSE);
        // At a good speed each part may take as long as the first.
        assert_eq!(left(1 << 20, seconds(10)), PAUSE);
        // A byte every 29 seconds: the second is not waited for as long, and the third not at all.
        assert!(left(1, seconds(29)) < seconds(2));
        assert_eq!(left(2, seconds(58)), seconds(0));
        // The slowest that is waited for.
        assert_eq!(left(4096 * 100, seconds(100)), PAUSE);
        assert_eq!(left(4096 * 100, seconds(110)), seconds(20));
    }
}
