#!/usr/bin/env python3
"""OpenAI's Responses API: the shapes that Codex and the AI SDK send, every event in its order, what
is kept, what is refused; and the official client."""
import json

from harness import TINY, Server, datas, official, run, slow_model, thinking_template

PATH = "/v1/responses"
READ = {"type": "function", "name": "read", "description": "Reads a file.", "strict": False,
        "parameters": {"type": "object", "properties": {"path": {"type": "string", "maxLength": 8}},
                       "required": ["path"], "additionalProperties": False}}
NOTE = {"type": "custom", "name": "note", "description": "Takes a note.",
        "format": {"type": "grammar", "syntax": "regex", "definition": "[a-c]{2}\n\"[0-9]\""}}
SPACE = {"type": "namespace", "name": "mcp__files", "description": "Files.",
         "tools": [dict(READ, name="list"), dict(NOTE, name="memo")]}
SEARCH = {"type": "tool_search", "execution": "client", "description": "Finds tools.",
          "parameters": {"type": "object", "properties": {"query": {"type": "string", "maxLength": 4}},
                         "required": ["query"], "additionalProperties": False}}
CALM = {"effort": "none"}
UNKNOWN = [{"type": "web_search"}, {"type": "image_generation", "x": [1]}, {"type": "from_the_future"}, {}]


def body(said="Hi", n=8, **more):
    return {"model": "m", "input": said, "max_output_tokens": n, "temperature": 0, "seed": 7} | more


def ask(*a, **k):
    return server.ok(PATH, body(*a, **k))


def events(**k):
    s = server.stream(PATH, body(stream=True, **k))
    assert s.head() == 200
    lines = list(s.lines())
    s.close()
    found = datas(lines)
    named = [l[7:] for l in lines if l.startswith("event: ")]
    assert named == [e["type"] for e in found]
    assert [e["sequence_number"] for e in found] == list(range(len(found)))
    return found


def rebuilt(found):
    """The items that a client puts together from the events; checks the order on the way."""
    assert [e["type"] for e in found[:2]] == ["response.created", "response.in_progress"]
    items, at = [], None
    for e in found[2:-1]:
        kind = e["type"]
        if kind == "response.output_item.added":
            assert at is None and e["output_index"] == len(items) and e["item"]["status"] == "in_progress"
            at, text, parts = e["item"], "", 0
        elif kind == "response.content_part.added":
            parts += 1
        elif kind.endswith(".delta"):
            assert e["item_id"] == at["id"] and e["output_index"] == len(items)
            text += e["delta"]
        elif kind == "response.content_part.done":
            assert e["part"]["text"] == text
            parts -= 1
        elif kind.endswith("_text.done"):
            assert e["text"] == text
        elif kind.endswith((".arguments.done", "_input.done")):
            assert e.get("arguments", e.get("input")) == text
        elif kind == "response.output_item.done":
            assert parts == 0 and e["item"]["id"] == at["id"]
            items.append(e["item"])
            at = None
    assert at is None
    assert found[-1]["response"]["output"] == items
    return items


def text_of(response):
    return "".join(p["text"] for i in response["output"] if i["type"] == "message" for p in i["content"])


