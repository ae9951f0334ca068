#!/usr/bin/env python3
"""The HTTP layer of the real server: methods, bodies, limits, slow and vanishing clients, keys,
Host and Origin, sockets, stopping. The APIs' own shapes are tested beside them."""
import json
import socket
import threading
import time

from harness import TINY, TMP, Server, Stream, chat, holdfast, long_chat, run, slow_model, until

CHAT = "/v1/chat/completions"
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"


def talk(server, data, wait=20):
    """Sends bytes, reads until the server hangs up or is quiet; what came."""
    with server.socket() as s:
        s.sendall(data)
        return read_all(s, wait)


def read_all(s, wait=20):
    s.settimeout(wait)
    out = b""
    try:
        while part := s.recv(65536):
            out += part
            if out.endswith(b"0\r\n\r\n"):
                break
            s.settimeout(1)
    except (TimeoutError, ConnectionResetError):
        pass
    return out


def error(reply, status):
    assert reply.status == status, (reply.status, reply.body[:500])
    e = reply.json["error"]
    assert e["message"] and e["type"], e
    return e


def keep_alive_and_pipelining(s):
    body = json.dumps(chat()).encode()
    one = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with s.socket() as c:
        for _ in range(3):
            c.sendall(one)
            assert b"200 OK" in c.recv(65536)
    both = talk(s, one + b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert both.count(b"HTTP/1.1 200") == 2, both
    old = talk(s, b"GET /health HTTP/1.0\r\n\r\n")
    assert b" 200 " in old.split(b"\r\n")[0], old


def methods_and_paths(s):
    root = s.request("HEAD", "/")
    assert root.status == 200 and root.body == b"", root.status
    assert s.get("/").status == 200 and s.request("HEAD", "/health").status == 200
    wrong = s.get(CHAT)
    assert "POST" in error(wrong, 405)["message"] and wrong.headers["Allow"] == "POST"
    put = s.request("PUT", "/api/v1/requests/x")
    error(put, 405)
    assert put.headers["Allow"] == "GET, DELETE", put.headers["Allow"]
    assert "/v1/nothing" in error(s.post("/v1/nothing", {}), 404)["message"]
    error(s.request("GET", "/v1/../etc/passwd"), 404)
    error(s.request("BREW", "/v1/models"), 405)
    assert s.get("/v1/models").headers["x-request-id"].startswith("req_")


def bodies(s):
    body = json.dumps(chat()).encode()
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 7]), body[i:i + 7]) for i in range(0, len(body), 7))
    chunked = talk(s, POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n")
    assert b" 200 OK" in chunked, chunked
    expect = talk(s, POST + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert b" 200 OK" in expect, expect
    for bad in (b"", b"{", b"[]", b'"text"', b"\xff\xfe", b'{"messages": "\xff"}', b'{"messages": [}', b"{}",
                b'{"messages": [{"role": "user", "content": "\\ud800"}]}', b"[" * 100000, b'{"a":' * 5000 + b"1" + b"}" * 5000,
                b'{"model": "m", "messages": [{"role": "user", "content": "a"}], "max_tokens": 1e999}'):
        error(s.post(CHAT, bad), 400)
    assert s.post(CHAT, b'{"messages": [{"role": "user", "content": "a\\u0000b"}], "max_tokens": 1}').status in (200, 400)
    assert s.chat()["choices"]


def too_large(s):
    told = talk(s, POST + b"Content-Length: 99999999999\r\n\r\n")
    assert b" 413 " in told.split(b"\r\n")[0], told
    with s.socket() as c:  # one that does not say
        c.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        piece = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
        try:
            for _ in range(70):
                c.sendall(piece)
            c.sendall(b"0\r\n\r\n")
        except OSError:
            pass
        assert b" 413 " in read_all(c).split(b"\r\n")[0]
    for headers in (b"X: " + b"a" * 200000, b"\r\n".join(b"X%d: y" % i for i in range(20000))):
        refused = talk(s, b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n\r\n")
        assert refused == b"" or refused.split(b" ")[1] in (b"431", b"400", b"413"), refused[:300]
    line = talk(s, b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert line == b"" or line.split(b" ")[1] in (b"414", b"431", b"404", b"400"), line[:300]
    assert s.get("/health").status == 200


def host_and_origin(s):
    for host, status in (("localhost", 200), ("127.0.0.1:1", 200), ("[::1]:80", 200), ("evil.example", 403),
                         ("127.0.0.1.evil.example", 403), ("friend.example", 200), ("localhost.evil.example:80", 403)):
        assert s.get("/v1/models", Host=host).status == status, host
    for origin, status in (("https://evil.example", 403), ("null", 403), ("https://app.example", 200),
                           (f"http://localhost:{s.port}", 200)):
        got = s.get("/v1/models", Origin=origin, Host=f"localhost:{s.port}")
        assert got.status == status, (origin, got.status)
        assert got.headers["Access-Control-Allow-Origin"] == (origin if status == 200 else None)
    pre = s.request("OPTIONS", CHAT, headers={"Origin": "https://app.example", "Access-Control-Request-Method": "POST"})
    assert pre.status == 204 and "POST" in pre.headers["Access-Control-Allow-Methods"]
    assert s.request("OPTIONS", CHAT, headers={"Origin": "https://evil.example"}).status == 403


def wire():
    with Server("--allow-host", "friend.example", "--allow-origin", "https://app.example") as s:
        for check in (keep_alive_and_pipelining, methods_and_paths, bodies, too_large, host_and_origin):
            check(s)


def slow_senders_and_crowds():
    """A request has to arrive whole in time; idle connections make room for new ones."""
    with Server("--request-timeout", "3", "--max-connections", "4") as s:
        start = time.monotonic()
        with s.socket() as c:
            try:
                for byte in POST * 3:
                    c.sendall(bytes([byte]))
                    time.sleep(0.25)
            except OSError:
                pass
        assert 2 < time.monotonic() - start < 10
        idle = [s.socket() for _ in range(4)]
        assert error(s.get("/v1/models"), 503)["message"] == "there are too many connections"
        time.sleep(1.1)
        assert s.get("/health").status == 200 and s.get("/health").status == 200
        for c in idle:
            c.close()


def slow_reader():
    """Who reads a byte a second holds nobody up, and is hung up on when a piece stays too long."""
    with Server("--request-timeout", "3", model=TINY) as s:
        c = socket.socket()
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.connect(("127.0.0.1", s.port))
        body = json.dumps(long_chat(logprobs=True, top_logprobs=20)).encode()
        c.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert c.recv(1)
        assert s.chat()["choices"]
        until(lambda: any("client=gone" in l for l in s.lines("request")), 30)
        c.close()


def disconnect(path, body):
    with Server("--keep-alive", "1", model=slow_model()) as s:
        st = s.stream(path, body)
        for _, line in zip(range(6), st.lines()):
            assert "error" not in line, line
        assert s.requests()[0]["state"] == "running" and s.get("/slots").json
        st.close()
        start = time.monotonic()
        until(lambda: s.requests()[0]["state"] != "running", 5)
        assert time.monotonic() - start < 2
        r = s.requests()[0]
        assert r["state"] == "cancelled" and 0 < r["generated_tokens"] < 1000, r
        assert not s.get("/slots").json and s.get("/api/v1/status").json["engine"]["cancelled"] == 1
        body = body | {"stream": False, "max_tokens": 2}
        usage = s.ok(path, body)["usage"]
        cached = usage.get("cache_read_input_tokens") or usage["prompt_tokens_details"]["cached_tokens"]
        total = usage.get("prompt_tokens") or usage["input_tokens"] + cached
        assert cached >= total - 1, usage


def gone_in_mid_answer():
    """The request is cancelled within a step and what it has read stays cached."""
    disconnect(CHAT, long_chat("Tell a long story. " * 20))
    disconnect("/v1/messages", long_chat("Tell a long story. " * 20))


def gone_in_the_prompt():
    with Server("-ub", "64", model=slow_model()) as s:
        body = long_chat("word " * 1200)
        st = s.stream(CHAT, body)
        assert st.head() == 200, st.response.read()
        until(lambda: s.requests()[0]["progress"]["done"] > 200)
        st.close()
        until(lambda: s.requests()[0]["state"] == "cancelled", 5)
        st = s.stream(CHAT, body)
        st.head()
        kept = until(lambda: s.requests()[0]["progress"]["cached"])
        assert kept >= 64, kept
        st.close()
        waiting = s.socket()  # not streamed: nothing is written until the end
        data = json.dumps(body | {"stream": False}).encode()
        waiting.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(data) + data)
        until(lambda: s.requests()[0]["state"] == "running")
        waiting.close()
        until(lambda: s.requests()[0]["state"] == "cancelled", 5)


def queued():
    """Headers at once, then signs of life in the form that each API's clients count."""
    with Server("-np", "1", "--keep-alive", "1", model=slow_model()) as s:
        first = s.stream(CHAT, long_chat())
        first.head()
        until(lambda: s.get("/api/v1/status").json["engine"]["running"])
        for path, sign in ((CHAT, ": "), ("/v1/messages", "event: content_block_delta")):
            start = time.monotonic()
            second = s.stream(path, long_chat("Wait for your turn."))
            assert second.head() == 200 and time.monotonic() - start < 1
            seen = []
            for line in second.lines():
                seen.append(line)
                if len([l for l in seen if l.startswith(sign)]) == 2:
                    break
            assert time.monotonic() - start < 8, seen
            assert s.get("/api/v1/status").json["engine"]["queued"] == 1
            second.close()
        first.close()


KEYS = "# users\nanna:sk-anna-12345\nben:sk-ben-678901\nsk-without-name\n"


def keys():
    path = TMP / "keys"
    path.write_text(KEYS)
    path.chmod(0o600)
    with Server("--api-key-file", path, "--host", "0.0.0.0") as s:
        assert s.get("/health").status == 200
        assert error(s.get("/v1/models"), 401)["code"] == "invalid_api_key"
        assert s.get("/v1/models").headers["WWW-Authenticate"] == "Bearer"
        wrong = s.post("/v1/messages", chat(), **{"x-api-key": "sk-anna-12346"})
        assert wrong.status == 401 and wrong.json["type"] == "error"
        assert wrong.json["error"]["type"] == "authentication_error"
        error(s.get("/metrics"), 401)
        for header, value in (("Authorization", "Bearer sk-anna-12345"), ("x-api-key", "sk-ben-678901"),
                              ("authorization", "bearer sk-without-name")):
            r = s.post(CHAT, chat(), **{header: value})
            assert r.status == 200, (header, r.body)
        s.key = "sk-anna-12345"
        s.chat()
        used = {k["name"]: k for k in s.get("/api/v1/keys").json["keys"]}
        assert used["anna"]["generated_tokens"] == 16 and used["ben"]["generated_tokens"] == 8, used
        assert used["ben"]["prompt_tokens"] > 0 and used["key3"]["requests"] == 1, used
        assert used["ben"]["cached_tokens"] == 0, "keys do not share a cache"
        assert "sk-" not in json.dumps(used) and "sk-" not in s.text()
        assert "key=anna" in s.text()
        listed = holdfast("ps")  # with a key of its own
        assert str(s.port) in listed.stdout and "does not answer" not in listed.stdout, listed


def refuses_to_start():
    bad = TMP / "bad"
    for words, expected in ((["--host", "0.0.0.0"], "--api-key-file"), (["--host", "::"], "--api-key-file"),
                            (["--api-key-file", TMP / "absent"], "cannot open"), (["--api-key-file", bad], "at least 8"),
                            (["--port", "99999"], "0 to 65535"), (["--host", "no.such.host.invalid"], "no address"),
                            (["--unix-socket", "/absent/x.sock"], "cannot listen"), (["--unix-socket", "/" + "x" * 200], "longer")):
        bad.write_text("a:short\n")
        r = holdfast("serve", "-m", TINY, "--port", "0", *words)
        assert r.returncode == 1 and expected in r.stderr, (words, r)
    with Server() as s:
        r = holdfast("serve", "-m", TINY, "--port", s.port)
        assert r.returncode == 1 and f"port {s.port}" in r.stderr and "in use" in r.stderr, r
        assert s.get("/health").status == 200


def unix_socket():
    path = TMP / "s.sock"
    with Server("--unix-socket", path) as s:
        assert path.stat().st_mode & 0o777 == 0o600
        s.socket = lambda: unix(path)
        answer = talk(s, b"GET /v1/models HTTP/1.1\r\nHost: anything\r\nConnection: close\r\n\r\n")
        assert b" 200 OK" in answer, answer
        second = holdfast("serve", "-m", TINY, "--unix-socket", path)
        assert second.returncode == 1 and "another server" in second.stderr, second
        assert str(path) in holdfast("ps").stdout
        s.process.kill()
        s.process.wait()
    assert path.exists()
    with Server("--unix-socket", path) as s:  # left behind by the one that was killed
        pass
    assert not path.exists()


def unix(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(path))
    return s


def ps_and_stop():
    with Server() as a, Server() as b:
        text = holdfast("ps").stdout
        assert f":{a.port}" in text and f":{b.port}" in text and "qwen3" in text, text
        lines = [json.loads(l) for l in holdfast("ps", "--json").stdout.splitlines()]
        assert {l["pid"] for l in lines} == {a.process.pid, b.process.pid}
        assert holdfast("stop", "--port", a.port).returncode == 0 and a.process.wait(10) == 0
        assert f":{a.port}" not in holdfast("ps").stdout
        b.process.kill()
        b.process.wait()
        assert "no server" in holdfast("ps").stderr and holdfast("stop").returncode == 1


def stops_gracefully():
    """Running answers are finished, those that take longer get an error event; new ones a 503."""
    slow = slow_model()
    for grace, n, finished in ((30, 60, True), (0, 4000, False)):
        with Server("--grace", str(grace), model=slow) as s:
            streams = [s.stream(path, long_chat(f"Story {i}.", n)) for i, path in enumerate([CHAT, "/v1/messages"] * 2)]
            live = Stream(s, "/api/v1/live?ms=60000", {}, "GET")
            assert live.head() == 200
            open_before = s.socket()
            for st in streams:
                assert st.head() == 200, st.response.read()
                st.line()
            until(lambda: s.get("/api/v1/status").json["engine"]["running"] == 4)
            start = time.monotonic()
            s.process.terminate()
            until(lambda: s.lines("stopping"))
            open_before.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert not finished or b" 503 " in open_before.recv(4096)
            texts = ["\n".join(st.lines()) for st in streams]
            for text, chat_api in zip(texts, [True, False] * 2):
                if finished:
                    assert ("[DONE]" if chat_api else "message_stop") in text and "error" not in text, text[-500:]
                else:
                    assert "the server is stopping" in text and "message_stop" not in text, text[-500:]
                    assert chat_api or "event: error" in text
            assert s.process.wait(20) == 0
            assert time.monotonic() - start < (20 if finished else 6)
            open_before.close()
            live.close()


def stops_at_once_with_watchers():
    """Figures that somebody watches, idle connections and a slow reader do not hold it up."""
    with Server() as s:
        live = Stream(s, "/api/v1/live?ms=60000", {}, "GET")
        assert live.head() == 200 and "stats" in live.line()
        idle = s.socket()
        start = time.monotonic()
        assert s.stop() == 0 and time.monotonic() - start < 2
        live.close()
        idle.close()


def many_at_once():
    """More clients than sequences, some leaving: every answer that is whole is the right one."""
    with Server("-np", "4") as s:
        alone = {t: s.chat(t, 24)["choices"] for t in map(str, range(6))}
        wrong = []

        def client(i):
            for k in range(6):
                text = str((i + k) % 6)
                if (i + k) % 4 == 3:
                    st = s.stream(CHAT, long_chat(text))
                    st.head()
                    st.line()
                    st.close()
                elif s.chat(text, 24)["choices"] != alone[text]:
                    wrong.append(text)

        threads = [threading.Thread(target=client, args=(i,)) for i in range(24)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not wrong, wrong
        until(lambda: s.get("/api/v1/status").json["engine"]["running"] == 0, 10)
        assert s.get("/api/v1/status").json["engine"]["failed"] == 0


def main():
    run([wire, slow_senders_and_crowds, slow_reader, gone_in_mid_answer, gone_in_the_prompt, queued, keys, refuses_to_start,
         unix_socket, ps_and_stop, stops_gracefully, stops_at_once_with_watchers, many_at_once])


main()
