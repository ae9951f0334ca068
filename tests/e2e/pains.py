#!/usr/bin/env python3
"""The 25 pains of people who run agents against local servers (peers.md B), one test each, named after
it, on tiny models. What a server without a GPU, vision or recurrent layers cannot show is printed."""
import concurrent.futures
import json
import pathlib
import shutil
import subprocess
import time

from harness import HOLDFAST, ROOT, TINY, TMP, TOOL, Server, chat, datas, environment, holdfast, long_chat, run, slow_model, thinking_template, until

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
GEMMA = str(ROOT / "tests/vectors/models/gemma3.gguf")  # layers with a sliding window
FUNCTION = {"type": "function", "function": {"name": "read", "description": "Reads a file.", "parameters": TOOL}}
CANNOT = {
    "pain_01 (its second half)": "recurrent and hybrid models are refused by name",
    "pain_17 (its GPU half)": "no GPU; no draft heads (MTP) to be forgotten by a plan",
    "pain_24": "no vision, so no mmproj that could switch anything off; images get a defined answer (api_d5, api_ollama)",
    "pain_25 (its GPU half)": "no GPU that an update could stop using",
}


def said(text, role="user"):
    return {"role": role, "content": text}


def words(n, about="rain"):
    return " ".join(f"{about} {i}" for i in range(n))


def cached(usage):
    return usage["prompt_tokens_details"]["cached_tokens"]


def whole(s, path, body):
    st = s.stream(path, body | {"stream": True})
    assert st.head() == 200, st.response.read()
    lines = list(st.lines())
    st.close()
    return lines


def parse(text, *more):
    """What the server's parser reads out of a generation."""
    r = subprocess.run([HOLDFAST, "template", thinking_template(), "--parse", "--tools", tools_file(), *more], input=text,
                       capture_output=True, text=True, env=environment(), timeout=60)
    assert r.returncode == 0, r
    return json.loads(r.stdout)


def tools_file():
    (TMP / "tools.json").write_text(json.dumps([FUNCTION]))
    return TMP / "tools.json"


def agent_loop(s, turns, **more):
    """A growing conversation: of each request, the tokens that were computed and those that are new."""
    messages, before = [said("You are an agent. " + words(40), "system")], 0
    for i in range(turns):
        messages.append(said(words(12, f"step {i}")))
        r = s.ok(CHAT, chat(n=16, messages=messages, **more))
        usage, answer = r["usage"], r["choices"][0]["message"]
        yield usage["prompt_tokens"] - cached(usage), usage["prompt_tokens"] - before
        before = usage["prompt_tokens"] + usage["completion_tokens"]
        messages.append({"role": "assistant", "content": answer["content"]})


def pain_01_windowed_models_keep_their_prefix():
    with Server("-c", "4096", model=GEMMA) as s:
        used = list(agent_loop(s, 8, regex="[a-z]*"))  # random weights write bytes that are no text otherwise
        for i, (computed, new) in enumerate(used[1:], 1):
            assert computed <= new + 3, (i, computed, new, used)  # what ends a turn is not generated


def pain_02_clients_change_the_prefix():
    bill = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1; cch=%s;"}
    system = {"type": "text", "text": "You are Claude Code. " + words(60)}
    with Server() as s:
        def ask(n, messages):
            line = bill | {"text": bill["text"] % n}
            return s.ok(MESSAGES, {"model": "m", "max_tokens": 4, "system": [line, system], "messages": messages})["usage"]
        first = ask("a1", [said("Go.")])
        total = first["input_tokens"] + first["cache_read_input_tokens"]
        assert ask("b2", [said("Go.")])["cache_read_input_tokens"] >= total - 1
        history = [said("Go."), said("I went.", "assistant"), said("On. " + words(30))]
        known = ask("c3", history + [said("900 tokens left", "system")])
        again = ask("d4", history + [said("800 tokens left", "system")])  # stands where it stood: all before it is kept
        assert again["cache_read_input_tokens"] >= known["input_tokens"] + known["cache_read_input_tokens"] - 24, (known, again)
        why = s.requests()[0]["cache"]
        assert why["message"] is not None and why["matching_tokens"] == why["cached_tokens"], why
        assert "8" in why["found_text"] and "9" in why["cached_text"], why


