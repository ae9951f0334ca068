#!/usr/bin/env python3
"""Anthropic's Messages API from end to end: raw requests of the shapes that agents send, and the
official client where it is installed (build/venv). HOLDFAST_URL tests a server that runs already.
"""
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("HOLDFAST_BUILD", ROOT / "build"))
TOOL = {"name": "read", "description": "Reads a file.", "cache_control": {"type": "ephemeral"},
        "input_schema": {"type": "object", "properties": {"path": {"type": "string", "maxLength": 8}},
                         "required": ["path"], "additionalProperties": False}}


def start():
    """A server on a tiny model, or None when this build has no such verb."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    model = ROOT / "tests/vectors/models/qwen3.gguf"
    server = subprocess.Popen([BUILD / "holdfast", "serve", "-m", model, "--port", str(port)],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while server.poll() is None:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return server, f"http://127.0.0.1:{port}"
        time.sleep(0.1)
    return None, None


def post(url, body, path="/v1/messages?beta=true"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url + path, data, headers)) as r:
            return r.status, r.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def ask(url, **body):
    body = {"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": "Hi"}]} | body
    status, text = post(url, body)
    assert status == 200, (status, text)
    return text if body.get("stream") else json.loads(text)


def events(text):
    found = re.findall(r"event: (\w+)\ndata: (.*)\n\n", text)
    for name, data in found:
        assert json.loads(data)["type"] == name
    return [json.loads(data) for _, data in found]


def whole_and_stream(url):
    whole = ask(url, temperature=0)
    assert whole["type"] == "message" and whole["stop_reason"] in ("max_tokens", "end_turn")
    assert whole["usage"]["output_tokens"] > 0
    all_events = events(ask(url, temperature=0, stream=True))
    types = [e["type"] for e in all_events]
    assert types[0] == "message_start" and types[-2:] == ["message_delta", "message_stop"], types
    used = all_events[-2]["usage"]
    old = whole["usage"]
    assert used["input_tokens"] + used["cache_read_input_tokens"] == \
        old["input_tokens"] + old["cache_read_input_tokens"]
    text = "".join(e["delta"].get("text", "") for e in all_events if e["type"] == "content_block_delta")
    assert text == "".join(b.get("text", "") for b in whole["content"])


def tools(url):
    for choice in ({"type": "any"}, {"type": "tool", "name": "read"}):
        m = ask(url, tools=[TOOL], tool_choice=choice, max_tokens=200)
        call = [b for b in m["content"] if b["type"] == "tool_use"][0]
        assert call["id"] and call["name"] == "read", m
        if m["stop_reason"] == "tool_use":
            assert isinstance(call["input"]["path"], str)
    cut = ask(url, tools=[TOOL], tool_choice={"type": "any"}, max_tokens=2)
    assert cut["stop_reason"] == "max_tokens", cut
    streamed = events(ask(url, tools=[TOOL], tool_choice={"type": "any"}, max_tokens=200, stream=True))
    pieces = [e["delta"]["partial_json"] for e in streamed
              if e["type"] == "content_block_delta" and e["delta"]["type"] == "input_json_delta"]
    if streamed[-2]["delta"]["stop_reason"] == "tool_use":
        assert "path" in json.loads("".join(pieces))


def history(url):
    """Claude Code's second request: late system message, thinking, call, result, image, new names."""
    ask(url, system=[{"type": "text", "text": "Be short.", "cache_control": {"type": "ephemeral"}}],
        tools=[TOOL, {"type": "web_search_20250305", "name": "web_search"}],
        thinking={"type": "adaptive"}, output_config={"effort": "medium"},
        context_management={"edits": []}, metadata={"user_id": "u"},
        messages=[{"role": "user", "content": [{"type": "text", "text": "Read a."}]},
                  {"role": "system", "content": "The date is today."},
                  {"role": "assistant", "content": [
                      {"type": "thinking", "thinking": "A file.", "signature": ""},
                      {"type": "tool_use", "id": "t1", "name": "read", "input": {"odd": "{\"pa"}},
                      {"type": "tool_use", "id": "t2", "name": "gone", "input": {}}]},
                  {"role": "user", "content": [
                      {"type": "tool_result", "tool_use_id": "t1", "content": "text"},
                      {"type": "tool_result", "tool_use_id": "t2", "is_error": True, "content": [
                          {"type": "text", "text": "no"},
                          {"type": "image", "source": {"type": "base64", "data": "aGk="}}]},
                      {"type": "from_the_future"}, {"type": "text", "text": "Go on."}]}])


def count(url):
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    status, text = post(url, body, "/v1/messages/count_tokens")
    assert status == 200, text
    used = ask(url)["usage"]
    assert json.loads(text)["input_tokens"] == used["input_tokens"] + used["cache_read_input_tokens"]


def errors(url):
    bad = [b"", b"[]", b"{", b"{}", b'{"messages": []}', b'{"messages": [{"role": "user"}]}',
           b'{"messages": [{"role": "bot", "content": ""}]}',
           b'{"messages": [{"role": "user", "content": [{"type": "text"}]}]}',
           b'{"messages": [{"role": "user", "content": "a"}], "tool_choice": {"type": "any"}}',
           b'{"messages": [{"role": "user", "content": "a"}], "max_tokens": "many"}']
    for body in bad:
        status, text = post(url, body)
        e = json.loads(text)
        assert status == 400 and e["type"] == "error", (body, status, text)
        assert e["error"]["type"] == "invalid_request_error" and e["error"]["message"], text
    status, text = post(url, {"model": "m", "max_tokens": 1, "messages": [
        {"role": "user", "content": "word and " * 40000}]})
    e = json.loads(text)["error"]
    assert status == 400, text
    assert re.fullmatch(r"prompt is too long: \d+ tokens > \d+ maximum", e["message"]), text
    assert e["n_prompt_tokens"] > e["n_ctx"]


def client(url):
    """The same through PyPI's client, when this interpreter has it."""
    import anthropic
    c = anthropic.Anthropic(base_url=url, api_key="none")
    one = [{"role": "user", "content": "Hi"}]
    assert c.messages.create(model="m", max_tokens=8, messages=one).usage.output_tokens > 0
    with c.messages.stream(model="m", max_tokens=8, messages=one) as s:
        text = "".join(s.text_stream)
        m = s.get_final_message()
    assert m.stop_reason and text == "".join(b.text for b in m.content if b.type == "text")
    m = c.messages.create(model="m", max_tokens=200, messages=one, tools=[TOOL],
                          tool_choice={"type": "any"})
    assert any(b.type == "tool_use" for b in m.content)
    c.messages.create(model="m", max_tokens=2000, messages=one, stop_sequences=["e"],
                      thinking={"type": "enabled", "budget_tokens": 32})
    assert c.messages.count_tokens(model="m", messages=one).input_tokens > 0


def main():
    python = BUILD / "venv/bin/python"
    if python.exists() and os.environ.setdefault("HOLDFAST_IN_VENV", "no") == "no":
        os.environ["HOLDFAST_IN_VENV"] = "yes"
        os.execv(python, [str(python)] + sys.argv)
    server, url = None, os.environ.get("HOLDFAST_URL")
    if not url:
        server, url = start()
    if not url:
        print("this build has no serve verb")
        return 77
    checks = [whole_and_stream, tools, history, count, errors]
    try:
        import anthropic  # noqa: F401
        checks.append(client)
    except ImportError:
        print("the official client is not installed; left out")
    try:
        for check in checks:
            check(url)
            print("ok", check.__name__, flush=True)
    finally:
        if server:
            server.terminate()
            server.wait()
    return 0


sys.exit(main())
