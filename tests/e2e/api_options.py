#!/usr/bin/env python3
"""What OpenAI's chat and completions take beside a prompt: every sampler, n, logprobs, biases, usage,
timings, guidance, prefill, template variables, reasoning budgets, filling in the middle."""
import json
import math
import re

from harness import MODELS, TINY, Server, chat, datas, official, run, thinking_template

BOTH = {"/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]}, "/v1/completions": {"prompt": "Hi"}}


def ask(path, size=8, **more):
    return server.ok(path, BOTH[path] | {"model": "m", "max_tokens": size, "temperature": 0} | more)


def texts(answer):
    return [c.get("text") if "text" in c else (c["message"].get("reasoning_content") or "") + (c["message"]["content"] or "")
            for c in answer["choices"]]


def streamed(path, **more):
    s = server.stream(path, BOTH[path] | {"model": "m", "max_tokens": 8, "temperature": 0, "stream": True} | more)
    assert s.head() == 200
    found = list(s.lines())
    s.close()
    assert found[-1] == "data: [DONE]"
    return datas(found)


def samplers():
    """Each is taken, does something where it can, and gives the same twice; out of range is refused."""
    values = {"temperature": 2.0, "top_k": 1, "top_p": 1e-9, "min_p": 1.0, "typical_p": 1e-9, "top_n_sigma": 0.0, "min_keep": 3,
              "repeat_penalty": 5.0, "repeat_last_n": 8, "presence_penalty": 50.0, "frequency_penalty": 50.0,
              "dry_multiplier": 50.0, "dry_base": 2.0, "dry_allowed_length": 1, "dry_penalty_last_n": 64, "xtc_probability": 1.0,
              "xtc_threshold": 1e-6, "mirostat": 2, "mirostat_tau": 0.1, "mirostat_eta": 0.5, "ignore_eos": True, "seed": 3}
    alone = {"top_k", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty", "frequency_penalty",
             "xtc_probability", "mirostat", "seed"}
    for path in BOTH:
        base = {"temperature": 1.5, "seed": 1, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "n": 16}
        plain = texts(ask(path, 40, **base))
        for name, value in values.items():
            beside = {"xtc_probability": {"xtc_threshold": 1e-6}, "repeat_penalty": {"repeat_last_n": -1}}.get(name, {})
            one, two = (texts(ask(path, 40, **(base | beside | {name: value}))) for _ in range(2))
            assert one == two, (path, name, "differs from itself")
            if name in alone:
                assert one != plain, (path, name, "changes nothing")
        for name, wrong in (("temperature", -1), ("top_p", 1.5), ("min_p", -0.1), ("top_k", 1.5), ("repeat_penalty", "x"),
                            ("mirostat", 3), ("seed", "x"), ("xtc_probability", 2), ("ignore_eos", 1), ("max_tokens", -2),
                            ("n", 0), ("n", 17), ("stop", [1]), ("logit_bias", [1])):
            r = server.post(path, BOTH[path] | {"model": "m", name: wrong})
            assert r.status == 400 and name in r.json["error"]["message"], (path, name, r.status, r.body)


def several_answers():
    for path in BOTH:
        hot = dict(temperature=1.5, seed=5, n=3)
        whole = ask(path, **hot)
        assert [c["index"] for c in whole["choices"]] == [0, 1, 2] and len(set(texts(whole))) > 1
        for i in range(3):  # the i-th is what its seed alone gives
            assert texts(ask(path, temperature=1.5, seed=5 + i))[0] == texts(whole)[i]
        pieces = ["", "", ""]
        for e in streamed(path, **hot):
            for c in e["choices"]:
                d = c.get("delta", {"content": c.get("text")})
                pieces[c["index"]] += (d.get("reasoning_content") or "") + (d.get("content") or "")
        assert pieces == texts(whole)
        assert whole["usage"]["completion_tokens"] == 24


def log_probabilities():
    got = ask("/v1/chat/completions", logprobs=True, top_logprobs=3)["choices"][0]["logprobs"]["content"]
    assert len(got) == 8
    for t in got:
        assert t["logprob"] <= 0 and len(t["top_logprobs"]) == 3
        assert t["token"] == t["top_logprobs"][0]["token"] and abs(t["logprob"] - t["top_logprobs"][0]["logprob"]) < 1e-6
        assert sum(math.exp(x["logprob"]) for x in t["top_logprobs"]) <= 1 + 1e-5
    parts = [t for e in streamed("/v1/chat/completions", logprobs=True, top_logprobs=3) for c in e["choices"]
             for t in (c.get("logprobs") or {}).get("content", [])]
    assert parts == got
    old = ask("/v1/completions", logprobs=2)["choices"][0]["logprobs"]
    assert len(old["tokens"]) == len(old["token_logprobs"]) == 8 and len(old["top_logprobs"][0]) <= 2
    assert old["text_offset"][0] == 0 and old["text_offset"] == sorted(old["text_offset"])


def biases():
    for path in BOTH:
        first = server.ok("/tokenize", {"content": texts(ask(path, 1))[0]})["tokens"]
        banned = texts(ask(path, 8, logit_bias={str(t): -100 for t in first}))[0]
        assert banned != texts(ask(path, 8))[0]
        forced = server.ok("/tokenize", {"content": "x"})["tokens"]
        assert texts(ask(path, 3, logit_bias={str(forced[0]): 100}))[0] == "xxx"
        assert texts(ask(path, 3, logit_bias=[["x", 100]]))[0] == "xxx"  # llama-server's form
        assert server.post(path, BOTH[path] | {"model": "m", "logit_bias": {"99999999": 1}}).status == 400


def usage_and_timings():
    for path in BOTH:
        ask(path)
        whole = ask(path)
        t, u = whole["timings"], whole["usage"]
        assert u["prompt_tokens_details"]["cached_tokens"] == t["cache_n"] > 0 or u["prompt_tokens"] == 1, whole
        assert t["predicted_n"] == 8 and t["prompt_n"] + t["cache_n"] == u["prompt_tokens"]
        for key in ("prompt_ms", "prompt_per_token_ms", "prompt_per_second", "predicted_ms", "predicted_per_token_ms", "predicted_per_second"):
            assert t[key] >= 0
        with_usage = streamed(path, stream_options={"include_usage": True})
        assert with_usage[-1]["choices"] == [] and with_usage[-1]["usage"]["completion_tokens"] == 8
        assert with_usage[-2]["timings"]["predicted_n"] == 8
        assert not any("usage" in e for e in streamed(path))
        keyed = ask(path, prompt_cache_key="session", user="u", metadata={"a": "b"}, store=False, service_tier="auto")
        assert texts(keyed) == texts(whole)


def guidance():
    for path in BOTH:
        calm = {} if path == "/v1/completions" else {"reasoning_effort": "none"}
        for field in ("guided_regex", "regex"):
            got = texts(ask(path, 40, **calm, **{field: "[ab]{3}-[0-9]"}))[0]
            assert re.fullmatch("[ab]{3}-[0-9]", got), got
        for more in ({"guided_choice": ["yes", "no"]}, {"choices": ["yes", "no"]}, {"structured_outputs": {"choice": ["yes", "no"]}},
                     {"grammar": 'root ::= "yes" | "no"'}, {"guided_grammar": 'root ::= "yes" | "no"'},
                     {"grammar": '%llguidance {}\nstart: "yes" | "no"'}, {"structured_outputs": {"regex": "yes|no"}}):
            assert texts(ask(path, 40, **calm, **more))[0] in ("yes", "no"), more
        schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
        for more in ({"guided_json": schema}, {"json_schema": schema}, {"structured_outputs": {"json": schema}},
                     {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}},
                     {"response_format": {"type": "json_object", "schema": schema}}):
            assert json.loads(texts(ask(path, 60, **calm, **more))[0])["n"] in (1, 2), more
        for wrong in ({"regex": "("}, {"guided_choice": []}, {"guided_choice": [1]}, {"grammar": "root"}, {"grammar": "%llguidance\nx: y"},
                      {"regex": "a", "grammar": 'root ::= "a"'}, {"response_format": {"type": "xml"}}):
            r = server.post(path, BOTH[path] | {"model": "m"} | wrong)
            assert r.status == 400 and r.json["error"]["message"], (wrong, r.status, r.body)