def whole_and_stream():
    whole = ask()
    assert whole["object"] == "response" and whole["status"] == "incomplete", whole
    assert whole["incomplete_details"] == {"reason": "max_output_tokens"}
    assert whole["usage"]["output_tokens"] == 8
    found = events()
    assert found[-1]["type"] == "response.incomplete"
    strip = lambda items: [{k: v for k, v in i.items() if k != "id"} for i in items]
    assert strip(rebuilt(found)) == strip(whole["output"])
    again = ask()
    used = again["usage"]
    assert used["input_tokens_details"]["cached_tokens"] >= used["input_tokens"] - 1, used
    done = ask(text={"format": {"type": "json_schema", "name": "n", "strict": True, "schema": {
        "type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}}},
        n=60, reasoning=CALM)
    assert done["status"] == "completed" and json.loads(text_of(done))["n"] in (1, 2), done
    chosen = ask(guided_choice=["yes", "no"], n=20, reasoning=CALM)
    assert text_of(chosen) in ("yes", "no"), chosen


def tools():
    every = [READ, NOTE, SPACE, SEARCH, *UNKNOWN]
    calls = {"read": ({"type": "function", "name": "read"}, "function_call"),
             "note": ({"type": "custom", "name": "note"}, "custom_tool_call"),
             "list": ({"type": "function", "name": "list", "namespace": "mcp__files"}, "function_call"),
             "memo": ({"type": "custom", "name": "mcp__files__memo"}, "custom_tool_call"),
             "search": ({"type": "function", "name": "tool_search"}, "tool_search_call")}
    for name, (choice, kind) in calls.items():
        found = events(tools=every, tool_choice=choice, n=300, reasoning=CALM)
        items = rebuilt(found)
        call = [i for i in items if i["type"].endswith("_call")][0]
        assert call["type"] == kind and call["call_id"] and call["status"] == "completed", call
        assert found[-1]["type"] == "response.completed", found[-1]
        if name in ("list", "memo"):
            assert call["namespace"] == "mcp__files" and call["name"] == name, call
        if kind == "function_call":
            assert isinstance(json.loads(call["arguments"])["path"], str)
        if kind == "custom_tool_call":
            assert call["input"][2:4] == "\n\"" and set(call["input"][:2]) <= set("abc"), call
        if kind == "tool_search_call":
            assert isinstance(call["arguments"]["query"], str) and call["execution"] == "client"
    required = ask(tools=[READ, *UNKNOWN], tool_choice="required", n=200, reasoning=CALM, parallel_tool_calls=False)
    assert [i["name"] for i in required["output"] if i["type"] == "function_call"] == ["read"], required
    allowed = ask(tools=every, n=300, reasoning=CALM, tool_choice={"type": "allowed_tools", "mode": "required", "tools": [
        {"type": "custom", "name": "note"}]}, parallel_tool_calls=False)
    assert [i["name"] for i in allowed["output"] if i["type"] == "custom_tool_call"] == ["note"], allowed
    cut = events(tools=[READ], tool_choice="required", n=30, reasoning=CALM)
    assert cut[-1]["type"] == "response.incomplete" and rebuilt(cut)[-1]["status"] == "incomplete", cut[-1]


PATCH = {"type": "custom", "name": "patch", "description": "Changes files.", "format": {
    "type": "grammar", "syntax": "lark", "definition": """start: begin file end
begin: "*** Begin" LF
end: "*** End" LF?
file: "*** New: " /[a-z]{1,4}/ LF line~1..2
line: "+" /[^\\n]{0,4}/ LF
%import common.LF
"""}}


def lark():
    """Codex's freeform tools: what the model writes is bound by the grammar, and streamed as text."""
    import re
    items = rebuilt(events(tools=[READ, PATCH], tool_choice={"type": "custom", "name": "patch"}, n=300, reasoning=CALM))
    call = [i for i in items if i["type"] == "custom_tool_call"][0]
    assert call["status"] == "completed", call
    assert re.fullmatch(r"\*\*\* Begin\n\*\*\* New: [a-z]{1,4}\n(\+[^\n]{0,4}\n){1,2}\*\*\* End\n?", call["input"]), call
    odd = dict(PATCH, format={"type": "grammar", "syntax": "lark", "definition": "start: start"})
    assert ask(tools=[odd], n=4)["usage"]["output_tokens"] == 4, "a grammar that nobody can read refuses nothing"


def codex_history():
    """Codex's second request: no instructions, developer items first, all items with ids, reasoning
    whole, arguments that are no JSON, custom calls, tool search with what it found."""
    items = [
        {"type": "message", "id": "1", "role": "developer", "content": [{"type": "input_text", "text": "You code."}]},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "<env/>"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go."}]},
        {"type": "reasoning", "id": "2", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}], "encrypted_content": None},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I read."}]},
        {"type": "function_call", "id": "3", "call_id": "c1", "name": "list", "namespace": "mcp__files", "arguments": "{\"pa"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "note", "input": "aa\n\"1\"", "status": "completed"},
        {"type": "function_call_output", "call_id": "c1", "output": "no"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "yes"}]},
        {"type": "tool_search_call", "call_id": "c3", "execution": "client", "arguments": {"query": "x"}, "status": "completed"},
        {"type": "tool_search_output", "call_id": "c3", "execution": "client", "tools": [dict(READ, name="found")]},
        {"type": "local_shell_call", "call_id": "c4", "action": {"type": "exec", "command": ["ls"]}, "status": "completed"},
        {"type": "local_shell_call_output", "call_id": "c4", "output": "a.c"},
        {"type": "web_search_call", "id": "w", "action": {"query": "x"}},
        {"type": "from_the_future", "x": 1},
        {"type": "message", "role": "developer", "content": "Late."},
        {"type": "message", "role": "user", "content": "Go on."}]
    more = dict(tools=[READ, NOTE, SPACE, SEARCH, *UNKNOWN], store=False, include=["reasoning.encrypted_content"],
                prompt_cache_key="s", parallel_tool_calls=True, reasoning={"summary": "auto"}, client_metadata={"a": "b"})
    assert ask(items, **more)["usage"]["output_tokens"] > 0
    called = ask(items, tool_choice={"type": "function", "name": "found"}, n=300, **(more | {"reasoning": CALM}))
    assert "found" in [i.get("name") for i in called["output"]], called
    n = server.ok(PATH + "/input_tokens", body(items, **more))["input_tokens"]
    assert n == ask(items, **more)["usage"]["input_tokens"]


