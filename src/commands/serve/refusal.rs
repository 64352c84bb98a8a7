//! What is answered where a request cannot be met, as OpenAI's clients expect it.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cairn::nn;
use serde_json::{Value, json};

use crate::commands::failure::{Failure, is_of_memory};

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, kind: &'static str, code: Option<&'static str>, message: String) -> Self {
        Refusal { status, kind, code, message }
    }

    /// The request makes no sense.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", None, message.into())
    }

    /// A field that would change the answer, and is not understood.
    pub(super) fn unsupported(name: &str) -> Self {
        Self::bad(format!("`{name}` is not supported; leave it out"))
    }

    /// The prompt leaves no room for an answer.
    pub(super) fn too_long(tokens: usize, most: usize) -> Self {
        let message =
            format!("the prompt has {tokens} tokens; with at least one of an answer there can be {most}");
        let code = Some("context_length_exceeded");
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", code, message)
    }

    /// The prompt has more bytes than all the tokens that there can be stand for.
    pub(super) fn too_many_bytes(bytes: usize, most: usize, tokens: usize) -> Self {
        let message = format!(
            "the prompt has {bytes} bytes; there can be {tokens} tokens, which are at most {most} bytes"
        );
        let code = Some("context_length_exceeded");
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", code, message)
    }

    pub(super) fn too_large(bytes: usize) -> Self {
        let message = format!("the body has more than {bytes} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", Some("body_too_large"), message)
    }

    pub(super) fn too_slow() -> Self {
        let message = "the body did not come in time".into();
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_request_error", None, message)
    }

    pub(super) fn no_model(message: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", Some("model_not_found"), message)
    }

    pub(super) fn no_route(method: &str, path: &str) -> Self {
        let message = format!("there is nothing at {method} {path}");
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", Some("unknown_url"), message)
    }

    pub(super) fn wrong_method(method: &str, path: &str) -> Self {
        let message = format!("{path} is not asked with {method}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", None, message)
    }

    pub(super) fn no_key() -> Self {
        let message = "the API key is missing or wrong".into();
        Self::new(StatusCode::UNAUTHORIZED, "invalid_request_error", Some("invalid_api_key"), message)
    }

    pub(super) fn foreign_page() -> Self {
        let message = "pages of other hosts may not ask this one".into();
        Self::new(StatusCode::FORBIDDEN, "invalid_request_error", Some("foreign_origin"), message)
    }

    pub(super) fn foreign_host() -> Self {
        let message = "this server is for its own machine: ask it as localhost or 127.0.0.1".into();
        Self::new(StatusCode::FORBIDDEN, "invalid_request_error", Some("foreign_host"), message)
    }

    /// A text to embed is longer than the model reads.
    pub(super) fn text_too_long(tokens: usize, most: usize) -> Self {
        let message = format!(
            "a text has {tokens} tokens, of which the model reads {most}; with `truncate` the rest has no part in its vector"
        );
        let code = Some("context_length_exceeded");
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", code, message)
    }

    /// As much is to be done as may be.
    pub(super) fn busy() -> Self {
        let message = "too many requests are waiting; try again in a moment".into();
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", Some("rate_limit_exceeded"), message)
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", None, message.into())
    }

    /// There is too little memory now, which is no fault of the request: clients may send it again, as OpenAI's do.
    pub(super) fn no_memory(message: impl Into<String>) -> Self {
        let (status, code) = (StatusCode::SERVICE_UNAVAILABLE, Some("out_of_memory"));
        Self::new(status, "server_error", code, message.into())
    }

    /// A text could not go on, which was begun and so was no nonsense.
    pub(super) fn in_a_text(error: &nn::Error) -> Self {
        if is_of_memory(error) { Self::no_memory(error.to_string()) } else { Self::failed(error.to_string()) }
    }

    /// For texts whose writer has gone before they ended.
    pub(super) fn cut_off() -> Self {
        Self::failed("the text was not written to its end: the server failed on the way")
    }

    /// What the body says of it, which in a stream comes as an event.
    pub(super) fn to_json(&self) -> Value {
        json!({"error": {"message": self.message, "type": self.kind, "param": null, "code": self.code}})
    }
}

impl From<nn::Error> for Refusal {
    fn from(error: nn::Error) -> Self {
        match error {
            nn::Error::Busy { .. } => Refusal::busy(),
            error if is_of_memory(&error) => Refusal::no_memory(error.to_string()),
            other => Refusal::bad(other.to_string()),
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let message = failure.to_string();
        if failure.is_of_memory() { Refusal::no_memory(message) } else { Refusal::bad(message) }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = json_response(self.status, &self.to_json());
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// An answer of JSON.
pub(super) fn json_response(status: StatusCode, value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use cairn::tensor::{self, DType};

    use super::*;

    #[test]
    fn who_asks_while_there_is_too_little_memory_is_told_to_come_again() {
        let error = || {
            let error = tensor::Error::OutOfMemory { op: "zeros", elements: 1 << 40, dtype: DType::F32 };
            nn::Error::from(error).at("attention").at("layer_0")
        };
        let all = [
            Refusal::from(error()),
            Refusal::from(Failure::from(error())),
            Refusal::from(Failure::from(error()).hint("another time")),
            Refusal::in_a_text(&error()),
        ];
        for refusal in all {
            assert_eq!(refusal.to_json()["error"]["type"], "server_error");
            let response = refusal.into_response();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(response.headers().contains_key(header::RETRY_AFTER));
        }
    }

    #[test]
    fn what_makes_no_sense_is_no_matter_of_memory() {
        let error = || nn::Error::NoLayer { name: "x".to_owned() }.at("layer_0");
        assert_eq!(Refusal::from(error()).status, StatusCode::BAD_REQUEST);
        assert_eq!(Refusal::from(Failure::from(error())).status, StatusCode::BAD_REQUEST);
        assert_eq!(Refusal::in_a_text(&error()).status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
