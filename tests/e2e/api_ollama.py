#!/usr/bin/env python3
"""Ollama's API: lines of JSON, tools, formats, options, thinking, images, lists of models; and the
official client."""
import base64
import json

from harness import TINY, Server, official, run, thinking_template

READ = {"type": "function", "function": {"name": "read", "description": "Reads a file.", "parameters": {
    "type": "object", "properties": {"path": {"type": "string", "maxLength": 8}}, "required": ["path"],
    "additionalProperties": False}}}
PNG = base64.b64encode(b"\x89PNG").decode()


def chat(said="Hi", n=8, **more):
    options = {"num_predict": n, "temperature": 0, "seed": 7} | more.pop("options", {})
    return {"model": "m:latest", "messages": [{"role": "user", "content": said}], "options": options} | more


def lines(path, body):
    s = server.stream(path, body)
    assert s.head() == 200
    assert s.response.headers["Content-Type"] == "application/x-ndjson"
    found = [json.loads(l) for l in s.lines()]
    s.close()
    assert [l["done"] for l in found] == [False] * (len(found) - 1) + [True]
    return found


def whole_and_stream():
    one = server.ok("/api/chat", chat(stream=False))
    assert one["done"] and one["done_reason"] == "length" and one["eval_count"] == 8, one
    assert one["prompt_eval_count"] > 0 and one["message"]["role"] == "assistant"
    found = lines("/api/chat", chat())  # a stream unless it says no
    for key in ("content", "thinking"):
        assert "".join(l["message"].get(key, "") for l in found) == one["message"].get(key, "")
    last = found[-1]
    assert last["done_reason"] == "length" and last["eval_count"] == 8 and last["total_duration"] > 0
    said = {"model": "m", "prompt": "Hi", "options": {"num_predict": 8, "temperature": 0, "seed": 7}}
    one = server.ok("/api/generate", said | {"stream": False})
    assert one["eval_count"] == 8 and "message" not in one
    assert "".join(l["response"] for l in lines("/api/generate", said)) == one["response"]
    raw = server.ok("/api/generate", said | {"stream": False, "raw": True, "system": "no"})
    assert raw["prompt_eval_count"] < one["prompt_eval_count"] and raw["response"]


def think():
    thinking = [m for m in (server.ok("/api/chat", chat("<think>", 40, stream=False, think=t, options={"seed": s})) for t in (True, "low")
                            for s in (1, 2)) if m["message"].get("thinking")]
    for m in thinking:
        assert "<think>" not in m["message"]["content"]
    assert server.post("/api/chat", chat(think="very")).status == 400


def formats():
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
    one = server.ok("/api/chat", chat(n=60, format=schema, stream=False, think="none"))
    assert json.loads(one["message"]["content"])["n"] in (1, 2), one
    assert one["done_reason"] == "stop"
    one = server.ok("/api/generate", {"model": "m", "prompt": "x", "format": "json", "stream": False, "think": "none",
                                      "options": {"num_predict": 4}})
    assert one["response"].lstrip()[:1] in "{[\"-0123456789tfn", one
    one = server.ok("/api/chat", chat(n=40, stream=False, options={"stop": [" "], "top_k": 5, "repeat_last_n": 4, "num_ctx": 9}))
    assert " " not in one["message"]["content"]


def tools():
    history = [{"role": "user", "content": "Read a."},
               {"role": "assistant", "content": "", "thinking": "Hm.", "tool_calls": [
                   {"function": {"name": "read", "arguments": {"path": "a"}}}, {"function": {"name": "gone", "arguments": "{\"x"}}]},
               {"role": "tool", "tool_name": "gone", "content": "no"}, {"role": "tool", "content": "text"}]
    one = server.ok("/api/chat", chat(messages=history, tools=[READ], stream=False, n=4))
    assert one["prompt_eval_count"] > 20
    forced = chat(tools=[READ], tool_choice="required", think="none", n=200)
    one = server.ok("/api/chat", forced | {"stream": False})
    streamed = [c for l in lines("/api/chat", forced) for c in l["message"].get("tool_calls", [])]
    for calls in (one["message"]["tool_calls"], streamed):
        assert calls[0]["id"] and calls[0]["function"]["name"] == "read", calls
        assert isinstance(calls[0]["function"]["arguments"]["path"], str), calls
    cut = server.ok("/api/chat", chat(tools=[READ], tool_choice="required", think="none", n=30, stream=False))
    assert cut["done_reason"] == "length", cut