def reasoning_comes_back():
    """Clients return encrypted_content and drop the text: it is the same prompt."""
    first = ask(n=12, include=["reasoning.encrypted_content"])
    thought = [i for i in first["output"] if i["type"] == "reasoning"]
    if not thought:
        thought = [{"type": "reasoning", "id": "r", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm é."}],
                    "encrypted_content": "holdfast.SG0gw6ku"}]
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]}
    sealed = [{k: v for k, v in i.items() if k != "content"} for i in thought]
    bare = [{k: v for k, v in i.items() if k != "encrypted_content"} for i in thought]
    call = {"type": "function_call", "call_id": "c", "name": "read", "arguments": "{}"}
    out = {"type": "function_call_output", "call_id": "c", "output": "x"}
    hi = {"role": "user", "content": "Hi"}
    got = [ask([hi, *r, said, call, out], tools=[READ], n=4) for r in (sealed, bare)]
    assert got[0]["usage"]["input_tokens"] == got[1]["usage"]["input_tokens"]
    assert text_of(got[0]) == text_of(got[1])
    without = ask([hi, said, call, out], tools=[READ], n=4)
    assert without["usage"]["input_tokens"] < got[0]["usage"]["input_tokens"], "the reasoning is not rendered"


def kept():
    first = ask("One.", n=4, instructions="Be short.")
    got = server.get(f"{PATH}/{first['id']}")
    assert got.status == 200 and got.json == first
    listed = server.get(f"{PATH}/{first['id']}/input_items").json["data"]
    assert listed[0]["content"] == "One."
    second = ask("Two.", n=4, previous_response_id=first["id"])
    by_hand = ask([{"role": "user", "content": "One."}, *first["output"], {"role": "user", "content": "Two."}], n=4)
    assert second["usage"]["input_tokens"] == by_hand["usage"]["input_tokens"]
    assert text_of(second) == text_of(by_hand)
    by_reference = ask([{"role": "user", "content": "One."}, {"type": "item_reference", "id": first["output"][0]["id"]},
                        {"role": "user", "content": "Two."}], n=4)
    assert by_reference["usage"]["input_tokens"] > 0
    streamed = events(n=4)[-1]["response"]
    assert server.get(f"{PATH}/{streamed['id']}").json == streamed
    private = ask("One.", n=4, store=False)
    assert server.get(f"{PATH}/{private['id']}").status == 404
    assert server.request("DELETE", f"{PATH}/{first['id']}").json["deleted"]
    assert server.get(f"{PATH}/{first['id']}").status == 404
    gone = server.post(PATH, body("Two.", previous_response_id=first["id"]))
    assert gone.status == 400 and "whole conversation" in gone.json["error"]["message"]


