#!/usr/bin/env python3
"""The shapes of the requests that five real agents send, replayed on a tiny model, and what they need while
they wait or when the server stops. `make test-agents` runs the agents themselves."""
import json
import re

from harness import TOOL, Server, chat, datas, long_chat, run, slow_model, until

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
FUNCTION = {"type": "function", "function": {"name": "read", "description": "Reads a file.", "parameters": TOOL}}


def ask(path, text="Read a file.", n=300, call=True, **more):
    """A streamed request in the API's own shape that must make a call."""
    user = {"role": "user", "content": text}
    if path == CHAT:
        body = {"messages": [user], "max_tokens": n, "tools": [FUNCTION], "tool_choice": "required" if call else "none"}
    elif path == MESSAGES:
        body = {"messages": [user], "max_tokens": n, "tools": [{"name": "read", "input_schema": TOOL}],
                "tool_choice": {"type": "any" if call else "none"}}
    else:
        body = {"input": [user], "max_output_tokens": n, "tools": [{"type": "function", "name": "read", "parameters": TOOL}],
                "tool_choice": "required" if call else "none"}
    return {"model": "m", "stream": True, "temperature": 0} | body | more


def whole(s, path, body):
    st = s.stream(path, body)
    assert st.head() == 200, st.response.read()
    lines = list(st.lines())
    st.close()
    return lines


def call_ids(path, lines):
    events = datas(lines)
    if path == CHAT:
        deltas = [c["delta"] for e in events for c in e["choices"]]
        return [t["id"] for d in deltas for t in d.get("tool_calls", []) if "id" in t]
    if path == MESSAGES:
        return [e["content_block"]["id"] for e in events if e["type"] == "content_block_start" and "id" in e["content_block"]]
    return [e["item"]["call_id"] for e in events if e["type"] == "response.output_item.done" and "call_id" in e["item"]]


def stopping_sends_an_error_event():
    """A bare close would be taken for a normal end."""
    with Server("--grace", "0", model=slow_model()) as s:
        bodies = {CHAT: long_chat(), MESSAGES: long_chat(), "/v1/completions": {"prompt": "a", "max_tokens": 4000, "stream": True, "ignore_eos": True},
                  RESPONSES: {"input": "a", "stream": True, "max_output_tokens": 4000, "ignore_eos": True}}
        streams = {path: s.stream(path, body) for path, body in bodies.items()}
        for st in streams.values():
            st.head()
        until(lambda: all(r["generated_tokens"] > 2 for r in s.requests()) and len(s.requests()) == len(bodies))
        s.process.terminate()
        texts = {path: "\n".join(st.lines()) for path, st in streams.items()}
        for path, text in texts.items():
            sign = {MESSAGES: "event: error", RESPONSES: "response.failed"}.get(path, 'data: {"error"')
            assert sign in text and "stopping" in text, (path, text[-400:])
            assert not re.search(r"\[DONE\]|message_stop|response\.completed", text), (path, text[-400:])
        assert s.process.wait(20) == 0


def long_prompts_show_life():
    """Headers at once and, for Claude Code, empty deltas of an open block: pings do not count."""
    with Server("--keep-alive", "1", "-ub", "16", model=slow_model()) as s:
        for path in (CHAT, MESSAGES, RESPONSES):
            st = s.stream(path, ask(path, path + " word" * 1300, call=False, ignore_eos=True))
            assert st.head() == 200
            assert s.requests()[0]["generated_tokens"] == 0
            seen = []
            for line in st.lines():
                seen.append(line)
                if s.requests()[0]["generated_tokens"] or len(seen) > 8:
                    break
            life = [l for l in seen if l.startswith(": ")] if path != MESSAGES else [
                e for e in datas(seen) if e["type"] == "content_block_delta" and e["delta"] == {"type": "text_delta", "text": ""}]
            assert life, (path, seen)
            st.close()
            until(lambda: s.requests()[0]["state"] != "running")


# ---- the shapes of requests ------------------------------------------------------------------
def opencode(s):
    """Arguments re-serialised, "" beside calls, a call that did not parse under a name that is no tool."""
    system = {"role": "system", "content": "You are opencode."}
    user = {"role": "user", "content": "Read a."}
    body = {"model": "m", "tools": [FUNCTION], "tool_choice": "auto", "max_tokens": 8, "stream": True, "stream_options": {"include_usage": True}}
    title = s.stream(CHAT, {"model": "m", "messages": [system, user], "reasoning_effort": "low", "max_tokens": 8, "stream": True})
    first = whole(s, CHAT, body | {"messages": [system, user], "tool_choice": "required", "max_tokens": 300})
    assert title.head() == 200 and list(title.lines())[-1] == "data: [DONE]"
    deltas = [c["delta"] for e in datas(first) for c in e["choices"]]
    args = json.loads("".join(t["function"].get("arguments", "") for d in deltas for t in d.get("tool_calls", [])))
    call = {"id": call_ids(CHAT, first)[0], "type": "function", "function": {"name": "read", "arguments": json.dumps(args, indent=1)}}
    odd = {"id": "x1", "type": "function", "function": {"name": "invalid", "arguments": '{"tool": "read", "error": "no JSON'}}
    history = [system, user, {"role": "assistant", "content": "", "reasoning_content": "A file.", "tool_calls": [call]},
               {"role": "tool", "tool_call_id": call["id"], "content": "text"},
               {"role": "assistant", "content": "", "tool_calls": [odd]}, {"role": "tool", "tool_call_id": "x1", "content": "bad"}]
    used = datas(whole(s, CHAT, body | {"messages": history}))[-1]["usage"]
    first_used = datas(first)[-1]["usage"]
    assert used["prompt_tokens_details"]["cached_tokens"] >= first_used["prompt_tokens"] - 1, (used, first_used)


