#!/usr/bin/env python3
"""The disk cache through the server: kill -9 in the middle of an answer and on it goes, damage and
a full disk cost nothing but the cache, and it can be listed, cleared and switched off."""
import json
import os
import pathlib
import resource
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from harness import MODELS, TINY, TMP, Server, chat, holdfast, long_chat, run, slow_model, until

PAGE = 64
CACHE = TMP / "home/.cache/holdfast"
REAL = MODELS / "SmolLM2-135M-Instruct.Q4_1.gguf"
WORDS = "The cat sat on the mat and looked at the rain while the kettle sang its small song. "


def model():
    return str(REAL) if REAL.exists() else slow_model()


def files():
    return sorted(CACHE.glob("kv-*.seg"))


def conversation(turns):
    """What a client has said, with the answers in between still to come."""
    return [f"{WORDS * 8} Now, question {i}: what did the cat do?" for i in range(turns)]


def talk(server, questions, messages=None, n=40):
    """The questions one by one; returns the conversation and the usage of the last answer."""
    messages = list(messages or [])
    for q in questions:
        messages.append({"role": "user", "content": q})
        r = server.ok("/v1/chat/completions", chat(n=n, messages=messages))
        messages.append({"role": "assistant", "content": r["choices"][0]["message"]["content"]})
    return messages, r["usage"]


def recomputed(usage):
    return usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"]


def kill_in_mid_answer(path, questions, least, more=()):
    """The server dies in the middle of the answer to the last question; another one goes on."""
    shutil.rmtree(CACHE, ignore_errors=True)
    with Server(*more, model=path) as s:
        history, _ = talk(s, questions[:-1])
        until(lambda: files() and settled())  # the store writes behind the answers, by moments
        body = long_chat(n=2000, messages=history + [{"role": "user", "content": questions[-1]}])
        stream = s.stream("/v1/chat/completions", body)
        lines = [stream.line() for _ in range(60)]
        assert len([l for l in lines if l.startswith("data:")]) > 40, lines
        s.stop(signal.SIGKILL)
        stream.close()
        # the file was being written a moment ago: nothing waits for a close
        with Server(*more, model=path) as again:
            after, usage = talk(again, questions[-1:], history)
        assert usage["prompt_tokens"] > least, usage
        assert recomputed(usage) <= 2 * PAGE, usage
        print("recomputed", recomputed(usage), "of", usage["prompt_tokens"])
    with Server("--no-disk-cache", *more, model=path) as fresh:
        plain, usage = talk(fresh, questions[-1:], history)
        assert usage["prompt_tokens_details"]["cached_tokens"] == 0, usage
    assert plain == after, (plain[-1], after[-1])


def check_kill_in_mid_answer():
    kill_in_mid_answer(model(), conversation(5), 700)


def check_kill_at_8k():
    """With a small model, so that 8K tokens take a second or two."""
    questions = [WORDS * 28 + q for q in conversation(4)]
    kill_in_mid_answer(TINY, questions, 8000, ("-c", 16384))


def check_damage():
    with Server(model=model()) as s:
        first, _ = talk(s, conversation(2))
    for f in files():
        data = bytearray(f.read_bytes())
        for at in range(5000, len(data), 50000):
            data[at] ^= 0x55
        f.write_bytes(data)
    pathlib.Path(CACHE / f"kv-{1:016x}-1.seg").write_bytes(b"HOLDFASTCACHE\0\0\1" + bytes(range(256)) * 9)
    pathlib.Path(CACHE / "kv-notes.txt").write_text("not ours")
    with Server(model=model()) as s:
        again, _ = talk(s, conversation(2))
        assert "damage" in s.text(), s.text()
    assert first == again
    assert (CACHE / "kv-notes.txt").exists()


def settled():
    before = files()[0].stat().st_size
    time.sleep(0.4)
    return files()[0].stat().st_size == before


def check_disk_full():
    shutil.rmtree(CACHE, ignore_errors=True)
    with Server(model=TINY) as s:
        talk(s, conversation(1))
        until(lambda: files() and files()[0].stat().st_size > 1000)
        until(settled)  # its last page is written beside the answer
        resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, (files()[0].stat().st_size + 100, resource.RLIM_INFINITY))
        for i in range(5):
            talk(s, conversation(2 + i)[1:], n=8)
        assert s.text().count("nothing more is stored") == 1, s.text()
        assert s.ok("/v1/chat/completions", chat(n=4))["usage"]["completion_tokens"] == 4
    with Server(model=TINY) as s:  # what fitted is whole
        _, usage = talk(s, conversation(1))
        assert recomputed(usage) <= 2 * PAGE, usage
        assert "damaged" not in s.text()


def check_verbs():
    shutil.rmtree(CACHE, ignore_errors=True)
    with Server("--no-disk-cache", model=TINY) as s:
        talk(s, conversation(1))
    assert not files()
    assert "0 files" in holdfast("cache", "ls").stdout
    with Server(model=TINY) as s:
        talk(s, conversation(1))
    out = holdfast("cache", "ls").stdout
    assert "1 files" in out and " pages" in out and "kv-" in out, out
    assert files()[0].stat().st_mode & 0o777 == 0o600
    with Server(model=TINY) as s:
        talk(s, conversation(1))
        r = holdfast("cache", "clear")
        assert r.returncode == 0 and "removed" in r.stdout, r
        talk(s, conversation(3))  # goes on, in a new file
    assert len(files()) == 1
    assert holdfast("cache").returncode == 1
    assert holdfast("cache", "frobnicate").returncode == 1
    other = TMP / "elsewhere"
    with Server("--disk-cache", other, "--disk-cache-size", "0.001", model=TINY) as s:
        for i in range(4):
            talk(s, conversation(4 + i)[i:], n=8)
    assert 0 < sum(f.stat().st_size for f in other.glob("kv-*.seg")) <= 0.001 * 2**30
    odd = other.rename(TMP / 'else "where" \\ new\nline')
    listed = [json.loads(l) for l in holdfast("cache", "ls", "--json", "--disk-cache", odd).stdout.splitlines()]
    assert {l["path"] for l in listed} == {str(f) for f in odd.glob("kv-*.seg")} and all(l["bytes"] and l["pages"] for l in listed), listed


run([check_kill_in_mid_answer, check_kill_at_8k, check_damage, check_disk_full, check_verbs])