def logprobs():
    r = ask(n=4, top_logprobs=2, include=["message.output_text.logprobs"], reasoning=CALM)
    part = r["output"][-1]["content"][0]
    assert part["logprobs"] and len(part["logprobs"][0]["top_logprobs"]) == 2, part
    deltas = [e for e in events(n=4, top_logprobs=2, reasoning=CALM) if e["type"] == "response.output_text.delta"]
    assert sum(len(e["logprobs"]) for e in deltas) == len(part["logprobs"])


def refused():
    for wrong in ({"input": 1}, {}, {"input": []}, {"input": [1]}, {"input": [{"role": "bot", "content": ""}]},
                  {"input": [{"role": "user"}]}, {"input": "a", "tools": {}}, {"input": "a", "tool_choice": "required"},
                  {"input": "a", "tool_choice": "sometimes"}, {"input": "a", "background": True},
                  {"input": "a", "max_output_tokens": 0}, {"input": "a", "text": {"format": {"type": "xml"}}},
                  {"input": [{"type": "function_call", "arguments": "{}"}]}, {"input": [{"type": "function_call_output"}]},
                  {"input": [{"type": "item_reference", "id": "x"}]}, {"input": "a", "tool_choice": {"type": "function", "name": "x"}},
                  {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}]}):
        r = server.post(PATH, {"model": "m"} | wrong)
        assert r.status == 400 and r.json["error"]["message"], (wrong, r.status, r.body)
    # d5_overflow: a stream says so in an event with the code that Codex knows; else it is a 400
    big = "word and " * 40000
    r = server.post(PATH, body(big))
    assert r.status == 400 and r.json["error"]["code"] == "context_length_exceeded"
    found = events(said=big)
    assert [e["type"] for e in found] == ["response.created", "response.failed"]
    assert found[-1]["response"]["error"]["code"] == "context_length_exceeded", found
    assert "exceeds the available context size" in found[-1]["response"]["error"]["message"]


def stops_in_mid_answer():
    """d5: a bare close would be taken for an end."""
    with Server("--grace", "0", model=slow_model()) as s:
        stream = s.stream(PATH, body(stream=True, n=4000, ignore_eos=True))
        stream.head()
        first = [stream.line() for _ in range(8)]
        s.process.terminate()
        last = datas(list(stream.lines()))[-1]
        stream.close()
        s.process.wait(60)
    assert first and last["type"] == "response.failed" and last["response"]["status"] == "failed", last
    assert last["response"]["error"]["message"] == "the server is stopping"


def client():
    """PyPI's client: create, stream, tools, structured output, retrieve."""
    openai = official("openai")
    if not openai:
        return
    c = openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0)
    more = dict(model="m", temperature=0, extra_body={"seed": 7})
    r = c.responses.create(input="Hi", max_output_tokens=8, **more)
    assert r.status == "incomplete" and r.usage.output_tokens == 8 and r.incomplete_details.reason == "max_output_tokens"
    with c.responses.stream(input="Hi", max_output_tokens=8, **more) as s:
        text = "".join(e.delta for e in s if e.type == "response.output_text.delta")
    assert text == r.output_text
    assert c.responses.retrieve(r.id).output_text == r.output_text
    r = c.responses.create(input="Hi", max_output_tokens=200, tools=[READ], tool_choice="required", reasoning=CALM, **more)
    call = [i for i in r.output if i.type == "function_call"][0]
    after = c.responses.create(previous_response_id=r.id, max_output_tokens=4, tools=[READ], **more, input=[
        {"type": "function_call_output", "call_id": call.call_id, "output": "text"}])
    assert after.usage.input_tokens > r.usage.input_tokens
    import pydantic
    answer = pydantic.create_model("Answer", ok=(bool, ...))
    parsed = c.responses.parse(input="Hi", max_output_tokens=60, text_format=answer, reasoning=CALM, **more)
    assert parsed.output_parsed.ok in (True, False)


with Server("--chat-template-file", thinking_template(), model=TINY) as server:
    run([whole_and_stream, tools, lark, codex_history, reasoning_comes_back, kept, logprobs, refused, stops_in_mid_answer, client])
