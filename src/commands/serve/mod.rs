//! `cairn serve`: models over HTTP, as OpenAI's clients ask for them, and on a page for people.
//!
//! One thread talks to the clients; each model that writes texts has a thread of its own that writes all of them together
//! ([`writer`]); other models work one request at a time ([`gate`]). What is too much to do is refused at once, and what nobody waits for
//! any more is not done.

mod answer;
mod asked;
mod body;
mod connections;
mod gate;
mod metrics;
mod models;
mod prompt;
mod refusal;
mod routes;
mod style;
mod taken;
mod unsupported;
mod writer;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;

use super::failure::Failure;
use super::output::Output;
use metrics::Metrics;
use models::{Model, Models};
use refusal::Refusal;
use writer::Sizes;

/// How long answers that have begun may go on once the server is to end.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What is served: GGUF files and folders of language models and encoders, published ones by name, networks and recommenders that
    /// Cairn saved.
    #[arg(required = true)]
    pub(super) models: Vec<PathBuf>,
    /// The address to listen at; others than this machine reach it only where it is another.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
    /// The port; 0 takes one that is free.
    #[arg(long, short, value_name = "PORT", default_value_t = 8080)]
    port: u16,
    /// Writes so many texts at a time.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: u16,
    /// Lets so many requests wait for each model; others are told to come again.
    #[arg(long, value_name = "N", default_value_t = 64)]
    queue: u16,
    /// Most tokens of a text, prompt included, where the model can read as many.
    #[arg(long, value_name = "TOKENS", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(2..))]
    context: u32,
    /// Guesses so many tokens in a step by what followed before; texts are the same with and without.
    #[arg(long, value_name = "TOKENS", default_value_t = 6)]
    guesses: u16,
    /// Largest body of a request, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    body_limit: u16,
    /// Answers only who brings this key; CAIRN_API_KEY does the same without showing it.
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
}

/// What all handlers share.
#[derive(Debug)]
struct Server {
    models: Models,
    metrics: Metrics,
    body_limit: usize,
    key: Option<String>,
    /// Whether it is there for this machine alone.
    local: bool,
}

type Shared = Arc<Server>;

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<(), Failure> {
    let sizes = Sizes {
        parallel: args.parallel.into(),
        queue: args.queue.into(),
        context: args.context as usize,
        guesses: args.guesses.into(),
    };
    let names = models::names_of(&args.models);
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Failure::new(format!("two models are named {}", twice[0])).hint(
            "a model has the name of its file or folder, and of the folder above where two have one name",
        ));
    }
    let models = args.models.iter().zip(names).map(|(path, name)| Model::load(path, name, sizes));
    let models = models.collect::<Result<Vec<_>, _>>()?;
    let server = Arc::new(Server {
        models: Models(models),
        metrics: Metrics::default(),
        body_limit: usize::from(args.body_limit) << 20,
        key: args
            .api_key
            .clone()
            .or_else(|| std::env::var("CAIRN_API_KEY").ok())
            .filter(|key| !key.is_empty()),
        local: args.host.to_canonical().is_loopback(),
    });
    // One for whatever each model computes, and some for what is read meanwhile. A thread's heap stays as large as the longest text that
    // it ever read made it, so there are few, and not one for each request, as the runtime would have it.
    let threads = server.models.0.len() + std::thread::available_parallelism().map_or(2, usize::from);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(threads).build()?;
    let result = runtime.block_on(listen(server, SocketAddr::new(args.host, args.port), out));
    // What is computed for clients that are gone is not waited for.
    runtime.shutdown_background();
    result
}

async fn listen(server: Shared, address: SocketAddr, out: &mut Output) -> Result<(), Failure> {
    let listener = connections::listener(address).map_err(|error| {
        Failure::new(format!("{address}: {error}")).hint("`--port` takes another port, 0 any that is free")
    })?;
    let address = listener.local_addr()?;
    let names: Vec<&str> = server.models.0.iter().map(|model| &*model.name).collect();
    let value = json!({"address": format!("http://{address}"), "models": names});
    out.result(&value, || format!("http://{address} serves {}; Ctrl-C ends it", names.join(", ")))?;
    let (told, is_told) = tokio::sync::oneshot::channel();
    let end = async {
        asked_to_end().await;
        let _ = told.send(());
    };
    let ended = connections::serve(listener, router(server), connections::Patience::default(), end);
    let patience = async {
        let _ = is_told.await;
        tokio::time::sleep(GRACE).await;
    };
    first(std::pin::pin!(ended), std::pin::pin!(patience)).await;
    Ok(())
}