def pain_03_bad_call_in_the_history():
    for arguments in ('{"path": "a', "", "no JSON", "[1]", '{"path": "\\ud800"}', '"text"', "null"):
        call = {"id": "c1", "type": "function", "function": {"name": "read", "arguments": arguments}}
        messages = [said("Go."), {"role": "assistant", "content": None, "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": "c1", "content": "bad arguments"}, said("Again.")]
        assert tiny.ok(CHAT, chat(messages=messages, tools=[FUNCTION]))["choices"], arguments
        items = [said("Go."), {"type": "function_call", "call_id": "c1", "name": "read", "arguments": arguments},
                 {"type": "function_call_output", "call_id": "c1", "output": "bad arguments"}]
        assert tiny.ok(RESPONSES, {"input": items, "max_output_tokens": 8, "tools": [FUNCTION["function"] | {"type": "function"}]})["output"]


def pain_04_a_finished_answer_is_kept():
    """Whatever it looks like: all of it is in the fields of the answer."""
    odd = ['<tool_call>\n{"name": "read", "arguments": {"path": "a"', '<tool_call>\nno JSON\n</tool_call>', "</tool_call></think>", "<tool_call>",
           'Text <tool_call>\n{"name": "gone", "arguments": {}}\n</tool_call> more', "<think>never closed", '{"name": "read"}']
    for text in odd:
        r = parse(text)
        kept = json.dumps(r)
        for word in ("no JSON", "gone", "never closed", "Text", "more", "name"):
            assert word not in text or word in kept, (text, r)
    for text in ("</think> a <tool_call> b", "</tool_call>", "<tool_call>{}"):
        r = tiny.chat(n=200, tools=[FUNCTION], tool_choice="auto", regex=escaped(text))
        assert r["choices"][0]["message"]["content"] == text, r


def escaped(text):
    return "".join("\\" + c if c in "\\.[]{}()*+?|^$" else c for c in text)


def pain_05_its_own_calls_are_read():
    """Ollama's API: no answer of the model under its own grammar is an error."""
    body = {"model": "m", "messages": [said("Write a file.")], "tools": [FUNCTION], "tool_choice": "required", "stream": False}
    for seed in range(12):
        r = tiny.ok("/api/chat", body | {"options": {"seed": seed, "temperature": 1.5, "num_predict": 300}})
        calls = r["message"].get("tool_calls") or []
        assert calls or r["done_reason"] == "length", r
        for c in calls:
            assert c["function"]["name"] == "read" and set(c["function"]["arguments"]) == {"path"}, r


def pain_06_nothing_is_cut_silently():
    with Server("-c", "512") as s:
        for path, body in ((CHAT, {"messages": [said(words(400))]}), (MESSAGES, {"messages": [said(words(400))], "max_tokens": 4}),
                           (RESPONSES, {"input": words(400)}), ("/api/chat", {"messages": [said(words(400))], "stream": False}),
                           ("/api/generate", {"prompt": words(400), "stream": False}), ("/v1/completions", {"prompt": words(400)})):
            r = s.post(path, {"model": "m"} | body)
            assert r.status == 400 and '"n_ctx":' in r.body.decode(), (path, r.status, r.body[:300])
        text = words(60)
        n = len(s.ok("/tokenize", {"content": text})["tokens"])
        r = s.ok("/v1/completions", {"prompt": text, "max_tokens": 4000, "ignore_eos": True, "temperature": 0})
        assert r["usage"]["prompt_tokens"] == n and n < 512
        assert r["usage"]["completion_tokens"] + n == 512 and r["choices"][0]["finish_reason"] == "length", r["usage"]


