#!/usr/bin/env python3
"""The server's numbers: what concurrency gains, what a long prompt costs a running stream, what HTTP
and the API cost, and how much of an agent loop is computed again.

Each measurement starts a server of its own and prints one line a figure: what, how much, the bound
that issue 5 sets, and whether it holds. --peer runs llama-server beside it on the same file, where
that says something.

usage: bench_serve.py [gaps] [streams] [single] [first-byte] [loop]
           [--model FILE] [--threads 2] [--peer LLAMA_SERVER] [--lock FILE] [--prompt 16384] [--segment 1024] [--depth 0]
"""
import argparse
import contextlib
import fcntl
import json
import os
import pathlib
import random
import socket
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/e2e"))
from harness import HOLDFAST, MODELS, TINY, TMP, Server, Stream, until

failed = []


@contextlib.contextmanager
def quiet(args):
    """Only what is timed holds the machine for itself."""
    if not args.lock:
        yield
        return
    with open(args.lock, "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def figure(what, value, unit, bound=None, most=True):
    ok = bound is None or (value <= bound if most else value >= bound)
    if not ok:
        failed.append(what)
    limit = "" if bound is None else f"   {'<=' if most else '>='} {bound} {'ok' if ok else 'MISSED'}"
    print(f"{what:58} {value:10.2f} {unit}{limit}", flush=True)


class Peer(Server):
    """llama-server, asked in the same way."""

    def __init__(self, binary, model, *args):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.key = None
        self.log = open(TMP / f"peer{time.monotonic_ns()}.log", "w+")
        command = [binary, "-m", model, "--port", self.port, "--no-warmup", "-ctk", "q8_0", "-ctv", "q8_0", "-fa", "on", *args]
        self.process = subprocess.Popen([str(c) for c in command], stdout=self.log, stderr=self.log)
        until(self.is_up, 120)

    def is_up(self):
        with contextlib.suppress(OSError):
            return self.get("/health").status == 200

    def __exit__(self, *_):
        self.stop()


def words(n, seed):
    """n words of English-like text: as many tokens with a trained vocabulary."""
    r = random.Random(seed)
    parts = "the file was read and then the test ran with an error in line of code that we have seen before".split()
    return " ".join(r.choice(parts) for _ in range(n))


def completion(prompt, n, **more):
    return {"prompt": prompt, "n_predict": n, "max_tokens": n, "temperature": 0, "ignore_eos": True, "stream": True} | more


class Reader(threading.Thread):
    """A stream on a thread of its own: when each token came, and the timings at the end."""

    def __init__(self, server, prompt, n, path="/completion"):
        super().__init__(daemon=True)
        self.stream = Stream(server, path, completion(prompt, n))
        self.at, self.timings, self.sent = [], {}, time.monotonic()
        self.start()

    def run(self):
        for line in self.stream.lines():
            now = time.monotonic()
            if not line.startswith("data: {"):
                continue
            data = json.loads(line[6:])
            if data.get("content") or data.get("tokens"):
                self.at.append(now)
            self.timings = data.get("timings", self.timings)
        self.stream.close()


def rate(readers):
    """Tokens per second of all together, while all of them run."""
    begin, end = max(r.at[0] for r in readers), min(r.at[-1] for r in readers)
    n = sum(sum(begin < t <= end for t in r.at) for r in readers)
    return n / (end - begin)


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * p))]


def open_server(args, *more):
    return Server("-t", args.threads, "--no-disk-cache", *more, model=args.model)


# ---- a long prompt beside a running stream ---------------------------------------------------
def sized(server, n, seed):
    """About n tokens, whatever the vocabulary."""
    per_word = len(server.ok("/tokenize", {"content": words(200, seed)})["tokens"]) / 200
    return words(round(n / per_word), seed)


def part_of_prompt(args, server, name, begin, bounds):
    """What computing `segment` tokens at depth `begin` does to a running stream. The tokens before are
    in the cache; the stream's own steps just before and after are what its gaps are counted in."""
    base = sized(server, begin, 1)
    if begin:
        Reader(server, base, 1).join()
    with quiet(args):
        alone = Reader(server, base + " then " + sized(server, args.segment, 2), 1)
        alone.join()
        running = Reader(server, words(100, 3), 3000)
        until(lambda: len(running.at) > 50)
        first = len(running.at)
        beside = Reader(server, base + " next " + sized(server, args.segment, 4), 1)
        beside.join(600)
        last = len(running.at)
        until(lambda: len(running.at) > last + 40)
    running.stream.socket.shutdown(socket.SHUT_RDWR)
    gaps = [b - a for a, b in zip(running.at, running.at[1:])]
    step = statistics.median(gaps[10:first - 1] + gaps[last + 1:])
    during = gaps[first - 1:last - 1]
    share = beside.timings["prompt_per_second"] / alone.timings["prompt_per_second"]
    what = f"gaps: {name} {beside.timings['prompt_n']} tokens at {beside.timings['cache_n']}:"
    figure(f"{what} undisturbed step", step * 1e3, "ms")
    for label, value, bound in (("median", percentile(during, .5), None), ("p99", percentile(during, .99), 2), ("longest", max(during), 4)):
        figure(f"{what} {label} of {len(during)}", value / step, "steps", bound if bounds else None)
    figure(f"{what} prefill keeps of {alone.timings['prompt_per_second']:.0f}/s", share * 100, "%", 30 if bounds else None, most=False)


