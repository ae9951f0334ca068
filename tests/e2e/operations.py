#!/usr/bin/env python3
"""Running a server: its metrics as Prometheus reads them, its log with an id for each request, prompts in
files when asked for; and faults of the machine: no memory, a model's file that goes away or is cut
short under it, a client that takes a byte at a time. (A full disk and a damaged cache: disk_cache.py.)"""
import http.client
import json
import re
import resource
import shutil
import socket
import threading
import time

from harness import TINY, TMP, Server, chat, datas, long_chat, official, run, slow_model, until

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"


def samples(s, parser):
    """{(name, labels): value} as Prometheus' own parser has them, and each family's type."""
    families = list(parser.text_string_to_metric_families(s.get("/metrics").body.decode()))
    assert len({f.name for f in families}) == len(families), "a family appears twice"
    assert all(f.documentation and f.type in ("gauge", "counter", "histogram") for f in families)
    return {(x.name, *sorted(x.labels.items())): x.value for f in families for x in f.samples}


def metrics():
    if not official("prometheus_client"):
        return
    from prometheus_client import parser
    odd = TMP / 'od"d \\ name.gguf'
    shutil.copy(TINY, odd)
    with Server(model=str(odd)) as s:
        of = ("model", odd.stem)
        before = samples(s, parser)
        assert s.get("/metrics").headers["Content-Type"].startswith("text/plain; version=0.0.4")
        used = [s.chat("Count me.", 8, ignore_eos=True)["usage"] for _ in range(3)]
        s.post(CHAT, chat("word " * 60000))
        after = samples(s, parser)
        grown = {k: after[k] - before.get(k, 0) for k in after}
        assert grown["holdfast_model_requests_total", of] == grown["holdfast_model_requests_finished_total", of] == 3, grown
        assert grown["holdfast_model_generated_tokens_total", of] == 24
        assert grown["holdfast_model_prompt_tokens_total", of] == sum(u["prompt_tokens"] for u in used)
        assert grown["holdfast_model_cached_tokens_total", of] == sum(u["prompt_tokens_details"]["cached_tokens"] for u in used) > 0
        assert grown["holdfast_time_to_first_token_seconds_count",] == grown["holdfast_time_to_first_token_seconds_bucket", ("le", "+Inf")] == 3
        assert 0 < grown["holdfast_time_to_first_token_seconds_sum",] < 30
        bounds = sorted((float(k[1][1]), v) for k, v in after.items() if k[0].endswith("_bucket"))
        assert [v for _, v in bounds] == sorted(v for _, v in bounds), "buckets add up"
        assert 0 < after["holdfast_model_kv_used_bytes", of] <= after["holdfast_kv_budget_bytes",]
        assert after["holdfast_resident_bytes",] > 1e6 and after["holdfast_requests_running",] == 0


