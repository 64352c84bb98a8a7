//! Connections of clients, each served by a task of its own, and held no longer than its client does its part. hyper is set up here, and not
//! by axum, which gives whoever sends nothing all the time in the world.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::first;
use super::taken::Taken;

/// How long clients are waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For the head of a request, and so between two requests of a connection. Proxies keep connections open for a minute, as a rule, and
    /// must not find them closed.
    pub(super) head: Duration,
    /// For a client to take any of what it is sent.
    pub(super) taking: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience { head: Duration::from_secs(75), taking: Duration::from_secs(30) }
    }
}

/// Bytes of an answer that the system keeps for a client. It tells that there is room again when a third of them has been taken, and a
/// client that takes its answer slowly should be seen to.
const KEPT: u32 = 1 << 16;
/// Connections that the system keeps until they are taken.
const WAITING: u32 = 1024;
/// How long is waited where no connection can be taken, as where too many are open.
const PAUSE: Duration = Duration::from_secs(1);

/// Listens at an address.
pub(super) fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As `TcpListener::bind` does; on Windows it would let others listen, too.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    // Connections have what the listener has.
    socket.set_send_buffer_size(KEPT)?;
    socket.bind(address)?;
    socket.listen(WAITING)
}

/// Answers all who connect until it is to end, and then until the answers that have begun are given.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    patience: Patience,
    end: impl Future<Output = ()>,
) {
    let open = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience.head);
    let mut end = pin!(end);
    while let Some(stream) = first(pin!(accepted(&listener)), end.as_mut()).await {
        let service = TowerToHyperService::new(router.clone());
        // Tokens are sent as they come; the system would gather them. Where it cannot be told so, it does.
        let _ = stream.set_nodelay(true);
        let stream = TokioIo::new(Taken::new(stream, patience.taking));
        let connection = open.watch(http.serve_connection(stream, service));
        tokio::spawn(async move {
            // What goes wrong is a matter of this client's, who has gone, or was too slow, or sends what is no HTTP.
            let _ = connection.await;
        });
    }
    // Who comes now is turned away, and does not wait for what will not be done.
    drop(listener);
    open.shutdown().await;
}

/// The next client.
async fn accepted(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if has_left(&error) => {}
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Whether a client has left before it was served, which keeps nobody else waiting.
fn has_left(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::pin::Pin;
    use std::sync::mpsc;
    use std::task::{Context, Poll};
    use std::thread;

    use axum::body::{Body, Bytes};
    use axum::routing::get;
    use futures_core::Stream;
    use tokio::runtime::Builder;
    use tokio::sync::oneshot;

    use super::*;

    fn connected(address: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// All that comes until the server closes the connection.
    fn rest(mut stream: &TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("the connection is closed");
        text
    }

    #[test]
    fn who_sends_no_head_is_not_waited_for_and_others_are_answered() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(async { listener(([127, 0, 0, 1], 0).into()) }).unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = oneshot::channel::<()>();
        let clients = thread::spawn(move || {
            let (silent, mut slow) = (connected(address), connected(address));
            slow.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
            assert_eq!((rest(&silent), rest(&slow)), (String::new(), String::new()));
            // Answered, and closed where no other request comes.
            let mut asking = connected(address);
            asking.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
            let answer = rest(&asking);
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
            // One that has sent nothing does not keep the server from ending. It is taken before the next, which has an answer.
            let (open, mut last) = (connected(address), connected(address));
            last.write_all(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").unwrap();
            assert!(rest(&last).ends_with("here"));
            tell.send(()).unwrap();
            assert_eq!(rest(&open), "");
        });
        let router = Router::new().route("/", get(async || "here"));
        let end = async {
            let _ = told.await;
        };
        runtime.block_on(serve(listener, router, SHORT, end));
        clients.join().unwrap();
    }

    const SHORT: Patience = Patience { head: Duration::from_millis(300), taking: Duration::from_millis(300) };

    /// An answer without end, and who is told when it is given up.
    struct Endless(mpsc::Sender<()>);

    impl Stream for Endless {
        type Item = io::Result<Bytes>;
        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(Some(Ok(Bytes::from_static(&[b'x'; 1 << 16]))))
        }
    }

    impl Drop for Endless {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    #[test]
    fn what_a_client_does_not_take_is_given_up() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(async { listener(([127, 0, 0, 1], 0).into()) }).unwrap();
        let address = listener.local_addr().unwrap();
        let (drop_of, dropped) = mpsc::channel();
        let (tell, told) = oneshot::channel::<()>();
        let client = thread::spawn(move || {
            let mut asking = connected(address);
            asking.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
            dropped.recv_timeout(Duration::from_secs(60)).expect("given up");
            tell.send(()).unwrap();
        });
        let router = Router::new().route(
            "/",
            get(move || {
                let body = Body::from_stream(Endless(drop_of.clone()));
                async { body }
            }),
        );
        let end = async {
            let _ = told.await;
        };
        runtime.block_on(serve(listener, router, SHORT, end));
        client.join().unwrap();
    }
}