def media():
    now = server.post("/api/chat", chat(messages=[{"role": "user", "content": "What?", "images": [PNG]}]))
    assert now.status == 400 and "text only" in now.json["error"], now.body
    assert server.post("/api/generate", {"model": "m", "prompt": "What?", "images": [PNG]}).status == 400
    server.ok("/api/chat", chat(n=2, stream=False, messages=[{"role": "user", "content": "What?", "images": [PNG]}, {"role": "assistant", "content": "?"},
                                                             {"role": "user", "content": "Go on."}]))


def models():
    tags = server.get("/api/tags").json["models"]
    assert [m["name"] for m in tags] == ["qwen3"] and tags[0]["size"] > 0 and tags[0]["details"]["family"] == "qwen3"
    show = server.ok("/api/show", {"model": "qwen3:latest"})
    assert "completion" in show["capabilities"] and show["model_info"]["general.architecture"] == "qwen3"
    assert show["model_info"]["qwen3.context_length"] > 0
    running = server.get("/api/ps").json["models"]
    assert running[0]["context_length"] > 0 and running[0]["expires_at"]
    assert server.get("/api/version").json["version"].count(".") == 2
    assert server.ok("/api/chat", {"model": "m", "messages": []})["done_reason"] == "load"
    assert server.ok("/api/generate", {"model": "m"})["done_reason"] == "load"


def logprobs():
    one = server.ok("/api/chat", chat(n=4, stream=False, logprobs=True, top_logprobs=2))
    assert len(one["logprobs"]) == 4 and len(one["logprobs"][0]["top_logprobs"]) == 2
    found = lines("/api/chat", chat(n=4, logprobs=True, top_logprobs=2))
    assert sum(len(l.get("logprobs", [])) for l in found) == 4


def refused():
    for path, body in (("/api/chat", {"messages": 1}), ("/api/chat", {"messages": [1]}), ("/api/chat", chat(options={"temperature": "hot"})),
                       ("/api/chat", chat(format="xml")), ("/api/chat", chat(tools={})), ("/api/chat", {"options": 1}),
                       ("/api/generate", {"prompt": "x", "context": [1]}), ("/api/generate", {"prompt": "x", "suffix": "y"})):
        r = server.post(path, {"model": "m"} | body)
        assert r.status == 400 and isinstance(r.json["error"], str), (path, body, r.status, r.body)
    r = server.post("/api/chat", chat("word and " * 40000))
    assert r.status == 400 and r.json["n_prompt_tokens"] > r.json["n_ctx"], r.body
    assert "exceeds the available context size" in r.json["error"]


def client():
    """PyPI's client."""
    ollama = official("ollama")
    if not ollama:
        return
    c = ollama.Client(host=f"http://127.0.0.1:{server.port}")
    options = {"num_predict": 8, "temperature": 0, "seed": 7}
    messages = [{"role": "user", "content": "Hi"}]
    whole = c.chat(model="m", messages=messages, options=options)
    parts = list(c.chat(model="m", messages=messages, options=options, stream=True))
    assert "".join(p.message.content or "" for p in parts) == whole.message.content and parts[-1].done
    assert c.generate(model="m", prompt="Hi", options=options).eval_count == 8
    assert c.list().models[0].model == "qwen3" and c.show("qwen3").capabilities and c.ps().models


with Server("--chat-template-file", thinking_template(), model=TINY) as server:
    run([whole_and_stream, think, formats, tools, media, models, logprobs, refused, client])
