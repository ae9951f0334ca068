#!/usr/bin/env python3
"""Clients that come, ask, read slowly, and leave when they like, for some time; then every answer that
was completed is asked for again, alone: token for token the same. Memory stays flat after a while,
and nothing fails that is not the client's own doing. Afterwards the same with a model whose file was
removed, a cache that is damaged under the server, and a pool that is far too small.

usage: soak.py [--seconds 8] [--clients 12] [--model FILE]    (by hand: --seconds 300 --clients 64 --model SmolLM2...)
"""
import argparse
import contextlib
import http.client
import os
import pathlib
import random
import shutil
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(__file__))
from harness import TINY, TMP, Server, Stream, datas, until

WORDS = "the river ran past a house where nobody had lived since autumn and the door stood open".split()


def rss(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024


def body(r):
    """One of many prompts that share beginnings, greedy or with a seed."""
    about = f"You are clerk number {r.randrange(4)}. " * 10
    messages = [{"role": "system", "content": about}]
    for i in range(r.randrange(3)):
        messages += [{"role": "user", "content": " ".join(random.Random(i).choices(WORDS, k=40))},
                     {"role": "assistant", "content": "Noted."}]
    messages.append({"role": "user", "content": " ".join(r.choices(WORDS, k=r.randrange(3, 60)))})
    how = {"temperature": 0} if r.random() < .5 else {"temperature": .9, "seed": r.randrange(1000), "top_p": .95}
    return {"messages": messages, "max_tokens": r.randrange(1, 60), "logprobs": True, "stream": True} | how


def tokens(lines):
    """The bytes of each token, and how it ended; None: it was an error."""
    got, finish = [], None
    for d in datas(lines):
        if "error" in d:
            return None, d["error"]
        for c in d.get("choices", []):
            finish = c.get("finish_reason") or finish
            got += [tuple(t["bytes"] or []) for t in ((c.get("logprobs") or {}).get("content") or [])]
    return got, finish


class Client(threading.Thread):
    def __init__(self, server, number, end):
        super().__init__(daemon=True)
        self.server, self.random, self.end = server, random.Random(number), end
        self.done, self.left, self.bad = [], 0, []
        self.start()

    def run(self):
        while time.monotonic() < self.end:
            b = body(self.random)
            try:
                self.one(b)
            except (OSError, http.client.HTTPException, AssertionError, ValueError) as e:
                self.bad.append(repr(e))

    def one(self, b):
        s, r = Stream(self.server, "/v1/chat/completions", b), self.random
        with contextlib.closing(s):
            if r.random() < .15:  # leaves before or in the middle of the answer
                if r.random() < .7:
                    s.head()
                    for _ in range(r.randrange(12)):
                        s.line()
                self.left += 1
                return
            status = s.head()
            if status != 200:
                self.bad.append(f"status {status}: {s.response.read()[:300]}")
                return
            lines = []
            for line in s.lines():
                lines.append(line)
                if r.random() < .02:
                    time.sleep(.05)
        got, finish = tokens(lines)
        if got is None or finish is None:
            self.bad.append(f"no end: {finish} {lines[-2:]}")
        else:
            self.done.append((b, got, finish))


def crowd(server, seconds, n_clients):
    """What they completed; asserts that nobody saw an error."""
    end = time.monotonic() + seconds
    clients = [Client(server, i, end) for i in range(n_clients)]
    memory = []
    while time.monotonic() < end:
        time.sleep(min(1, seconds / 20))
        memory.append(rss(server.process.pid))
    for c in clients:
        c.join(120)
        assert not c.is_alive(), "a client still waits for its answer"
    bad = [b for c in clients for b in c.bad]
    assert not bad, (len(bad), bad[:3])
    done = [d for c in clients for d in c.done]
    print(f"{len(done)} answers, {sum(c.left for c in clients)} left early, {len(done) / seconds:.1f} a second", flush=True)
    return done, memory


def alone(server, done, most):
    """Asks again, one by one."""
    sample = random.Random(1).sample(done, min(most, len(done)))
    for b, got, finish in sample:
        s = Stream(server, "/v1/chat/completions", b)
        again, why = tokens(list(s.lines()))
        s.close()
        assert (again, why) == (got, finish), (b, got, again, finish, why)
    print(f"{len(sample)} of them asked again, alone: the same", flush=True)


class Soaked(Server):
    def idle(self):
        e = self.get("/api/v1/status").json["engine"]
        return e["running"] + e["queued"] + e["parked"] == 0


def check_crowd(args):
    with Soaked("-c", 2048, "--kv-memory", .05, model=args.model) as s:
        done, memory = crowd(s, args.seconds, args.clients)
        until(s.idle)
        warm, last = max(memory[:len(memory) // 3]), max(memory[-len(memory) // 3:])
        print(f"resident {warm / 2**20:.0f} MiB after a third, {last / 2**20:.0f} MiB in the last", flush=True)
        ledger = min(1024 * len(done), 64 << 20)  # what it may have grown by: it keeps every answer, up to 64 MiB
        if args.seconds >= 60:
            assert last <= 1.05 * warm + ledger, (warm, last, ledger)
    with Soaked("-c", 2048, "--no-disk-cache", model=args.model) as s:
        alone(s, done, 40 + int(args.seconds))


def check_faults(args):
    """Meanwhile the model's file is removed, and the cache on the disk damaged."""
    model = TMP / "gone.gguf"
    shutil.copy(args.model, model)
    with Soaked("-c", 2048, "--kv-memory", .01 if args.model == TINY else .06, model=str(model)) as s:
        r = random.Random(5)

        def harm():
            time.sleep(args.seconds / 8)
            model.unlink()
            for _ in range(10):
                time.sleep(args.seconds / 30)
                for f in (TMP / "home/.cache/holdfast").glob("kv-*.seg"):
                    with contextlib.suppress(OSError), open(f, "r+b") as x:
                        x.seek(r.randrange(f.stat().st_size))
                        x.write(b"?")

        worker = threading.Thread(target=harm)
        worker.start()
        done, _ = crowd(s, args.seconds / 2, args.clients)
        worker.join()
        until(s.idle)
    with Soaked("-c", 2048, "--no-disk-cache", model=args.model) as s:
        alone(s, done, 20 + int(args.seconds))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--seconds", type=float, default=8)
    p.add_argument("--clients", type=int, default=12)
    p.add_argument("--model", default=TINY)
    args = p.parse_args()
    for check in (check_crowd, check_faults):
        begin = time.monotonic()
        check(args)
        print(f"ok {check.__name__} ({time.monotonic() - begin:.1f} s)", flush=True)


main()
