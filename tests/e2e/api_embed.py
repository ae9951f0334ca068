#!/usr/bin/env python3
"""Embeddings through OpenAI's and Ollama's API: the same vector whatever is asked for beside it,
encodings, usage, what is refused; and the official clients."""
import base64
import math
import struct
import threading

from harness import TINY, Server, long_chat, official, run

TEXTS = ["A fox.", "Another fox, and a much longer text about it: " + "it runs and runs. " * 20, "é", "A fox.", "1"] + [f"Text {i}" for i in range(30)]


def embed(texts, **more):
    r = server.ok("/v1/embeddings", {"model": "m", "input": texts} | more)
    assert r["object"] == "list" and [d["index"] for d in r["data"]] == list(range(len(r["data"])))
    return r


def vectors(texts, **more):
    return [d["embedding"] for d in embed(texts, **more)["data"]]


def same_whatever_the_batch():
    alone = [vectors(t)[0] for t in TEXTS]
    for v in alone:
        assert abs(math.sqrt(sum(x * x for x in v)) - 1) < 1e-5
    assert alone[0] == alone[3] and alone[0] != alone[1]
    assert vectors(TEXTS) == alone
    stream = server.stream("/v1/chat/completions", long_chat())  # somebody decodes beside it
    stream.head()
    assert vectors(list(reversed(TEXTS))) == list(reversed(alone))
    stream.close()
    got = {}
    threads = [threading.Thread(target=lambda i=i: got.update({i: vectors(TEXTS[i:])})) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(got[i] == alone[i:] for i in range(4))


def encodings():
    numbers = vectors("A fox.")[0]
    raw = base64.b64decode(vectors("A fox.", encoding_format="base64")[0])
    assert list(struct.unpack(f"<{len(raw) // 4}f", raw)) == numbers
    ids = server.ok("/tokenize", {"content": "A fox.", "add_special": True})["tokens"]
    r = embed([ids, ids])
    assert r["data"][0]["embedding"] == r["data"][1]["embedding"] == numbers
    assert r["usage"] == {"prompt_tokens": 2 * len(ids), "total_tokens": 2 * len(ids)}
    assert embed(ids)["data"][0]["embedding"] == numbers
    assert embed("A fox.", dimensions=len(numbers))["data"][0]["embedding"] == numbers


def ollama_api():
    numbers = vectors("A fox.")[0]
    r = server.ok("/api/embed", {"model": "m", "input": ["A fox.", "A fox."]})
    assert r["embeddings"] == [numbers, numbers] and r["prompt_eval_count"] > 0
    assert server.ok("/api/embed", {"model": "m", "input": "A fox."})["embeddings"] == [numbers]
    assert server.ok("/api/embeddings", {"model": "m", "prompt": "A fox."})["embedding"] == numbers
    long = "word and " * 40000
    r = server.post("/api/embed", {"model": "m", "input": long})
    assert r.status == 400 and r.json["n_prompt_tokens"] > r.json["n_ctx"]
    n_ctx = r.json["n_ctx"]
    assert server.ok("/api/embed", {"model": "m", "input": long, "truncate": True})["prompt_eval_count"] == n_ctx


def refused():
    for wrong in ({}, {"input": 1}, {"input": []}, {"input": [1.5]}, {"input": [[]]}, {"input": ["a", 1]}, {"input": [-1]},
                  {"input": [10 ** 8]}, {"input": "a", "encoding_format": "hex"}, {"input": "a", "dimensions": 3}):
        r = server.post("/v1/embeddings", {"model": "m"} | wrong)
        assert r.status == 400 and r.json["error"]["message"], (wrong, r.status, r.body)
    r = server.post("/v1/embeddings", {"model": "m", "input": "word and " * 40000})
    assert r.status == 400 and r.json["error"]["code"] == "context_length_exceeded"


def clients():
    numbers = vectors("A fox.")[0]
    if openai := official("openai"):  # it asks for base64 unless told otherwise
        c = openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0)
        r = c.embeddings.create(model="m", input=["A fox.", "x"])
        assert list(r.data[0].embedding) == numbers and r.usage.prompt_tokens > 0
    if ollama := official("ollama"):
        c = ollama.Client(host=f"http://127.0.0.1:{server.port}")
        assert list(c.embed(model="m", input="A fox.").embeddings[0]) == numbers


with Server("--parallel", "6", "--ubatch-size", "64", model=TINY) as server:
    run([same_whatever_the_batch, encodings, ollama_api, refused, clients])
