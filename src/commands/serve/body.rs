//! Bodies of requests: as long as they may be, in time, and JSON.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_core::Stream;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::refusal::Refusal;

/// How long a client may pause.
const PAUSE: Duration = Duration::from_secs(30);
/// How much more of a body that is too long is read, and thrown away, so that the client comes to read the answer.
const PATIENCE: usize = 8;

/// Reads a body of at most so many bytes as JSON.
pub(super) async fn read<T: DeserializeOwned>(body: Body, most: usize) -> Result<T, Refusal> {
    let mut stream = body.into_data_stream();
    let (mut bytes, mut length) = (Vec::new(), 0usize);
    while let Some(part) = next(&mut stream).await? {
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

async fn next(stream: &mut axum::body::BodyDataStream) -> Result<Option<Bytes>, Refusal> {
    match timeout(PAUSE, poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx))).await {
        Ok(Some(Ok(part))) => Ok(Some(part)),
        Ok(None) => Ok(None),
        Ok(Some(Err(error))) => Err(Refusal::bad(format!("the body ended early: {error}"))),
        Err(_) => Err(Refusal::too_slow()),
    }
}
