//! The answer to a request for texts: gathered to a whole, or event by event as server-sent events. Dropping it, as happens when the
//! client leaves, gives the texts up.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use cairn::nn::generate::Request;
use futures_core::Stream;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::refusal::{Refusal, json_response};
use super::style::{Scored, Style, Used};
use super::writer::{Ask, Ended, Told};

/// How a request is to be answered.
#[derive(Debug)]
pub(super) struct How {
    pub(super) stops: Vec<String>,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    /// Tokens of the prompts.
    pub(super) prompt: usize,
}

/// Has texts written, and answers.
pub(super) async fn answer(style: Style, requests: Vec<Request>, how: How) -> Result<Response, Refusal> {
    let (to, mut told) = unbounded_channel();
    let count = requests.len();
    let asks = requests.into_iter().enumerate().map(|(index, request)| Ask {
        request,
        stops: how.stops.clone(),
        index,
        to: to.clone(),
    });
    style.writer.ask(asks.collect())?;
    drop(to);
    let mut used = Used::of(how.prompt);
    if how.stream {
        let begins = (0..count).filter_map(|index| style.begin(index)).map(|event| line(&event)).collect();
        let offsets = vec![0; count];
        let (left, usage) = (count, how.include_usage.then_some(used));
        return Ok(events(Events { told, style, ready: begins, left, offsets, usage, done: false }));
    }
    let mut texts: Vec<(String, Vec<Scored>, Ended)> = vec![(String::new(), Vec::new(), Ended::Stop); count];
    while let Some((index, told)) = told.recv().await {
        match told {
            Told::Piece(text, tokens) => {
                texts[index].0 += &text;
                texts[index].1.extend(tokens);
            }
            Told::End(Ended::Failed(why), _) => return Err(Refusal::failed(why)),
            Told::End(ended, usage) => {
                texts[index].2 = ended;
                used.add(usage);
            }
        }
    }
    Ok(json_response(StatusCode::OK, &style.whole(&texts, &used)))
}

/// A response of events.
fn events(events: Events) -> Response {
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// An event as it is sent.
fn line(event: &Value) -> Bytes {
    Bytes::from(format!("data: {event}\n\n"))
}

/// The events of a request's texts.
struct Events {
    told: UnboundedReceiver<(usize, Told)>,
    style: Style,
    ready: VecDeque<Bytes>,
    /// Texts that have not ended.
    left: usize,
    /// Characters of each text so far.
    offsets: Vec<usize>,
    /// Where it is to be told.
    usage: Option<Used>,
    done: bool,
}

impl Events {
    fn hear(&mut self, index: usize, told: Told) {
        match told {
            Told::Piece(text, tokens) => {
                let event = self.style.piece(index, &text, &tokens, self.offsets[index]);
                self.offsets[index] += text.chars().count();
                self.ready.push_back(line(&event));
            }
            Told::End(Ended::Failed(why), _) => {
                self.ready.push_back(line(&Refusal::failed(why).to_json()));
                self.done = true;
            }
            Told::End(ended, usage) => {
                self.ready.push_back(line(&self.style.end(index, &ended)));
                self.left -= 1;
                if let Some(used) = &mut self.usage {
                    used.add(usage);
                }
                if self.left == 0 {
                    self.finish();
                }
            }
        }
    }

    fn finish(&mut self) {
        if let Some(used) = &self.usage {
            self.ready.push_back(line(&self.style.used(used)));
        }
        self.ready.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
        self.done = true;
    }
}

impl Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            if self.done {
                return Poll::Ready(None);
            }
            match self.told.poll_recv(cx) {
                Poll::Ready(Some((index, told))) => self.hear(index, told),
                // The writer has ended before its texts.
                Poll::Ready(None) => self.done = true,
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