def prefill_and_template():
    start = {"role": "assistant", "content": "The answer"}
    messages = [{"role": "user", "content": "Hi"}, start]
    prompt = server.ok("/apply-template", {"messages": messages})["prompt"]
    assert prompt.endswith("The answer"), prompt
    a = server.ok("/v1/chat/completions", chat(messages=messages))["choices"][0]["message"]["content"]
    b = server.ok("/completion", {"prompt": prompt, "n_predict": 8, "temperature": 0})["content"]
    assert a and a == b and not a.startswith("The answer")
    plain = server.ok("/apply-template", {"messages": messages[:1]})["prompt"]
    named = server.ok("/apply-template", {"messages": messages[:1], "chat_template_kwargs": {"tone": "calm"}})["prompt"]
    assert "tone: calm" in named and "tone" not in plain
    assert server.post("/v1/chat/completions", chat(chat_template_kwargs=[])).status == 400


def reasoning_budget():
    """The model is made to think by a bias; the budget ends that, whatever it is called."""
    lead = {"messages": [{"role": "user", "content": "Hi"}], "model": "m", "max_tokens": 60, "temperature": 0,
            "chat_template_kwargs": {"open_thinking": True}}
    free = server.ok("/v1/chat/completions", lead)
    assert free["usage"]["completion_tokens_details"]["reasoning_tokens"] > 20, free
    for name in ("reasoning_budget", "thinking_budget", "thinking_budget_tokens"):
        r = server.ok("/v1/chat/completions", lead | {name: 5})
        assert r["usage"]["completion_tokens_details"]["reasoning_tokens"] <= 5 + 10, (name, r)  # and the marker that ends it
        assert r["choices"][0]["message"]["reasoning_content"] and r["choices"][0]["message"]["content"], (name, r)
    none = server.ok("/v1/chat/completions", lead | {"reasoning_effort": "none"})
    assert none["usage"]["completion_tokens_details"]["reasoning_tokens"] <= 10, none
    assert server.post("/v1/chat/completions", lead | {"reasoning_effort": "enormous"}).status == 400