def pain_07_a_full_pool_fails_nobody():
    def ask(s, i):
        return s.chat(words(100, f"w{i}"), 1200, ignore_eos=True)
    with Server("-c", "4096", "--kv-memory", "0.002", "--no-disk-cache") as s:
        alone = [ask(s, i)["choices"] for i in range(8)]
        parked = []
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(ask, s, i) for i in range(8)]
            while not all(j.done() for j in jobs):
                parked.append(s.get("/api/v1/status").json["engine"]["parked"])
                time.sleep(0.01)
        used = [j.result()["usage"] for j in jobs]
        assert [j.result()["choices"] for j in jobs] == alone and all(u["completion_tokens"] == 1200 for u in used)
        report = s.get("/api/v1/cache").json
        assert sum(u["total_tokens"] for u in used) * report["models"][0]["kv_per_token"] > 1.2 * report["kv_budget"], "all had room"
        assert max(parked) > 0 and s.get("/api/v1/status").json["engine"]["failed"] == 0, "nobody had to wait"


def pain_08_agents_do_not_evict_each_other():
    with Server("-np", "2", "-c", "4096") as s:
        talks = [[said(f"You are agent {i}. " + words(80, f"a{i}"), "system")] for i in range(6)]
        for turn in range(3):
            for messages in talks:
                messages.append(said(f"Turn {turn}."))
                r = s.ok(CHAT, chat(messages=messages, regex="[a-z]*"))
                if turn:
                    assert r["usage"]["prompt_tokens"] - cached(r["usage"]) <= 32, (turn, r["usage"])
                messages.append(said(r["choices"][0]["message"]["content"], "assistant"))


def pain_09_a_long_prefill_does_not_freeze_others():
    with Server("-c", "8192", model=slow_model()) as s:
        st = s.stream(CHAT, long_chat())
        for _ in range(6):
            st.line()
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            other, at = pool.submit(s.chat, words(60), 1), []
            while not other.done():
                st.line()
                at.append(time.monotonic())
        end = time.monotonic()
        st.close()
        gaps = [b - a for a, b in zip(at, at[1:])]
        assert len(gaps) >= 10 and max(gaps) < (end - start) / 4, (end - start, len(gaps), max(gaps, default=0))


def pain_10_an_impatient_client_leaves_no_dead_copy():
    with Server("-ub", "64", "-c", "4096", model=slow_model()) as s:
        body, done = long_chat(words(500)), 0
        for attempt in range(3):
            st = s.stream(CHAT, body)
            st.head()
            until(lambda: s.requests()[0]["progress"]["done"] > done + 100)
            progress = s.requests()[0]["progress"]
            assert progress["cached"] >= done - 64, (attempt, progress, done)  # what was read is not read again
            assert s.get("/api/v1/status").json["engine"]["running"] == 1
            done = progress["done"]
            st.close()
            until(lambda: s.requests()[0]["state"] == "cancelled", 5)


def pain_11_a_client_that_leaves_stops_its_own_work():
    """Also while it waits in the queue; and nobody else's."""
    with Server("-np", "1", model=slow_model()) as s:
        first = s.stream(CHAT, long_chat("First."))
        first.head()
        first.line()
        second = s.stream(CHAT, long_chat("Second."))
        second.head()
        until(lambda: s.get("/api/v1/status").json["engine"]["queued"] == 1)
        second.close()
        until(lambda: s.get("/api/v1/status").json["engine"]["queued"] == 0, 5)
        states = [(r["state"], r["generated_tokens"] > 0) for r in s.requests()]
        assert states == [("running", True), ("cancelled", False)], states
        before = s.requests()[0]["generated_tokens"]
        until(lambda: s.requests()[0]["generated_tokens"] > before)
        first.close()
        until(lambda: s.requests()[0]["state"] == "cancelled", 5)


def pain_12_everybody_knows_the_window():
    with Server("-c", "3072", "--alias", "m") as s:
        known = {"models": s.get("/v1/models").json["data"][0]["meta"]["n_ctx"], "props": s.get("/props").json["default_generation_settings"]["n_ctx"],
                 "native": s.get("/api/v1/models").json["models"][0]["context"]["tokens"],
                 "ps": s.get("/api/ps").json["models"][0]["context_length"]}
        assert set(known.values()) == {3072}, known
        r = s.post(CHAT, chat(words(3000)))
        assert r.status == 400 and r.json["error"]["n_ctx"] == 3072, r.body
        last = datas(whole(s, CHAT, chat(stream_options={"include_usage": True})))[-1]
        assert last["usage"]["total_tokens"] == last["usage"]["prompt_tokens"] + last["usage"]["completion_tokens"] > 0