def gaps(args):
    """At the beginning and at the end of a prompt of args.prompt tokens."""
    begins = sorted({0, max(args.prompt - args.segment, 0)})
    with open_server(args, "-c", args.prompt + 2 * args.segment + 4096) as s:
        for begin in begins:
            part_of_prompt(args, s, "", begin, True)
    if args.peer:
        with Peer(args.peer, args.model, "-t", args.threads, "-np", 2, "-c", 2 * (2 * args.segment + 4096)) as p:
            part_of_prompt(args, p, "llama-server", 0, False)


# ---- concurrent streams ----------------------------------------------------------------------
def measure_streams(args, server, name):
    draw = random.Random(10)
    prompts = [[draw.randrange(300, 3000) for _ in range(max(args.depth, 8))] for _ in range(4)]  # token ids
    for p in prompts:
        Reader(server, p, 1).join()  # into the cache
    one, four = [], []
    with quiet(args):
        for _ in range(args.rounds):
            for count, out in ((1, one), (4, four)):
                readers = [Reader(server, p, 40) for p in prompts[:count]]
                for r in readers:
                    r.join()
                out.append(rate(readers))
    figure(f"streams: {name} one at depth {args.depth}", max(one), "tokens/s")
    figure(f"streams: {name} four", max(four), "tokens/s")
    return max(four) / max(one)


def streams(args):
    with open_server(args, "-c", args.depth + 1024) as s:
        gain = measure_streams(args, s, "holdfast")
    figure(f"streams: four over one, depth {args.depth}", gain, "times", 1.6 if args.depth >= 4096 else 2.2, most=False)
    if args.peer:
        with Peer(args.peer, args.model, "-t", args.threads, "-np", 4, "-c", 4 * (args.depth + 1024)) as p:
            figure("streams: llama-server four over one", measure_streams(args, p, "llama-server"), "times")


# ---- one stream beside the bench -------------------------------------------------------------
def single(args):
    ours, bench = [], []
    command = [HOLDFAST, "bench", "-m", args.model, "-t", args.threads, "-p", 0, "-n", 64, "-r", 1, "-o", "jsonl"]
    with open_server(args) as s, quiet(args):
        for _ in range(args.rounds):
            r = Reader(s, "Hello", 64)
            r.join()
            ours.append(r.timings["predicted_per_second"])
            out = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout
            bench.append(json.loads(out.splitlines()[-1])["avg_ts"])
    figure("single: bench", max(bench), "tokens/s")
    figure("single: one stream of the server", max(ours), "tokens/s")
    figure("single: of bench", max(ours) / max(bench) * 100, "%", 97, most=False)


# ---- what HTTP, template and tokenizer cost --------------------------------------------------
def tools(n):
    one = {"type": "object", "properties": {"path": {"type": "string", "description": words(12, 5)}}, "required": ["path"]}
    return [{"type": "function", "function": {"name": f"tool_{i}", "description": words(20, i), "parameters": one}} for i in range(n)]


def ask_first_bytes(args, s, name, bound):
    messages = [{"role": "system", "content": words(1200, 1)}]
    for i in range(8):
        messages += [{"role": "user", "content": words(80, i)}, {"role": "assistant", "content": words(80, 50 + i)}]
    with quiet(args):
        over, first = [], []
        for i in range(16):
            body = {"messages": messages + [{"role": "user", "content": f"Question {i}?"}], "tools": tools(24), "max_tokens": 2,
                    "stream": True, "temperature": 0, "stream_options": {"include_usage": True}}
            data = json.dumps(body).encode()
            begin = time.monotonic()
            st = Stream(s, "/v1/chat/completions", data)
            st.head()
            head = time.monotonic() - begin
            token, timings, usage = None, {}, {}
            for line in st.lines():
                if not line.startswith("data: {"):
                    continue
                chunk = json.loads(line[6:])
                delta = (chunk["choices"] or [{}])[0].get("delta", {})
                if token is None and (delta.get("content") or delta.get("tool_calls")):
                    token = time.monotonic() - begin
                timings, usage = chunk.get("timings", timings), chunk.get("usage") or usage
            st.close()
            if i and token is not None:
                over.append(token * 1e3 - timings["prompt_ms"])
                first.append(head * 1e3)
        figure(f"first byte: {name} prompt ({len(data)} bytes of request)", usage["prompt_tokens"], "tokens")
        figure(f"first byte: {name} of them cached", usage["prompt_tokens_details"]["cached_tokens"], "tokens")
        figure(f"first byte: {name} headers, median", statistics.median(first), "ms")
        figure(f"first byte: {name} first token less its prefill, least", min(over), "ms")
        figure(f"first byte: {name} first token less its prefill, median", statistics.median(over), "ms", bound)


