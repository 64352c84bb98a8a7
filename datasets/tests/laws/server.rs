//! A small HTTP server that misbehaves on demand.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What a request asked for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// First byte asked for, if a range was.
    pub(crate) from: Option<usize>,
    /// Who asks.
    pub(crate) authorization: Option<String>,
}

/// How to answer one request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// The file, or the range asked for.
    Whole,
    /// The whole file with status 200 even if a range was asked for.
    IgnoreRange,
    /// So many bytes of what was asked for, then the connection breaks.
    Break(usize),
    /// A complete answer whose `Content-Length` is honest, but the file is cut or lengthened to this.
    Length(usize),
    /// Without `Content-Length`, ended by closing the connection, cut or lengthened to this.
    Unannounced(usize),
    /// The file with one byte changed.
    Corrupt,
    /// A range that begins elsewhere than asked.
    WrongRange,
    /// A status without a body.
    Status(u16),
    /// A redirection.
    Redirect(String),
    /// So many bytes, then silence while the connection stays open.
    Stall(usize),
    /// The file in pieces with pauses between them.
    Slow(usize, Duration),
    /// Something that is not HTTP.
    Garbage,
}

/// Serves one file; the script says how to answer the first request, the second, and so on; the last answer repeats.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves many files, by their paths; what is not among them is answered with 404.
    pub(crate) fn of_files(files: Vec<(String, Answer, Vec<u8>)>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, stopped) = (Arc::clone(&requests), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let Some(request) = read_request(&stream) else { continue };
                let file = files.iter().find(|(path, ..)| *path == request.path);
                let (answer, body) =
                    file.map_or((&Answer::Status(404), &[][..]), |(_, answer, body)| (answer, body));
                respond(&stream, request, body, answer, &seen, &stopped);
            }
        });
        Server { address, requests, stop, thread: Some(thread) }
    }

    pub(crate) fn start(body: &[u8], script: Vec<Answer>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (body, seen, stopped) = (body.to_vec(), Arc::clone(&requests), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let number = seen.lock().unwrap().len();
                let answer = script[number.min(script.len() - 1)].clone();
                let (body, seen, stopped) = (body.clone(), Arc::clone(&seen), Arc::clone(&stopped));
                let serve = move || serve(&stream, &body, &answer, &seen, &stopped);
                // One connection after the other, except those that would hold up the next.
                if matches!(script.first(), Some(Answer::Stall(_) | Answer::Slow(..))) {
                    thread::spawn(serve);
                } else {
                    serve();
                }
            }
        });
        Server { address, requests, stop, thread: Some(thread) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

fn serve(stream: &TcpStream, body: &[u8], answer: &Answer, seen: &Mutex<Vec<Request>>, stopped: &AtomicBool) {
    if let Some(request) = read_request(stream) {
        respond(stream, request, body, answer, seen, stopped);
    }
}

fn respond(
    mut stream: &TcpStream,
    request: Request,
    body: &[u8],
    answer: &Answer,
    seen: &Mutex<Vec<Request>>,
    stopped: &AtomicBool,
) {
    let from = request.from;
    seen.lock().unwrap().push(request);
    let asked = from.filter(|&from| from < body.len());
    let rest = &body[asked.unwrap_or(0)..];
    let head = match asked {
        Some(from) => {
            format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{}", body.len() - 1, body.len())
        }
        None => "200 OK".to_owned(),
    };
    let full = |head: &str, body: &[u8]| [head_of(head, Some(body.len())), body.to_vec()].concat();
    let bytes = match answer {
        Answer::Whole if from.is_some() && asked.is_none() => full("416 Range Not Satisfiable", b""),
        Answer::Whole => full(&head, rest),
        Answer::IgnoreRange => full("200 OK", body),
        Answer::Break(count) | Answer::Stall(count) => {
            [head_of(&head, Some(rest.len())), rest[..*count].to_vec()].concat()
        }
        Answer::Length(len) => full("200 OK", &resized(body, *len)),
        Answer::Unannounced(len) => [head_of("200 OK", None), resized(body, *len)].concat(),
        Answer::Corrupt => {
            let mut bad = rest.to_vec();
            let middle = bad.len() / 2;
            bad[middle] ^= 1;
            full(&head, &bad)
        }
        Answer::WrongRange => {
            let head =
                format!("206 Partial Content\r\nContent-Range: bytes 0-{}/{}", rest.len() - 1, body.len());
            full(&head, rest)
        }
        Answer::Status(status) => full(&format!("{status} Whatever"), b""),
        Answer::Redirect(to) => full(&format!("302 Found\r\nLocation: {to}"), b""),
        Answer::Slow(..) => head_of(&head, Some(rest.len())),
        Answer::Garbage => b"\x00\x01\x02 not HTTP at all\r\n\r\n".to_vec(),
    };
    // The client may have gone; that is its right.
    let _ = stream.write_all(&bytes);
    match answer {
        Answer::Stall(_) => {
            while !stopped.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(20));
            }
        }
        Answer::Slow(piece, pause) => {
            for piece in rest.chunks(*piece) {
                if stream.write_all(piece).is_err() {
                    return;
                }
                thread::sleep(*pause);
            }
        }
        _ => {}
    }
}

fn head_of(status: &str, length: Option<usize>) -> Vec<u8> {
    let length = length.map_or_else(String::new, |n| format!("Content-Length: {n}\r\n"));
    format!("HTTP/1.1 {status}\r\n{length}Connection: close\r\n\r\n").into_bytes()
}

fn resized(body: &[u8], len: usize) -> Vec<u8> {
    body.iter().copied().cycle().take(len).collect()
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let (mut from, mut authorization) = (None, None);
    for line in lines.take_while(|line| !line.is_empty()) {
        if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().ok();
        }
        if line.to_ascii_lowercase().starts_with("authorization: ") {
            authorization = line.split_once(' ').map(|(_, value)| value.to_owned());
        }
    }
    Some(Request { path, from, authorization })
}
