#!/usr/bin/env python3
"""Answers that come back in the history are the tokens they were generated as: calls whose arguments the
client wrote anew, with blanks before them that no template writes, behind text or reasoning, several in
one answer, and after a restart."""
import json

from harness import TOOL, Server, chat, run, thinking_template

CHAT = "/v1/chat/completions"
FUNCTION = {"type": "function", "function": {"name": "read", "description": "Reads a file.", "parameters": TOOL}}
CALL = '<tool_call>\n{"name": "read", "arguments":  {"path": "a"}}\n</tool_call>'
BEFORE = ("", "\n\n", "\n\n\n \n", "Text.\n\n\n", "Text. ", "<think>\nHm.\n</think>\n\n\n\n", "<think>\nHm.\n</think>\n\nText.\n\n\n\n")


def escaped(text):
    return "".join("\\" + c if c in "\\.[]{}()*+?|^$" else c for c in text)


def call(s, before, behind="", about=""):
    """Makes the model write this; the conversation with the result of each call, and the tokens so far."""
    messages = [{"role": "user", "content": f"{about} Go {before}{behind}"}]
    r = s.ok(CHAT, chat(n=400, messages=messages, tools=[FUNCTION], regex=escaped(before + CALL + behind)))
    answer = r["choices"][0]["message"]
    assert len(answer["tool_calls"]) == 1 + (behind != "") and r["choices"][0]["finish_reason"] == "tool_calls", r
    for c in answer["tool_calls"]:
        c["function"]["arguments"] = json.dumps(json.loads(c["function"]["arguments"]), indent=2)
    messages += [answer] + [{"role": "tool", "tool_call_id": c["id"], "content": "text"} for c in answer["tool_calls"]]
    return messages, r["usage"]["total_tokens"]


def cached(s, messages, **more):
    return s.ok(CHAT, chat(n=4, messages=messages, tools=[FUNCTION], **more))["usage"]["prompt_tokens_details"]["cached_tokens"]


def calls_come_back():
    with Server("--chat-template-file", thinking_template()) as s:
        for before in BEFORE:
            for behind in ("", "\n\n\n" + CALL):
                messages, total = call(s, before, behind)
                assert cached(s, messages) >= total, (before, behind, s.requests()[0]["cache"])


def where_calls_are_shown_as_text():
    """The template of this model has no place for calls: they stand in the content."""
    with Server() as s:
        for before in ("", "\n\n", "Text.\n\n\n"):
            for behind in ("", "\n\n\n" + CALL):
                messages, total = call(s, before, behind)
                assert cached(s, messages) >= total, (before, behind, s.requests()[0]["cache"])


def changed_calls_do_not():
    """What the client says differently is what the model reads."""
    with Server("--chat-template-file", thinking_template()) as s:
        for change in ("arguments", "content", "id"):
            messages, total = call(s, "\n\n", about=change)
            answer = messages[1]
            if change == "arguments":
                answer["tool_calls"][0]["function"]["arguments"] = '{"path": "b"}'
            elif change == "content":
                answer["content"] = "First I read."
            else:
                answer["tool_calls"][0]["id"] = messages[2]["tool_call_id"] = "another00"
            assert cached(s, messages) < total - 20, (change, s.requests()[0]["cache"])


def after_a_restart():
    with Server("--chat-template-file", thinking_template()) as s:
        messages, total = call(s, "Text.\n\n\n")
        cached(s, messages)
    with Server("--chat-template-file", thinking_template()) as s:
        assert cached(s, messages) >= total - 64, s.requests()[0]["cache"]


run([calls_come_back, where_calls_are_shown_as_text, changed_calls_do_not, after_a_restart])