/// What comes of a future, unless another is done before.
async fn first<T>(
    mut one: std::pin::Pin<&mut impl Future<Output = T>>,
    mut other: std::pin::Pin<&mut impl Future<Output = ()>>,
) -> Option<T> {
    use std::task::Poll;
    std::future::poll_fn(|cx| match one.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => other.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// Until somebody wants the server to end: by Ctrl-C, or by the signal that asks programs to.
async fn asked_to_end() {
    let interrupt = std::pin::pin!(async {
        // Where it cannot be listened for, the server goes on.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    });
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            let terminate = std::pin::pin!(async {
                terminate.recv().await;
            });
            first(interrupt, terminate).await;
            return;
        }
    }
    interrupt.await;
}

fn router(server: Shared) -> Router {
    let asked = Router::new()
        .route("/v1/chat/completions", post(routes::chat))
        .route("/v1/completions", post(routes::completions))
        .route("/v1/embeddings", post(routes::embeddings))
        .route("/v1/predict", post(routes::predict))
        .route("/v1/recommend", post(routes::recommend))
        .route("/v1/models", get(routes::models))
        .route("/v1/models/{*name}", get(routes::model))
        .route("/metrics", get(routes::metrics))
        .route_layer(middleware::from_fn_with_state(server.clone(), guarded));
    asked
        .route("/health", get(routes::health))
        .route("/", get(routes::page))
        .route("/favicon.ico", get(routes::no_icon))
        .method_not_allowed_fallback(async |request: Request| {
            Refusal::wrong_method(request.method().as_str(), request.uri().path())
        })
        .fallback(async |request: Request| Refusal::no_route(request.method().as_str(), request.uri().path()))
        .layer(middleware::from_fn_with_state(server.clone(), counted))
        .with_state(server)
}

/// Counts requests and answers by route.
async fn counted(State(server): State<Shared>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let _under_way = server.metrics.begin();
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    server.metrics.answered(&route, response.status().as_u16(), began.elapsed());
    response
}

/// Lets through who has the key, where there is one, and no pages of other hosts: a browser would let them ask this machine. A page whose
/// name was made to lead here (DNS rebinding) is told by that name.
async fn guarded(State(server): State<Shared>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    // Who has a key is no page that was led here.
    if server.local && server.key.is_none() && !names_this_machine(headers) {
        return Refusal::foreign_host().into_response();
    }
    if is_foreign(headers) {
        return Refusal::foreign_page().into_response();
    }
    if let Some(key) = &server.key {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer "));
        if !given.is_some_and(|given| same(given.as_bytes(), key.as_bytes())) {
            return Refusal::no_key().into_response();
        }
    }
    next.run(request).await
}

/// Whether a request is addressed to the machine that it comes from, at whichever port: by a name that no page can be given. Containers
/// know the machine that they run on as `host.docker.internal`, and browsers say where they go.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.ends_with(".internal")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether a request is from a page of another host.
fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match (headers.contains_key(header::ORIGIN), text(header::ORIGIN), text(header::HOST)) {
        (false, ..) => false,
        (true, Some(origin), Some(host)) => origin.split_once("://").is_none_or(|(_, from)| from != host),
        _ => true,
    }
}

/// Whether two texts are the same, in a time that does not tell where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn this_machine_has_few_names() {
        let names = |host: &'static str| {
            let headers: HeaderMap = [(header::HOST, HeaderValue::from_static(host))].into_iter().collect();
            names_this_machine(&headers)
        };
        for own in [
            "localhost",
            "LOCALHOST:80",
            "localhost.",
            "chat.localhost:8080",
            "host.docker.internal:8080",
            "127.0.0.1:8080",
            "127.0.0.1",
            "[::1]",
            "[::1]:8080",
            "[::ffff:127.0.0.1]:8080",
        ] {
            assert!(names(own), "{own}");
        }
        for foreign in [
            "example.com",
            "example.com:8080",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "10.0.0.1",
            "",
        ] {
            assert!(!names(foreign), "{foreign}");
        }
        assert!(names_this_machine(&HeaderMap::new()), "no browser leaves it out");
    }
}
