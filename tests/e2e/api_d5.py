#!/usr/bin/env python3
"""One test for each thing that matters to agents in an answer (peers.md D5), in every API."""
import json
import threading
import time

from harness import Server, datas, run, slow_model, thinking_template, until

PARAMETERS = {"type": "object", "properties": {"path": {"type": "string", "maxLength": 8}}, "required": ["path"],
              "additionalProperties": False}
FUNCTION = {"name": "read", "description": "Reads a file.", "parameters": PARAMETERS}
SAID = [{"role": "user", "content": "Hi"}]
LONG = "word and " * 900


def bodies(said="Hi", n=8, tools=False, **more):
    """The same request to each API."""
    calm = {"reasoning_effort": "none"}
    messages = [{"role": "user", "content": said}]
    every = {"/v1/chat/completions": {"messages": messages, "max_tokens": n} | calm,
             "/v1/messages": {"messages": messages, "max_tokens": n, "thinking": {"type": "enabled", "budget_tokens": 0}},
             "/v1/responses": {"input": said, "max_output_tokens": n, "reasoning": {"effort": "none"}},
             "/api/chat": {"messages": messages, "think": "none", "options": {"num_predict": n, "seed": 1}}}
    forced = {"/v1/chat/completions": {"tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "required"},
              "/v1/messages": {"tools": [{"name": "read", "input_schema": PARAMETERS}], "tool_choice": {"type": "any"}},
              "/v1/responses": {"tools": [FUNCTION | {"type": "function"}], "tool_choice": "required"},
              "/api/chat": {"tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "required"}}
    return {path: {"model": "m", "seed": 1, "stream": True} | b | (forced[path] if tools else {}) | more for path, b in every.items()}


def lines(s, path, body):
    stream = s.stream(path, body)
    assert stream.head() == 200, (path, stream.response.status)
    found = list(stream.lines())
    stream.close()
    return found


def events(found):
    """Of a stream in either form."""
    return [json.loads(l) for l in found if l.startswith("{")] or datas(found)


def call_ids():
    """Not empty, and unlike each other."""
    for path, body in bodies(n=300, tools=True).items():
        ids = set()
        for seed in (1, 2):
            found = json.dumps(events(lines(tiny, path, body | {"seed": seed})))
            key = '"call_id": "' if "responses" in path else '"id": "'
            mine = {part.split('"')[0] for part in found.split(key)[1:]} - ids
            mine = {i for i in mine if not i.startswith(("chatcmpl", "msg_", "resp_"))}
            assert mine and "" not in mine, (path, found[:2000])
            ids |= mine
        assert len(ids) >= 2, (path, ids)


def index_in_every_delta():
    """And the id and name once, the role first, arguments as pieces of text."""
    body = bodies(n=300, tools=True)["/v1/chat/completions"]
    found = events(lines(tiny, "/v1/chat/completions", body))
    assert found[0]["choices"][0]["delta"]["role"] == "assistant"
    deltas = [d for e in found for c in e["choices"] for d in c["delta"].get("tool_calls", [])]
    assert deltas and all(isinstance(d["index"], int) for d in deltas), deltas
    named = [d for d in deltas if "id" in d]
    assert [d["index"] for d in named] == list(range(len(named))) and all(d["function"]["name"] == "read" for d in named)
    assert all(isinstance(d["function"]["arguments"], str) for d in deltas)
    assert found[-1]["choices"][0]["finish_reason"] in ("tool_calls", "length")


def event_lines():
    """Anthropic's clients read nothing without them; OpenAI's chat has none."""
    for path, body in bodies().items():
        found = [l for l in lines(tiny, path, body) if not l.startswith(":")]
        named = [l for l in found if l.startswith("event: ")]
        if path in ("/v1/messages", "/v1/responses"):
            assert len(named) * 2 == len(found) and found[0] == named[0], (path, found)
            assert [n[7:] for n in named] == [e["type"] for e in datas(found)]
        else:
            assert not named, (path, named)


def done_and_completed():
    """Items end with the item itself (a message with its role), the stream with the response."""
    found = events(lines(tiny, "/v1/responses", bodies()["/v1/responses"]))
    done = [e["item"] for e in found if e["type"] == "response.output_item.done"]
    assert done and done[-1]["type"] == "message" and done[-1]["role"] == "assistant" and done[-1]["content"][0]["text"], done
    assert found[-1]["type"] in ("response.completed", "response.incomplete") and found[-1]["response"]["output"] == done


def error_before_an_early_close():
    last = {}
    with Server("--grace", "0", model=slow_model()) as s:
        def read(path, body):
            stream = s.stream(path, body)
            stream.head()
            started.append(path)
            last[path] = events(list(stream.lines()))[-1]
            stream.close()
        started = []
        threads = [threading.Thread(target=read, args=a) for a in bodies(n=4000, ignore_eos=True).items()]
        for t in threads:
            t.start()
        until(lambda: len(started) == len(threads))
        s.process.terminate()
        for t in threads:
            t.join()
        s.process.wait(60)
    assert last["/v1/chat/completions"]["error"]["message"] == "the server is stopping", last
    assert last["/v1/messages"]["type"] == "error" and last["/v1/messages"]["error"]["message"] == "the server is stopping"
    assert last["/v1/responses"]["type"] == "response.failed" and last["/v1/responses"]["response"]["status"] == "failed"
    assert last["/api/chat"] == {"error": "the server is stopping"}


def overflow():
    """In the words that each agent looks for, with numbers beside them."""
    for path, body in bodies("word and " * 40000).items():
        whole = tiny.post(path, body | {"stream": False})
        assert whole.status == 400, (path, whole.status)
        text = whole.body.decode()
        if path == "/v1/messages":
            assert "prompt is too long: " in text and " maximum" in text
        else:
            assert "maximum context length" in text and "exceeds the available context size" in text
        if path.startswith("/v1/") and path != "/v1/messages":
            assert whole.json["error"]["code"] == "context_length_exceeded"
        assert '"n_prompt_tokens":' in text and '"n_ctx":' in text
        if path != "/v1/responses":
            assert tiny.post(path, body).status == 400
    failed = events(lines(tiny, "/v1/responses", bodies("word and " * 40000)["/v1/responses"]))[-1]
    assert failed["type"] == "response.failed" and failed["response"]["error"]["code"] == "context_length_exceeded"


def long_prefill():
    """Headers at once, then signs of life that the API's clients count."""
    def sign(path, line):
        if path == "/api/chat":
            return '"content":""' in line and '"done":false' in line
        if path == "/v1/messages":
            return line.startswith("data: ") and json.loads(line[6:]).get("delta") == {"type": "text_delta", "text": ""}
        return line == ": alive"
    with Server("--keep-alive", "1", "-t", "1", model=slow_model()) as s:
        for path, body in bodies(n=1).items():
            stream = s.stream(path, json.loads(json.dumps(body).replace('"Hi"', json.dumps(path + " " + LONG))))
            start = time.monotonic()
            assert stream.head() == 200 and time.monotonic() - start < 1, path
            assert any(sign(path, line) for line in stream.lines()), path
            stream.close()


with Server("--chat-template-file", thinking_template()) as tiny:
    run([call_ids, index_in_every_delta, event_lines, done_and_completed, error_before_an_early_close, overflow, long_prefill])
