"""The official client of OpenAI against `cairn serve`: every call that docs/serve.md names, with what has to hold for its answers.

    cargo run --release --features cli,serve --bin cairn -- serve SmolLM2-135M-Instruct.Q4_1.gguf all-MiniLM-L6-v2 &
    python -m venv venv && venv/bin/pip install openai
    venv/bin/python tests/openai_client.py http://127.0.0.1:8080

It ends with 0 and `ok` if all of it holds.
"""

import concurrent.futures
import sys

import openai

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"
client = openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)

models = {model.id: model.kind for model in client.models.list()}
print("models:", models)
chat = next(name for name, kind in models.items() if kind == "chat")
encoder = next((name for name, kind in models.items() if kind == "embedding"), None)
assert client.models.retrieve(chat).id == chat

question = [{"role": "user", "content": "Say hello in one short sentence."}]
whole = client.chat.completions.create(model=chat, messages=question, temperature=0, max_tokens=24)
print("chat:", whole.choices[0].message.content)
assert whole.choices[0].finish_reason in ("stop", "length")
assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens

stream = client.chat.completions.create(
    model=chat, messages=question, temperature=0, max_tokens=24, stream=True, stream_options={"include_usage": True}
)
chunks = list(stream)
text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
assert text == whole.choices[0].message.content, text
assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens

several = [client.chat.completions.create(model=chat, messages=question, n=3, seed=7, max_tokens=12) for _ in range(2)]
texts = [[choice.message.content for choice in answer.choices] for answer in several]
assert texts[0] == texts[1] and len(texts[0]) == 3, texts
assert len(set(texts[0])) > 1 or len(texts[0][0]) < 12, texts

scored = client.chat.completions.create(
    model=chat, messages=question, temperature=0, max_tokens=4, logprobs=True, top_logprobs=3
)
for token in scored.choices[0].logprobs.content:
    assert token.logprob <= 0 and len(token.top_logprobs) == 3 and token.top_logprobs[0].logprob == token.logprob

completion = client.completions.create(model=chat, prompt="One, two, three,", temperature=0, max_tokens=8, logprobs=2)
print("completion:", completion.choices[0].text)
assert len(completion.choices[0].logprobs.tokens) == completion.usage.completion_tokens
stopped = client.completions.create(model=chat, prompt="One, two, three,", temperature=0, max_tokens=40, stop=["ten", "."])
assert "ten" not in stopped.choices[0].text and "." not in stopped.choices[0].text
streamed = client.completions.create(model=chat, prompt="One, two, three,", temperature=0, max_tokens=8, stream=True)
assert "".join(chunk.choices[0].text for chunk in streamed) == completion.choices[0].text

if encoder:
    # The client asks for base64 and turns it into numbers by itself.
    sentences = ["A cat sits on the mat.", "A feline rests on a rug.", "Interest rates were raised."]
    vectors = [item.embedding for item in client.embeddings.create(model=encoder, input=sentences).data]
    plain = client.embeddings.create(model=encoder, input=sentences[0], encoding_format="float").data[0].embedding
    assert max(abs(a - b) for a, b in zip(vectors[0], plain)) < 1e-6
    near, far = (sum(a * b for a, b in zip(vectors[0], other)) for other in vectors[1:])
    print(f"embeddings: {near:.3f} alike, {far:.3f} not")
    assert near > far

for what, wrong in [
    (openai.NotFoundError, lambda: client.chat.completions.create(model="none", messages=question)),
    (openai.BadRequestError, lambda: client.chat.completions.create(model=chat, messages=question, temperature=-1)),
    (openai.BadRequestError, lambda: client.completions.create(model=chat, prompt="word " * 10_000)),
]:
    try:
        wrong()
        raise SystemExit(f"{what.__name__} was expected")
    except what as error:
        assert error.body["message"], error

# A client that leaves in the middle, then many at once.
for chunk in client.chat.completions.create(model=chat, messages=question, max_tokens=400, stream=True):
    break


def count(n):
    prompt = f"The number {n} is"
    answer = client.completions.create(model=chat, prompt=prompt, temperature=0, max_tokens=8)
    return answer.choices[0].text


alone = [count(n) for n in range(8)]
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    assert list(pool.map(count, range(8))) == alone
print("ok")
