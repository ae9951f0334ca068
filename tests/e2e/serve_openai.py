#!/usr/bin/env python3
"""The real server over the real wire: OpenAI's chat API streamed and not, cached tokens, the same
answer alone and beside another, a vanished client, and what is refused."""
import concurrent.futures
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

BUILD = pathlib.Path(os.environ.get("HOLDFAST_BUILD", "build"))
MODELS = pathlib.Path(os.environ.get("HOLDFAST_MODELS", pathlib.Path.home() / ".local/share/holdfast/models"))
NAME = "SmolLM2-135M-Instruct.Q4_1"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self):
        self.port = free_port()
        self.process = subprocess.Popen([BUILD / "holdfast", "serve", "-m", NAME, "-c", "2048", "--port", str(self.port)],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(240):
            try:
                self.get("/v1/models")
                return
            except OSError:
                time.sleep(0.25)
        sys.exit("the server did not come up")

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def get(self, path, **headers):
        with urllib.request.urlopen(urllib.request.Request(self.url(path), headers=headers), timeout=60) as r:
            return r.read()

    def post(self, path, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url(path), data=data), timeout=120) as r:
            return r.read()

    def chat(self, text, n=16, **more):
        return {"model": NAME, "messages": [{"role": "user", "content": text}], "max_tokens": n, "temperature": 0, **more}

    def ask(self, text, n=16):
        return json.loads(self.post("/v1/chat/completions", self.chat(text, n)))


def refused(fn, code):
    try:
        fn()
    except urllib.error.HTTPError as e:
        body = json.loads(e.read())
        assert e.code == code, (e.code, body)
        return body["error"]
    raise AssertionError("was not refused")


def check(s):
    alone = s.ask("Name three colours.")
    message = alone["choices"][0]["message"]
    assert message["role"] == "assistant" and message["content"], alone
    again = s.ask("Name three colours.")
    assert again["choices"] == alone["choices"]
    cached = again["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached >= again["usage"]["prompt_tokens"] - 1, again["usage"]

    lines = s.post("/v1/chat/completions", s.chat("Name three colours.", stream=True)).decode().split("\n")
    events = [l[6:] for l in lines if l.startswith("data: ")]
    assert events[-1] == "[DONE]"
    deltas = [json.loads(e)["choices"][0]["delta"].get("content") or "" for e in events[:-1] if json.loads(e)["choices"]]
    assert "".join(deltas) == message["content"]

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        texts = ["Name three colours.", "Count to five.", "What is a fox?", "Say hello."]
        together = [r["choices"][0]["message"] for r in pool.map(s.ask, texts)]
    assert together == [s.ask(t)["choices"][0]["message"] for t in texts]

    with socket.create_connection(("127.0.0.1", s.port)) as c:  # a client that leaves in mid-answer
        body = json.dumps(s.chat("Tell a long story.", 1500, stream=True)).encode()
        c.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        c.recv(200)
    start = time.time()
    s.ask("Say hello.", 4)
    assert time.time() - start < 60

    assert "JSON" in refused(lambda: s.post("/v1/chat/completions", b"{bad"), 400)["message"]
    refused(lambda: s.get("/v1/models", Host="evil.example"), 403)
    refused(lambda: s.post("/v1/nothing", {}), 404)
    long = refused(lambda: s.ask("word " * 4000), 400)
    assert "context" in json.dumps(long), long


def main():
    if not (MODELS / f"{NAME}.gguf").exists():
        print("no SmolLM2 in the models folder (make models)")
        sys.exit(77)
    server = Server()
    try:
        check(server)
    finally:
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(60)
    assert code == 0, server.process.stderr.read().decode()[-2000:]


main()