PATCH = {"type": "custom", "custom": {"name": "patch", "description": "d", "format": {"type": "grammar", "grammar": {
    "syntax": "lark", "definition": 'start: "*** Begin" LF ("+" /["a-z\\\\]{1,8}/ LF)~2\nLF: "\\n"\n'}}}}
READ = {"type": "function", "function": {"name": "read", "parameters": {
    "type": "object", "properties": {"path": {"type": "string", "maxLength": 4}}, "required": ["path"], "additionalProperties": False}}}


def custom_tools():
    """Free text bound by a grammar, whole and in pieces; back in the history; one of several allowed."""
    path = "/v1/chat/completions"
    more = {"tools": [READ, PATCH], "size": 200, "temperature": 1, "reasoning_effort": "none", "parallel_tool_calls": False, "messages": [{"role": "user", "content": "Go."}]}
    for seed in range(3):
        named = more | {"tool_choice": {"type": "custom", "custom": {"name": "patch"}}, "seed": seed}
        r = ask(path, **named)
        message = r["choices"][0]["message"]
        assert message.get("tool_calls"), r
        call = message["tool_calls"][0]
        assert call["type"] == "custom" and call["custom"]["name"] == "patch" and call["id"] and "function" not in call, call
        assert re.fullmatch(r'\*\*\* Begin\n(\+["a-z\\]{1,8}\n){2}', call["custom"]["input"]), call
        assert r["choices"][0]["finish_reason"] == "tool_calls", r
        deltas = [d for e in streamed(path, **(named | {"max_tokens": 200})) for c in e["choices"] for d in c["delta"].get("tool_calls", [])]
        assert deltas[0]["type"] == "custom" and deltas[0]["custom"] == {"name": "patch", "input": ""} and all(d["index"] == 0 for d in deltas)
        assert "".join(d["custom"]["input"] for d in deltas) == call["custom"]["input"], deltas
        history = more["messages"] + [message, {"role": "tool", "tool_call_id": call["id"], "content": "ok"}]
        used = ask(path, **(more | {"messages": history, "size": 4}))["usage"]
        assert used["prompt_tokens_details"]["cached_tokens"] > r["usage"]["prompt_tokens"] - 8 and used["prompt_tokens"] > r["usage"]["prompt_tokens"] + 40, used
    for name, kind in (("patch", "custom"), ("read", "function")):
        allowed = {"mode": "required", "tools": [{"type": kind, kind: {"name": name}}]}
        for seed in range(2):
            choice = {"type": "allowed_tools", "allowed_tools": allowed}
            calls = ask(path, **(more | {"tool_choice": choice, "seed": seed}))["choices"][0]["message"]["tool_calls"]
            assert {c[kind]["name"] for c in calls} == {name}, calls
    assert server.post(path, chat(tools=[{"type": "custom", "custom": {}}])).status == 400
    if openai := official("openai"):
        c = openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none")
        r = c.chat.completions.create(model="m", messages=more["messages"], tools=[PATCH], tool_choice="required", max_tokens=200,
                                     reasoning_effort="none", parallel_tool_calls=False)
        assert r.choices[0].message.tool_calls[0].custom.input.startswith("*** Begin\n")


def fill_in_the_middle():
    r = server.post("/v1/completions", {"model": "m", "prompt": "a", "suffix": "b"})
    assert r.status == 400 and "fill in the middle" in r.json["error"]["message"], r.body
    name = "Qwen2.5-Coder-0.5B-Instruct.Q4_K_M"
    if not (MODELS / f"{name}.gguf").exists():
        print(f"no {name} in the models folder: filling in the middle is left out")
        return
    before, after = "def add(a, b):\n    return ", "\n\nprint(add(1, 2))\n"
    with Server("-c", "512", model=name) as s:
        more = {"max_tokens": 12, "temperature": 0}
        r = s.ok("/v1/completions", {"model": "m", "prompt": before, "suffix": after} | more)
        text = r["choices"][0]["text"]
        assert text.strip().split("\n")[0] == "a + b", text
        r = s.ok("/infill", {"input_prefix": before, "input_suffix": after, "n_predict": 12, "temperature": 0})
        assert r["content"] == text, r
        r = s.ok("/infill", {"input_prefix": "def add(a, b):\n", "prompt": "    return ", "input_suffix": after, "n_predict": 12, "temperature": 0})
        assert r["content"] == text, r
        r = s.ok("/api/generate", {"model": "m", "prompt": before, "suffix": after, "stream": False, "options": {"num_predict": 12, "temperature": 0}})
        assert r["response"] == text, r
        assert s.post("/v1/completions", {"model": "m", "prompt": [1, 2], "suffix": after}).status == 400


template = thinking_template()
with Server("--chat-template-file", template, model=TINY) as server:
    run([custom_tools, samplers, several_answers, log_probabilities, biases, usage_and_timings, guidance, prefill_and_template,
         reasoning_budget, fill_in_the_middle])
