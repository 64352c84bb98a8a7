//! The answer to a request for texts: gathered to a whole, or event by event as server-sent events. Dropping it, as happens when the
//! client leaves, gives the texts up.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use cairn::nn::generate::Request;
use futures_core::Stream;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::refusal::{Refusal, json_response};
use super::style::{Style, Used};
use super::writer::{Ask, Ended, Place, Scored, Told};

/// How a request is to be answered.
#[derive(Debug)]
pub(super) struct How {
    /// All texts of a request share them.
    pub(super) stops: Arc<[String]>,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    /// Tokens of the prompts.
    pub(super) prompt: usize,
}

/// Has texts written, each in its place, and answers.
pub(super) async fn answer(
    style: Style,
    requests: Vec<Request>,
    places: Vec<Place>,
    how: How,
) -> Result<Response, Refusal> {
    let (to, mut told) = unbounded_channel();
    let count = requests.len();
    let asks = requests.into_iter().enumerate().map(|(index, request)| Ask {
        request,
        stops: how.stops.clone(),
        index,
        to: to.clone(),
    });
    style.writer.ask(asks.zip(places.iter().cloned()))?;
    drop(to);
    let mut used = Used::of(how.prompt);
    if how.stream {
        let begins = (0..count).filter_map(|index| style.begin(index)).map(|event| line(&event)).collect();
        let usage = how.include_usage.then_some(used);
        return Ok(events(Events { told, style, ready: begins, left: count, usage, done: false, places }));
    }
    let texts = gather(&mut told, count, &mut used).await?;
    Ok(json_response(StatusCode::OK, &style.whole(&texts, &used)))
}

/// A text, its tokens and why it ended.
type Text = (String, Vec<Scored>, Ended);

/// All of the texts, each to its end.
async fn gather(
    told: &mut UnboundedReceiver<(usize, Told)>,
    count: usize,
    used: &mut Used,
) -> Result<Vec<Text>, Refusal> {
    let mut texts: Vec<Text> = vec![(String::new(), Vec::new(), Ended::Stop); count];
    let mut left = count;
    while left > 0 {
        let Some((index, told)) = told.recv().await else { return Err(Refusal::cut_off()) };
        match told {
            Told::Piece(text, tokens) => {
                texts[index].0 += &text;
                texts[index].1.extend(tokens);
            }
            Told::End(Ended::Failed(why), _) => return Err(why),
            Told::End(ended, usage) => {
                texts[index].2 = ended;
                used.add(usage);
                left -= 1;
            }
        }
    }
    Ok(texts)
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
    /// Where it is to be told.
    usage: Option<Used>,
    done: bool,
    places: Vec<Place>,
}

impl Events {
    fn hear(&mut self, index: usize, told: Told) {
        match told {
            Told::Piece(text, tokens) => {
                self.ready.push_back(line(&self.style.piece(index, &text, &tokens)));
            }
            Told::End(Ended::Failed(why), _) => {
                self.ready.push_back(line(&why.to_json()));
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
                if self.done && self.ready.is_empty() {
                    // Before its client can know that the answer is whole, and ask for another.
                    self.places.clear();
                }
                return Poll::Ready(Some(Ok(event)));
            }
            if self.done {
                return Poll::Ready(None);
            }
            match self.told.poll_recv(cx) {
                Poll::Ready(Some((index, told))) => self.hear(index, told),
                Poll::Ready(None) => {
                    self.ready.push_back(line(&Refusal::cut_off().to_json()));
                    self.done = true;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cairn::nn::generate::Usage;
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn a_text_whose_writer_has_gone_is_an_error_and_no_short_answer() {
        let runtime = Builder::new_current_thread().build().unwrap();
        for ended in [1, 2] {
            let (to, mut told) = unbounded_channel();
            for index in 0..ended {
                to.send((index, Told::Piece("word".to_owned(), Vec::new()))).unwrap();
                to.send((index, Told::End(Ended::Length, Usage::default()))).unwrap();
            }
            drop(to);
            let texts = runtime.block_on(gather(&mut told, 2, &mut Used::of(3)));
            assert_eq!(texts.is_ok(), ended == 2);
        }
    }
}
