"""What the end-to-end scripts share: a server of their own (free port, its own HOME, so that `ps`
and settings of the user stay out of it), requests, streams, and models made on the spot."""
import atexit
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("HOLDFAST_BUILD", ROOT / "build")).resolve()
HOLDFAST = str(BUILD / "holdfast")
TINY = str(ROOT / "tests/vectors/models/qwen3.gguf")  # thousands of tokens a second
MODELS = pathlib.Path(os.environ.get("HOLDFAST_MODELS", pathlib.Path.home() / ".local/share/holdfast/models"))
TMP = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-e2e."))
atexit.register(shutil.rmtree, TMP, ignore_errors=True)
TOOL = {"type": "object", "properties": {"path": {"type": "string", "maxLength": 8}},
        "required": ["path"], "additionalProperties": False}


def skip(why):
    print(why)
    sys.exit(77)


def official(name):
    """The module of an official client, from build/venv (make clients); None: not installed."""
    for path in (BUILD / "venv/lib").glob("python3*/site-packages"):
        if str(path) not in sys.path:
            sys.path.append(str(path))
    try:
        return __import__(name)
    except ImportError:
        print(f"the official client {name} is not installed (make clients): left out")
        return None


def need_model(name):
    if not (MODELS / f"{name}.gguf").exists():
        skip(f"no {name} in the models folder (make models)")
    return name


def slow_model():
    """Random weights that take about 10 ms a token, so that there is time to act in mid-answer."""
    path = TMP / "slow.gguf"
    if not path.exists():
        subprocess.run([HOLDFAST, "synth", "smollm2-135m", "--type", "q4_0", "-o", path], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return str(path)


def thinking_template():
    """A template that has reasoning and calls, and shows both of earlier turns; with variables of
    its own (tone, open_thinking)."""
    path = TMP / "thinking.jinja"
    path.write_text("""{%- if tools %}<|im_start|>system
{% for t in tools %}{{ t | tojson }}
{% endfor %}<|im_end|>
{% endif %}{%- for m in messages %}<|im_start|>{{ m.role }}
{% if m.reasoning_content %}<think>
{{ m.reasoning_content }}
</think>

{% endif %}{{ m.content or "" }}{% for c in m.tool_calls or [] %}
<tool_call>
{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}{%- if tone %}tone: {{ tone }}{% endif %}{%- if add_generation_prompt %}<|im_start|>assistant
{% if open_thinking %}<think>
{% endif %}{% endif %}""")
    return str(path)


def environment(**more):
    for name in ("run", "home"):
        (TMP / name).mkdir(mode=0o700, exist_ok=True)
    env = dict(os.environ, HOME=str(TMP / "home"), XDG_RUNTIME_DIR=str(TMP / "run"), HOLDFAST_MODELS=str(MODELS))
    env.pop("XDG_CONFIG_HOME", None)
    env.pop("XDG_CACHE_HOME", None)
    return env | more


def holdfast(*args, **more):
    """A verb to its end."""
    return subprocess.run([HOLDFAST, *map(str, args)], capture_output=True, text=True, env=environment(), timeout=120, **more)


class Reply:
    def __init__(self, r):
        self.status, self.headers, self.body = r.status, r.headers, r.read()

    @property
    def json(self):
        return json.loads(self.body)


class Server:
    """with Server("-m", TINY) as s: s.post("/v1/chat/completions", {...})"""

    def __init__(self, *args, model=TINY, env=None):
        self.log = open(TMP / f"server{time.monotonic_ns()}.log", "w+")
        words = ["-m", model] if model else []
        if not any(a in ("--port", "--unix-socket") for a in args):
            words += ["--port", "0"]
        self.command = [HOLDFAST, "serve", *words, *map(str, args)]
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=self.log, env=environment(**(env or {})))
        self.port = 0
        self.key = None
        self.wait_up()

    def wait_up(self):
        for _ in range(1200):
            for line in self.lines("listening"):
                self.port = int(line.rsplit(":", 1)[1]) if "url=" in line else 0
                return
            if self.process.poll() is not None:
                raise AssertionError(f"the server did not start: {self.text()}")
            time.sleep(0.05)
        raise AssertionError("the server did not come up")

    def text(self):
        self.log.flush()
        return pathlib.Path(self.log.name).read_text()

    def lines(self, word):
        return [l for l in self.text().splitlines() if f" {word} " in l]

    def socket(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def request(self, method, path, body=None, headers=None):
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        auth = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        try:
            c.request(method, path, body, auth | (headers or {}))
            return Reply(c.getresponse())
        finally:
            c.close()

    def get(self, path, **headers):
        return self.request("GET", path, headers=headers)

    def post(self, path, body, **headers):
        return self.request("POST", path, body, headers)

    def ok(self, path, body):
        r = self.post(path, body)
        assert r.status == 200, (path, r.status, r.body[:2000])
        return r.json

    def chat(self, text="Hi", n=8, **more):
        return self.ok("/v1/chat/completions", chat(text, n, **more))

    def stream(self, path, body):
        """Sends a request and leaves the socket open: a Stream."""
        return Stream(self, path, body)

    def requests(self):
        return self.get("/api/v1/requests").json["requests"]

    def stop(self, sig=signal.SIGTERM, wait=60):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        code = self.process.wait(wait)
        self.log.close()
        return code

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            print(self.text()[-3000:])
        if self.process.poll() is None:
            code = self.stop()
            assert kind or code == 0, code


class Stream:
    """A streamed answer, read line by line."""

    def __init__(self, server, path, body, method="POST"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.socket = server.socket()
        self.socket.sendall(b"%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
                            % (method.encode(), path.encode(), len(data)) + data)
        self.response = None

    def head(self):
        """Waits for the headers; the status."""
        self.response = http.client.HTTPResponse(self.socket)
        self.response.begin()
        return self.response.status

    def line(self):
        """The next line that is not empty; "" at the end."""
        if not self.response:
            self.head()
        while True:
            raw = self.response.readline()
            if raw.strip() or not raw:
                return raw.decode().rstrip("\r\n")

    def lines(self):
        while line := self.line():
            yield line

    def close(self):
        if self.response:
            self.response.close()  # it holds the socket too
        self.socket.close()


def chat(text="Hi", n=8, **more):
    return {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": n, "temperature": 0} | more


def long_chat(text="Hi", n=4000, **more):
    """One that goes on until somebody stops it."""
    return chat(text, n, stream=True, ignore_eos=True, **more)


def datas(lines):
    """The JSON of the data lines."""
    return [json.loads(l[6:]) for l in lines if l.startswith("data: ") and l != "data: [DONE]"]


def until(what, seconds=30):
    """Waits until what() is true, and gives it back."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if got := what():
            return got
        time.sleep(0.02)
    raise AssertionError(f"still not so after {seconds} s: {what}")


def run(checks):
    """Runs functions by name; words on the command line choose."""
    for check in checks:
        if len(sys.argv) > 1 and check.__name__ not in sys.argv[1:]:
            continue
        start = time.monotonic()
        check()
        print(f"ok {check.__name__} ({time.monotonic() - start:.1f} s)", flush=True)