def pain_13_codex_tools():
    """Freeform apply_patch bound by its grammar, a namespace, and types nobody knows, in one array."""
    patch = {"type": "custom", "name": "apply_patch", "format": {
        "type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin Patch" LF "*** End Patch" LF?\nLF: "\\n"\n'}}
    tools = [patch, {"type": "namespace", "name": "web", "tools": [FUNCTION["function"] | {"type": "function"}]}, {"type": "web_search"},
             {"type": "from_the_future", "x": [1]}]
    body = {"input": "Patch it.", "max_output_tokens": 200, "tools": tools}
    item = tiny.ok(RESPONSES, body | {"tool_choice": {"type": "custom", "name": "apply_patch"}})["output"][-1]
    assert item["type"] == "custom_tool_call" and item["input"].rstrip("\n") == "*** Begin Patch\n*** End Patch", item
    item = tiny.ok(RESPONSES, body | {"tool_choice": {"type": "function", "namespace": "web", "name": "read"}})["output"][-1]
    assert (item["type"], item["name"], item["namespace"]) == ("function_call", "read", "web"), item
    history = [said("Patch it."), {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": "*** Begin"},
               {"type": "custom_tool_call_output", "call_id": "c1", "output": "ok"}]
    assert tiny.ok(RESPONSES, body | {"input": history})["status"] in ("completed", "incomplete")


def resident(s):
    return s.get("/api/v1/status").json["engine"]["resident"]


def pain_14_memory_stays_within_its_budget():
    with Server("--kv-memory", "0.01", "--no-disk-cache", "-c", "4096") as s:
        def use(first):
            for i in range(first, first + 60):
                s.chat(words(150, f"p{i}"), 4)
                report = s.get("/api/v1/cache").json
                assert report["kv_used"] <= report["kv_budget"] <= 0.01 * 2**30, report
            return report
        report = use(0)
        warm = resident(s)
        assert report["kv_used"] > 0.8 * report["kv_budget"], report  # full: from here on it is a matter of dropping
        use(60)
        assert resident(s) <= warm + (2 << 20), (resident(s), warm)


def pain_15_thinking_ends():
    with Server("--chat-template-file", thinking_template()) as s:
        body = chat(n=60, chat_template_kwargs={"open_thinking": True}, ignore_eos=True)
        message = s.ok(CHAT, body | {"reasoning_budget": 12})["choices"][0]["message"]
        assert message["reasoning_content"] and message["content"], message
        r = s.ok(MESSAGES, {"messages": [said("Hi")], "max_tokens": 40, "thinking": {"type": "enabled", "budget_tokens": 12},
                            "chat_template_kwargs": {"open_thinking": True}, "ignore_eos": True})
        assert any(b["type"] == "text" and b["text"] for b in r["content"]), r
    with Server(model=slow_model()) as s:  # and who wants can end a request by hand
        st = s.stream(CHAT, long_chat())
        st.head()
        st.line()
        assert s.request("DELETE", "/api/v1/requests/" + s.requests()[0]["id"]).json == {"cancelled": True}
        until(lambda: s.requests()[0]["state"] == "cancelled", 5)
        st.close()


def pain_16_the_cache_survives_restart_and_unload():
    text = words(200, "kept")
    with Server() as s:
        total = s.chat(text)["usage"]["prompt_tokens"]
        name = s.get("/api/v1/models").json["models"][0]["name"]
        for _ in range(2):
            s.ok("/api/v1/models/unload", {"model": name})
            assert s.get("/api/v1/models").json["models"][0]["state"] == "unloaded"
            assert cached(s.chat(text)["usage"]) >= total - 64
    with Server() as s:
        assert cached(s.chat(text)["usage"]) >= total - 64


def pain_17_the_plan_of_memory_holds():
    """At full context too; and what cannot fit says so with its figures, before anything is loaded."""
    with Server("-c", "8192", "--kv-memory", "0.02", "--no-disk-cache") as s:
        name = s.get("/api/v1/models").json["models"][0]["name"]
        needs, before = s.get(f"/api/v1/models/{name}").json["needs"], resident(s)
        r = s.ok("/v1/completions", {"prompt": words(400), "max_tokens": 8000, "ignore_eos": True})
        assert r["usage"]["total_tokens"] == 8192, r["usage"]
        assert resident(s) - before <= needs["kv_full"] + needs["compute"] + needs["weights"] + (8 << 20), (resident(s) - before, needs)
    r = holdfast("serve", "-m", TINY, "--port", "0", "--memory", "0.0001")
    assert r.returncode == 1 and "GiB" in r.stderr and "--memory" in r.stderr, r


def models_folder(*names):
    folder = TMP / "-".join(names)
    folder.mkdir(exist_ok=True)
    for n in names:
        shutil.copy(ROOT / f"tests/vectors/models/{n}.gguf", folder)
    return folder


def loaded(s):
    return {m["name"] for m in s.get("/api/v1/models").json["models"] if m["state"] == "loaded"}


def pain_18_models_make_room_by_bytes():
    names = ("qwen3", "llama", "qwen2", "gemma3", "granite", "smollm3")
    folder = models_folder(*names)
    with Server("--models-dir", folder, "--memory", "1", "--kv-memory", "0.01", "-c", "512", model=None) as s:
        for n in names:
            s.chat(model=n)
        assert loaded(s) == set(names)  # all fit: none goes because there are many
        held = {n: sum(s.get(f"/api/v1/models/{n}").json["needs"][x] for x in ("weights", "compute")) for n in names}
    slow = pathlib.Path(slow_model())
    slow.rename(folder / "large.gguf")
    largest = 0.01 + max(held.values()) / 2**30  # enough for any of them, one at a time
    with Server("--models-dir", folder, "--memory", f"{largest + 0.002:.5f}", "--kv-memory", "0.01", "-c", "512", model=None) as s:
        s.chat(model="llama")
        r = s.post(CHAT, chat(model="large"))
        assert r.status == 400 and "needs" in r.json["error"]["message"] and "GiB" in r.json["error"]["message"], r.body
        assert s.chat(model="qwen3")["choices"]
    (folder / "large.gguf").rename(slow)
    two = 0.01 + (sum(sorted(held.values())[-2:]) + 1000) / 2**30
    with Server("--models-dir", folder, "--memory", f"{two:.6f}", "--kv-memory", "0.01", "-c", "512", model=None) as s:
        for n in names:
            s.chat(model=n)
            assert n in loaded(s) and sum(held[x] for x in loaded(s)) + 0.01 * 2**30 <= two * 2**30
        assert len(loaded(s)) < len(names)


def pain_19_settings_hold_for_models_on_demand():
    folder = models_folder("qwen3", "llama")
    (TMP / "config.ini").write_text(f"""[server]
models-dir = "{folder}"
[model.small]
path = "qwen3.gguf"
ctx-size = 1024
parallel = 3
cache-type-k = "f16"
cache-type-v = "q4_0"
predict = 5
[model.other]
path = "llama.gguf"
ctx-size = 256
""")
    for ways in ("api", "request"):
        with Server("--config", TMP / "config.ini", model=None) as s:
            if ways == "api":
                s.ok("/api/v1/models/load", {"model": "small"})
            r = s.ok(CHAT, {"model": "small", "messages": [said("Hi")], "ignore_eos": True})
            assert r["usage"]["completion_tokens"] == 5
            m = s.get("/api/v1/models/small").json
            assert m["context"]["tokens"] == 1024 and m["context"]["parallel"] == 3, m
            assert (m["memory"]["k_type"], m["memory"]["v_type"]) == ("f16", "q4_0"), m
            assert s.post(CHAT, chat(words(200), model="other")).json["error"]["n_ctx"] == 256


def pain_20_tokens_are_counted():
    body = {"model": "m", "system": "Be short.", "messages": [said(words(30))], "tools": [{"name": "read", "input_schema": TOOL}]}
    n = tiny.ok(MESSAGES + "/count_tokens", body)["input_tokens"]
    first, again = (tiny.ok(MESSAGES, body | {"max_tokens": 4})["usage"] for _ in range(2))
    assert n == first["input_tokens"] + first["cache_read_input_tokens"] == again["input_tokens"] + again["cache_read_input_tokens"] > 60
    assert again["cache_read_input_tokens"] >= n - 1 and again["output_tokens"] == 4


def pain_21_markup_in_reasoning_is_reasoning():
    call = '<tool_call>\n{"name": "read", "arguments": {"path": "a"}}\n</tool_call>'
    for n in ("1", "7", "1000"):
        r = parse(f"<think>\nI could say {call} now.\n</think>\n\n{call}", "--split", n)
        assert r["calls"] == [{"name": "read", "arguments": {"path": "a"}}] and call in r["reasoning"], r
        assert not r["content"], r
    for text in ('<tool_call>{"name": "x"', call):  # and a request without tools has none to call
        assert tiny.chat(n=200, regex=escaped(text))["choices"][0]["message"]["content"] == text


STRICT = """{%- set ns = namespace(user=false) %}{%- for m in messages %}{%- if m.role == 'user' %}{% set ns.user = true %}{% endif %}
{%- if m.role == 'system' and not loop.first %}{{ raise_exception('System message must be at the beginning.') }}{% endif %}{%- endfor %}
{%- if not ns.user %}{{ raise_exception('No user query found in messages.') }}{% endif %}
{%- for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def pain_22_templates_do_not_end_the_turn():
    (TMP / "strict.jinja").write_text(STRICT)
    with Server("--chat-template-file", TMP / "strict.jinja") as s:
        for messages in ([said("You are x.", "system")], [said("Hi", "assistant"), {"role": "tool", "tool_call_id": "c", "content": "r"}],
                         [said("Go."), said("Late.", "system"), said("On.")], [said("A"), said("B")]):
            r = s.ok(CHAT, chat(messages=messages))
            text = s.ok("/apply-template", {"messages": messages})["prompt"]
            assert r["choices"] and all(m["content"] in text for m in messages), (messages, text)
    for bad in ("{% for %}", "{{ undefined_function() }}", "{% endfor %}"):
        (TMP / "bad.jinja").write_text(bad)
        with Server("--chat-template-file", TMP / "bad.jinja") as s:  # a built-in format steps in, and the model's entry says so
            assert s.chat()["choices"]
            assert s.get("/api/v1/models").json["models"][0]["template_notes"], bad


def pain_23_schema_and_reasoning():
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    with Server("--chat-template-file", thinking_template()) as s:
        for seed in range(4):
            r = s.ok(CHAT, chat(n=200, seed=seed, temperature=1, response_format=form, reasoning_budget=20, chat_template_kwargs={"open_thinking": True}))
            message = r["choices"][0]["message"]
            assert message["reasoning_content"] and set(json.loads(message["content"])) == {"ok"}, message


def pain_25_failures_have_a_cause():
    data = pathlib.Path(TINY).read_bytes()
    folder = models_folder("llama")
    for name, content, cause in (("cut", data[:len(data) // 2], "bytes"), ("empty", b"", "empty"), ("text", b"no model" * 99, "GGUF")):
        path = folder / f"{name}.gguf"
        path.write_bytes(content)
        r = holdfast("serve", "-m", path, "--port", "0")
        assert r.returncode == 1 and path.name in r.stderr and cause in r.stderr, (name, r)
    with Server("--models-dir", folder, model=None) as s:
        r = s.post(CHAT, chat(model="cut"))
        assert r.status == 500 and "cut.gguf" in r.json["error"]["message"], r.body
        assert s.chat(model="llama")["choices"]  # it lives on
        failed = next(m for m in s.get("/api/v1/models").json["models"] if m["name"] == "cut")
        assert failed["state"] == "failed" and failed["error"], failed


with Server() as tiny:
    run([f for name, f in list(globals().items()) if name.startswith("pain_")])
for name, why in CANNOT.items():
    print(f"not shown: {name}: {why}")