def first_byte(args):
    with open_server(args) as s:
        ask_first_bytes(args, s, "", 3)
    if args.peer:
        with Peer(args.peer, args.model, "-t", args.threads, "-np", 1, "-c", 8192, "--jinja") as p:
            ask_first_bytes(args, p, "llama-server", None)


# ---- an agent's loop -------------------------------------------------------------------------
class Client:
    """Counts what is really new by the text alone: what stands behind the longest common prefix with
    anything sent or received before."""

    def __init__(self, server):
        self.server, self.seen = server, []
        self.new = self.computed = self.prompt = 0

    def n_tokens(self, text):
        return len(self.server.ok("/tokenize", {"content": text, "parse_special": True})["tokens"])

    def ask(self, messages, functions, n=24):
        text = self.server.ok("/apply-template", {"messages": messages, "tools": functions})["prompt"]
        known = max((len(os.path.commonprefix([text, old])) for old in self.seen), default=0)
        r = self.server.ok("/v1/chat/completions", {"messages": messages, "tools": functions, "max_tokens": n,
                                                    "temperature": 0, "ignore_eos": True})
        message = r["choices"][0]["message"]
        answer = {k: v for k, v in message.items() if v} | {"content": message.get("content") or ""}
        self.seen.append(text + answer["content"])
        self.new += self.n_tokens(text[known:])
        self.computed += r["timings"]["prompt_n"]
        self.prompt += r["timings"]["prompt_n"] + r["timings"]["cache_n"]
        return answer


def agent_loop(server, n_system):
    c = Client(server)
    functions = tools(24)
    system = [{"role": "system", "content": words(n_system, 1)}]
    messages = list(system)
    for i in range(15):
        messages.append({"role": "user", "content": f"Result {i}: {words(60 + 15 * i, 100 + i)}"})
        messages.append(c.ask(messages, functions))
        if i in (5, 10):  # a sub-agent with the same system prompt
            sub = system + [{"role": "user", "content": f"Look into {i}. {words(100, 200 + i)}"}]
            sub.append(c.ask(sub, functions))
            c.ask(sub + [{"role": "user", "content": words(50, 300 + i)}], functions)
    messages[-2]["content"] += " (shortened)"  # an edit just before the last message
    c.ask(messages + [{"role": "user", "content": "And now?"}], functions)
    return c


def loop(args):
    with open_server(args, "-c", 32768, *(["--chat-template-file", args.template] if args.template else [])) as s:
        c = agent_loop(s, args.system)
        figure("loop: prompt tokens sent", c.prompt, "tokens")
        figure("loop: really new", c.new, "tokens")
        figure("loop: computed over really new", c.computed / c.new, "times", 1.05)
    if args.peer:
        more = ["--chat-template-file", args.template] if args.template else []
        with Peer(args.peer, args.model, "-t", args.threads, "-c", 32768, "--jinja", *more) as p:
            c = agent_loop(p, args.system)
            figure("loop: llama-server computed over really new", c.computed / c.new, "times")


MEASUREMENTS = {"gaps": gaps, "streams": streams, "single": single, "first-byte": first_byte, "loop": loop}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", nargs="*", choices=[*MEASUREMENTS, []], default=[])
    p.add_argument("--model", default=str(MODELS / "llama3.2-1b.q4_k_m.gguf"))
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--prompt", type=int, default=16384, help="tokens of the long prompt")
    p.add_argument("--segment", type=int, default=1024, help="tokens at its beginning and end that are timed")
    p.add_argument("--depth", type=int, default=0)
    p.add_argument("--system", type=int, default=5500, help="words of the loop's system prompt")
    p.add_argument("--template", help="chat template of the loop")
    p.add_argument("--peer", help="llama-server")
    p.add_argument("--lock", help="a file to lock while something is timed")
    args = p.parse_args()
    for name in args.what or MEASUREMENTS:
        MEASUREMENTS[name](args)
    subprocess.run(["rm", "-rf", str(TMP)], check=False)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
