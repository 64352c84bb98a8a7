//! Chromium without a window, told what to do over a pipe: the DevTools protocol, a message of JSON each, ended by a zero byte.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long an answer, or a change of the page, is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one page, ended when this is dropped.
pub(crate) struct Browser {
    process: Child,
    input: ChildStdin,
    answers: Receiver<Value>,
    count: u64,
    /// Of the page; commands without are the browser's.
    session: Option<String>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts a program that is Chromium, with these options, and opens a page.
    pub(crate) fn open(program: &str, options: &[&str], url: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        // The protocol is spoken on the descriptors 3 and 4, which only a shell can make of the usual ones.
        let mut process = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 0</dev/null 1>&2", "sh", program, "--remote-debugging-pipe"])
            .args(options)
            .arg("--window-size=1200,900")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (send, answers) = channel();
        // On a thread of its own, so that a browser that says nothing does not stop the test for good.
        std::thread::spawn(move || {
            for message in output.split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice::<Value>(&message) else { break };
                if send.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser = Browser { process, input, answers, count: 0, session: None, _profile: profile };
        let target = browser.call("Target.createTarget", &json!({"url": url}))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", &json!({"targetId": target, "flatten": true}));
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        browser
    }

    /// What a command answers; its error, if it is one.
    fn answer(&mut self, method: &str, parameters: &Value) -> Result<Value, String> {
        self.count += 1;
        let mut message = json!({"id": self.count, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.input.write_all(&bytes).unwrap();
        self.input.flush().unwrap();
        loop {
            let mut answer = self.answers.recv_timeout(PATIENCE).expect("the browser answers");
            // All others are events.
            if answer["id"] == self.count {
                return match answer["error"].is_null() {
                    true => Ok(answer["result"].take()),
                    false => Err(answer["error"].to_string()),
                };
            }
        }
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.answer(method, parameters).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The value of an expression in the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        self.evaluated(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    fn evaluated(&mut self, expression: &str) -> Result<Value, String> {
        let parameters = json!({"expression": expression, "returnByValue": true});
        let mut found = self.answer("Runtime.evaluate", &parameters)?;
        match found["exceptionDetails"].is_null() {
            true => Ok(found["result"]["value"].take()),
            false => Err(found["exceptionDetails"].to_string()),
        }
    }

    /// Waits until an expression is true; while a page is loaded, most are errors.
    pub(crate) fn until(&mut self, expression: &str) {
        let began = Instant::now();
        loop {
            let found = self.evaluated(expression);
            if found == Ok(Value::Bool(true)) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{expression}: {found:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Presses the mouse's button at the first of some places, and draws through the others.
    pub(crate) fn draw(&mut self, places: &[(f64, f64)]) {
        let mut send = |kind: &str, (x, y): (f64, f64), held: u8| {
            let parameters = json!({
                "type": kind, "x": x, "y": y, "button": "left", "buttons": held, "clickCount": 1, "pointerType": "mouse"
            });
            self.call("Input.dispatchMouseEvent", &parameters);
        };
        let [first, .., last] = places else { panic!("a line has two ends") };
        send("mousePressed", *first, 1);
        for place in &places[1..] {
            send("mouseMoved", *place, 1);
        }
        send("mouseReleased", *last, 0);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