def pi_chat(s):
    """A developer message, strict false, store, null beside calls."""
    tool = {"type": "function", "function": FUNCTION["function"] | {"strict": False}}
    s.ok(CHAT, {"model": "m", "store": False, "max_completion_tokens": 8, "reasoning_effort": "medium", "tools": [tool], "messages": [
        {"role": "developer", "content": "You are pi."}, {"role": "user", "content": "Go."},
        {"role": "assistant", "content": None, "reasoning_content": "Hm.", "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "read", "arguments": '{"path":"a"}'}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "text"}]})


def qwen(s):
    """A pair before the task, user and tool content as arrays of parts."""
    part = lambda text: [{"type": "text", "text": text}]  # noqa: E731
    s.ok(CHAT, {"model": "m", "max_tokens": 8, "tools": [FUNCTION], "messages": [
        {"role": "system", "content": "You are qwen."}, {"role": "user", "content": part("This is the folder.")},
        {"role": "assistant", "content": "Got it. Thanks for the context!"}, {"role": "user", "content": part("Read a.") + part("Now.")},
        {"role": "assistant", "content": "", "reasoning_content": "x", "tool_calls": [
            {"id": "", "type": "function", "function": {"name": "read", "arguments": '{ "path" : "a" }'}}]},
        {"role": "tool", "tool_call_id": "", "content": part("text")}]})
    s.ok(MESSAGES, {"model": "m", "max_tokens": 16, "thinking": {"type": "enabled", "budget_tokens": 32000},
                    "messages": [{"role": "user", "content": part("Go.")}]})


def claude(s):
    """Late system message, adaptive thinking, cache marks, beta query, an odd input object."""
    mark = {"cache_control": {"type": "ephemeral"}}
    tools = [{"name": "Read", "description": "d", "input_schema": TOOL | {"$schema": "https://json-schema.org/draft/2020-12/schema"}, "eager_input_streaming": True} | mark]
    body = {"model": "m", "max_tokens": 300, "stream": True, "system": [{"type": "text", "text": "You are Claude Code."} | mark], "tools": tools,
            "thinking": {"type": "adaptive", "display": "omitted"}, "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            "output_config": {"effort": "high"}, "metadata": {"user_id": "u"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "Read a."} | mark]}, {"role": "system", "content": "Reminder."}]
    first = datas(whole(s, MESSAGES + "?beta=true", body | {"messages": messages, "tool_choice": {"type": "tool", "name": "Read"}}))
    blocks = [e["content_block"] for e in first if e["type"] == "content_block_start"]
    call = next(b for b in blocks if b["type"] == "tool_use")
    args = json.loads("".join(e["delta"]["partial_json"] for e in first if e["type"] == "content_block_delta" and "partial_json" in e["delta"]))
    messages += [{"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": "sig_1"}, call | {"input": args}]},
                 {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": "text"} | mark]},
                 {"role": "assistant", "content": [{"type": "tool_use", "id": "t2", "name": "Read", "input": {"__unparsed": '{"pa'}}]},
                 {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t2", "is_error": True, "content": "no"}]}]
    used = datas(whole(s, MESSAGES + "?beta=true", body | {"messages": messages, "max_tokens": 8}))[-2]["usage"]
    assert used["cache_read_input_tokens"] > 100, used


def codex(s):
    """No instructions: developer items; items with ids; reasoning whole; arguments that are no JSON; custom tools."""
    def said(role, text):
        return {"type": "message", "role": role, "id": f"msg_{role}", "content": [{"type": "output_text" if role == "assistant" else "input_text", "text": text}]}
    function = {"type": "function", "name": "exec_command", "description": "d", "strict": False, "parameters": TOOL}
    patch = {"type": "custom", "name": "apply_patch", "description": "d", "format": {
        "type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin" LF\nLF: "\\n"\n'}}
    body = {"model": "m", "stream": True, "store": False, "include": ["reasoning.encrypted_content"], "prompt_cache_key": "s1", "parallel_tool_calls": True,
            "tool_choice": "auto", "reasoning": {"effort": "medium", "summary": "auto"}, "client_metadata": {"a": "b"}, "max_output_tokens": 8,
            "tools": [function, patch, {"type": "tool_search"}, {"type": "web_search"}, {"type": "namespace", "name": "n", "tools": [function]}]}
    items = [said("developer", "You are Codex."), said("developer", "Permissions."), said("user", "Folder."), said("user", "Go.")]
    done = datas(whole(s, RESPONSES, body | {"input": items}))[-1]
    assert done["type"] in ("response.completed", "response.incomplete"), done
    items += [{"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}], "encrypted_content": "x"},
              {"type": "reasoning", "id": "rs_2", "summary": [{"type": "summary_text", "text": "s"}], "encrypted_content": "y"},
              {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "exec_command", "arguments": '{"path": '},
              {"type": "function_call_output", "call_id": "c1", "output": "failed to parse"},
              {"type": "custom_tool_call", "id": "ct_1", "call_id": "c2", "name": "apply_patch", "input": "*** Begin\n"},
              {"type": "custom_tool_call_output", "call_id": "c2", "output": "ok"}, said("assistant", "Done."), said("user", "More.")]
    again = datas(whole(s, RESPONSES, body | {"input": items}))[-1]
    assert again["response"]["usage"]["input_tokens_details"]["cached_tokens"] > 100, again["response"]["usage"]


def shapes():
    with Server() as s:
        for shape in (opencode, pi_chat, qwen, claude, codex):
            shape(s)
            print("ok shape of", shape.__name__, flush=True)
        assert s.get("/api/v1/status").json["engine"]["failed"] == 0


run([stopping_sends_an_error_event, long_prompts_show_life, shapes])