def fields(line):
    """time, level, event and key=value of a line of the log."""
    m = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (error|warn|info) (\w+)((?: [\w]+=(?:\"[^\"]*\"|\S*))*)", line)
    assert m, line
    return {"event": m[3], "level": m[2]} | dict(re.findall(r"(\w+)=(\"[^\"]*\"|\S*)", m[4]))


def log_lines():
    """One a request, under the id that the client was told; no prompt in any."""
    with Server() as s:
        answers = [s.post(CHAT, chat("Secret heron.", 4)), s.post(MESSAGES, chat("Secret heron.", 4)), s.post(CHAT, {"messages": []}),
                   s.get("/v1/nothing"), s.get("/health"), s.post(CHAT, b"\xff{"), s.get("/v1/models", Host="evil.example")]
        ids = [a.headers["x-request-id"] for a in answers]
        assert len(set(ids)) == len(ids) and all(re.fullmatch(r"req_[0-9a-f]{24}", i) for i in ids), ids
        lines = until(lambda: (l := s.lines("request")) and len(l) == len(ids) and l)
        found = {f["id"]: f for f in map(fields, lines)}
        assert [int(found[i]["status"]) for i in ids] == [a.status for a in answers] == [200, 200, 400, 404, 200, 400, 403]
        assert [found[i]["path"] for i in ids[:4]] == [CHAT, MESSAGES, CHAT, "/v1/nothing"]
        first, second = found[ids[0]], found[ids[1]]
        assert first["model"] == "qwen3" and first["generated"] == "4" and first["finish"] == "length", first
        assert int(second["cached"]) > 0 and float(second["ms"]) > 0 and int(first["out"]) == len(answers[0].body)
        assert {r["id"] for r in s.requests()} == set(ids[:2])
        for line in s.text().splitlines():
            fields(line)
        assert "heron" not in s.text()


def prompts_in_files():
    folder = TMP / "prompts"
    with Server("--log-prompts", folder) as s:
        body = chat("Secret heron.", 4, temperature=1, seed=1) | {"n": 2}
        whole = s.post(CHAT, body)
        gone = s.stream(MESSAGES, long_chat("Goes away."))
        gone.head()
        gone.line()
        gone.close()
        until(lambda: len(list(folder.iterdir())) == 2)
        s.post(CHAT, {"messages": []})  # refused: there is nothing to log
    assert folder.stat().st_mode & 0o777 == 0o700
    files = {f.stem: f for f in folder.glob("*.json")}
    assert len(files) == 2 and all(f.stat().st_mode & 0o777 == 0o600 for f in files.values())
    logged = json.loads(files[whole.headers["x-request-id"]].read_text())
    assert logged["id"] == whole.headers["x-request-id"] and logged["path"] == CHAT and logged["model"] == "qwen3"
    assert json.loads(logged["body"]) == body
    assert logged["answers"] == [c["message"]["content"] for c in whole.json["choices"]], logged
    (TMP / "file").touch()
    try:
        Server("--log-prompts", TMP / "file/below")
        raise SystemExit("a folder that cannot be made was accepted")
    except AssertionError as e:
        assert "cannot create" in str(e)


def no_memory():
    """Requests are refused with a reason while the system gives none, and served again afterwards."""
    with Server("--no-disk-cache", "-c", "32768") as s:
        alone = s.chat("Hi")["choices"]
        size = int(re.search(r"VmSize:\s+(\d+)", open(f"/proc/{s.process.pid}/status").read())[1]) * 1024
        hard = resource.prlimit(s.process.pid, resource.RLIMIT_AS)[1]
        resource.prlimit(s.process.pid, resource.RLIMIT_AS, (size + (24 << 20), hard))
        statuses = []
        for mib in (0.02, 1, 4, 8, 12, 16, 24):
            try:
                r = s.post(CHAT, chat("word " * int(mib * (1 << 20) / 5), 1))
                statuses.append(r.status)
                assert r.status == 200 or r.json["error"]["message"], r.body
            except (OSError, http.client.HTTPException) as e:  # not even a thread for the connection
                statuses.append(type(e).__name__)
        assert 503 in statuses, statuses
        resource.prlimit(s.process.pid, resource.RLIMIT_AS, (hard, hard))
        assert s.chat("Hi")["choices"] == alone and s.process.poll() is None
        print("meanwhile:", statuses)


def model_file_removed():
    """What is loaded goes on; once unloaded it cannot come back, and the error says why."""
    model = TMP / "gone.gguf"
    shutil.copy(TINY, model)
    with Server("--no-disk-cache", model=str(model)) as s:
        alone = s.chat("Hi")["choices"]
        model.unlink()
        assert s.chat("Hi")["choices"] == alone and s.chat("Something else.")["choices"]
        s.ok("/api/v1/models/unload", {"model": "gone"})
        r = s.post(CHAT, chat("Hi"))
        assert r.status == 500 and "gone.gguf" in r.json["error"]["message"] and "No such file" in r.json["error"]["message"], r.body
        shutil.copy(TINY, model)
        assert s.chat("Hi")["choices"] == alone


def model_file_cut_short():
    """A mapped file that shrinks cannot be survived, but it can be named; a copied one can."""
    model = TMP / "cut.gguf"
    for load, survives in (("mmap", False), ("copy", True)):
        shutil.copy(TINY, model)
        with Server("--no-disk-cache", "--load", load, model=str(model)) as s:
            alone = s.chat("Hi")["choices"]
            model.open("r+b").truncate(4096)
            if survives:
                assert s.chat("Hi", cache_prompt=False)["choices"] == alone
                continue
            try:
                s.chat("A text that is not in the cache.")
            except (ConnectionError, OSError):
                pass
            assert s.process.wait(20) == 128 + 7 and "cut short" in s.text(), s.text()
            s.process.returncode = 0  # what was expected


def a_byte_at_a_time():
    """Who reads slowly loses nothing and holds nobody up."""
    with Server("--request-timeout", "20", model=TINY) as s:
        body = json.dumps(chat("Slowly.", 40, stream=True, ignore_eos=True)).encode()
        c = socket.socket()
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        c.connect(("127.0.0.1", s.port))
        c.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        raw, start = bytearray(), time.monotonic()

        def read():
            c.settimeout(30)
            while byte := c.recv(1):
                raw.extend(byte)
                if len(raw) < 40:
                    time.sleep(0.1)  # four seconds for the first line of the headers
                elif len(raw) % 64 == 0:
                    time.sleep(0.01)
        reader = threading.Thread(target=read)
        reader.start()
        for i in range(20):
            assert s.chat(f"Others {i}.")["choices"]
        others = time.monotonic() - start
        reader.join()
        assert time.monotonic() - start > 4 and others < 4, "nobody waited for the slow one"
        text = "".join(d["choices"][0]["delta"].get("content") or "" for d in datas(unchunked(bytes(raw)).decode().split("\n")) if d.get("choices"))
        assert text == s.chat("Slowly.", 40, ignore_eos=True)["choices"][0]["message"]["content"]
        assert raw.endswith(b"0\r\n\r\n")


def unchunked(raw):
    body, out = raw.split(b"\r\n\r\n", 1)[1], b""
    while body:
        size, body = body.split(b"\r\n", 1)
        out, body = out + body[:int(size, 16)], body[int(size, 16) + 2:]
    return out


run([metrics, log_lines, prompts_in_files, no_memory, model_file_removed, model_file_cut_short, a_byte_at_a_time])
