"""A crowd against `cairn serve`: many clients at a time, short and long texts, streamed and whole, some that leave in the middle, some that
send nonsense. Each answer has to be what the same request got when it was alone, most have to be answered, and the server may not grow.

    cargo run --release --features cli,serve --bin cairn -- serve SmolLM2-135M-Instruct.Q4_1.gguf all-MiniLM-L6-v2 &
    python tests/load_server.py http://127.0.0.1:8080 --pid $! --seconds 60 --clients 64

Nothing but Python's own library is needed. It ends with 0 and `ok` if all of it holds; with `--pid`, on Linux, resident memory is read after
a first round and after the last. Before both the server is given texts that are longer than all that follow, in each of its rows at once:
the keys and values that it keeps take their memory as texts first become so long, which is no leak, and would look like one.
"""

import argparse
import collections
import http.client
import json
import pathlib
import random
import sys
import threading
import time
import urllib.parse

parser = argparse.ArgumentParser()
parser.add_argument("url", nargs="?", default="http://127.0.0.1:8080")
parser.add_argument("--seconds", type=float, default=60)
parser.add_argument("--clients", type=int, default=64)
parser.add_argument("--pid", type=int, help="the server's process")
parser.add_argument("--rows", type=int, default=8, help="as `--parallel` of the server")
parser.add_argument("--growth", type=float, default=16, help="MiB that it may grow by between the rounds")
arguments = parser.parse_args()
address = urllib.parse.urlparse(arguments.url)


def send(path, body, leave_after=None):
    """Status, and what came: JSON, or the text of a stream. Leaves in the middle of a stream if it is told to."""
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=300)
    try:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", path, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200 or not (isinstance(body, dict) and body.get("stream")):
            return answer.status, json.loads(answer.read() or b"null")
        text, events = "", 0
        for line in answer:
            line = line.decode().strip()
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            for choice in json.loads(line[6:])["choices"]:
                text += choice["text"] if "text" in choice else choice["delta"].get("content") or ""
            events += 1
            if events == leave_after:
                return None, None
        return 200, text
    finally:
        connection.close()


def requests(chat, encoder):
    """What is asked: prompts of 2 to some 800 tokens, texts of 4 to 96, drawn with seeds and greedy."""
    words = "river stone light word house seven green letter morning cloud".split()
    for n in range(24):
        draw = random.Random(n)
        length = [3, 12, 60, 250, 600][n % 5]
        prompt = f"Text {n}: " + " ".join(draw.choice(words) for _ in range(length))
        settings = {"model": chat, "max_tokens": draw.choice([4, 16, 48, 96]), "seed": n, "temperature": draw.choice([0, 0.7])}
        if n % 2:
            yield "/v1/completions", {**settings, "prompt": prompt}
        else:
            yield "/v1/chat/completions", {**settings, "messages": [{"role": "user", "content": prompt}]}
    if encoder:
        for n in range(4):
            yield "/v1/embeddings", {"model": encoder, "input": [f"{words[n]} {words[n + 1]} " * (5 * n + 1), words[n]]}


def content(answer):
    """What must be the same each time."""
    if "choices" not in answer:
        return [item["embedding"] for item in answer["data"]]
    return [choice["text"] if "text" in choice else choice["message"]["content"] for choice in answer["choices"]]


def resident():
    if not arguments.pid:
        return None
    lines = pathlib.Path(f"/proc/{arguments.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


connection = http.client.HTTPConnection(address.hostname, address.port)
connection.request("GET", "/v1/models")
models = {model["id"]: model["kind"] for model in json.loads(connection.getresponse().read())["data"]}
chat = next(name for name, kind in models.items() if kind == "chat")
encoder = next((name for name, kind in models.items() if kind == "embedding"), None)
alone = []
for path, body in requests(chat, encoder):
    status, answer = send(path, body)
    assert status == 200, (status, answer)
    alone.append((path, body, content(answer)))
print(f"{len(alone)} requests answered alone")

counts, wrong, lock = collections.Counter(), [], threading.Lock()


def one(draw):
    path, body, expected = draw.choice(alone)
    kind = draw.random()
    if kind < 0.06:
        nonsense = [
            (path, b'{"model": "' + b"\xff" * 20, 400),
            ("/v1/completions", {"model": chat, "prompt": "word " * 30_000}, 400),
            ("/v1/completions", b"x" * (10 << 20), 413),
        ]
        path, body, expected = draw.choice(nonsense)
        status, answer = send(path, body)
        return "nonsense" if status == expected else f"status {status} in place of {expected}: {answer}"
    if kind < 0.2 and path != "/v1/embeddings":
        send(path, {**body, "stream": True, "max_tokens": 400}, leave_after=draw.randrange(1, 8))
        return "left"
    if kind < 0.5 and path != "/v1/embeddings":
        status, text = send(path, {**body, "stream": True})
        answer = [text]
    else:
        status, answer = send(path, body)
        answer = content(answer) if status == 200 else answer
    if status == 429:
        time.sleep(0.5)
        return "told to come again"
    return "answered" if status == 200 and answer == expected else f"{path} {status}: {str(answer)[:200]} in place of {str(expected)[:200]}"


def client(number, until):
    draw = random.Random(number)
    while time.monotonic() < until:
        try:
            result = one(draw)
        # A body that is refused may be refused before it is read to its end.
        except (BrokenPipeError, ConnectionResetError):
            result = "cut off"
        except Exception as error:
            result = f"{type(error).__name__}: {error}"
        with lock:
            known = result in ("nonsense", "left", "told to come again", "answered", "cut off")
            counts[result if known else "wrong"] += 1
            if not known:
                wrong.append(result)


def round_of(seconds):
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=client, args=(number, until)) for number in range(arguments.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return resident()


def fill():
    """A text of some 1,400 tokens in each row: none of the crowd's is as long; and what is refused for its length, of all at once."""
    words = "river stone light word house seven green letter morning cloud".split()

    def one(n):
        draw = random.Random(1000 + n)
        prompt = f"{n} " + " ".join(draw.choice(words) for _ in range(1300))
        status, answer = send("/v1/completions", {"model": chat, "prompt": prompt, "max_tokens": 64})
        assert status == 200 and answer["usage"]["prompt_tokens"] >= 1300, (status, answer)

    def too_long(_):
        assert send("/v1/completions", {"model": chat, "prompt": "word " * 30_000})[0] in (400, 429)

    for task, count in [(one, 2 * arguments.rows), (too_long, arguments.clients)]:
        threads = [threading.Thread(target=task, args=(n,)) for n in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


fill()
before = round_of(min(15, arguments.seconds))
after = round_of(arguments.seconds)
print(dict(counts))
for path, body, expected in alone:
    status, answer = send(path, body)
    assert status == 200 and content(answer) == expected, (path, status)
if wrong:
    sys.exit("\n".join([f"{len(wrong)} answers are wrong"] + wrong[:5]))
# A server that turns all away has no wrong answers either.
waited = counts["answered"] + counts["told to come again"] + counts["cut off"]
assert 2 * counts["answered"] > waited and counts["answered"] >= min(arguments.clients, arguments.seconds), "too few were answered"
for kind in ["nonsense", "left"]:
    assert counts[kind] > 0, f"no client was of the kind: {kind}"
if before:
    print(f"resident memory after the first round {before:.1f} MiB, after the last {after:.1f} MiB")
    assert after - before <= arguments.growth, "the server has grown"
print("ok")
