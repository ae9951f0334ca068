#!/usr/bin/env python3
"""The README's curl examples, run as they are written, and its configuration file. Only the port is
another one: curl is told to connect there instead."""
import json
import os
import re
import shutil
import subprocess

from harness import MODELS, ROOT, TINY, TMP, Server, datas, run, skip

SMALL = "SmolLM2-135M-Instruct.Q4_1"
TEXT = (ROOT / "README.md").read_text()
EXPECTED = {  # path: what has to be in the answer
    "/v1/chat/completions": lambda o: o["choices"][0]["message"]["content"], "/v1/messages": lambda o: o["content"][-1]["type"] == "tool_use",
    "/v1/responses": lambda o: o["output"][-1]["content"][0]["text"] in ("yes", "no"), "/v1/embeddings": lambda o: len(o["data"]) == 2,
    "/api/v1/models": lambda o: o["models"][0]["state"] == "loaded", "/api/v1/requests": lambda o: o["requests"][0]["cache"],
    "/api/v1/cache": lambda o: o["kv_used"] > 0}


def examples():
    blocks = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.S | re.M)
    return [c for b in blocks if "curl" in b for c in re.split(r"^(?=curl )", b, flags=re.M) if c.strip()]


def curl(example, port):
    (TMP / ".curlrc").write_text(f'connect-to = "127.0.0.1:8080:127.0.0.1:{port}"\nsilent\nshow-error\nfail-with-body\n')
    r = subprocess.run(["bash", "-euc", example], capture_output=True, text=True, timeout=120, env=dict(os.environ, CURL_HOME=str(TMP)))
    assert r.returncode == 0, (example, r)
    return r.stdout


def curl_examples():
    paths = set()
    with Server(model=SMALL if (MODELS / f"{SMALL}.gguf").exists() else TINY) as s:
        for example in examples():
            path = re.search(r"8080(/[^ \n]*)", example).group(1)
            paths.add(path)
            out = curl(example, s.port)
            if path == "/metrics":
                assert "holdfast_model_requests_total{" in out
            elif '"stream": true' in example:
                assert out.rstrip().endswith("data: [DONE]") and len(datas(out.splitlines())) > 3, out
            else:
                assert EXPECTED[path](json.loads(out)), (example, out)
            if "json_schema" in example:
                assert set(json.loads(json.loads(out)["choices"][0]["message"]["content"])) == {"name", "age"}
    assert paths == set(EXPECTED) | {"/metrics"}, paths


def configuration_file():
    """Is taken as it stands, with a models folder that holds such a file."""
    block = re.search(r"^    \[server\]\n(    .*\n)+", TEXT, re.M).group(0)
    home = TMP / "home"
    (home / "models").mkdir(parents=True)
    (home / ".config/holdfast").mkdir(parents=True)
    shutil.copy(TINY, home / "models/qwen2.5-coder.gguf")
    (home / ".config/holdfast/config.ini").write_text(re.sub(r"^    ", "", block, flags=re.M))
    with Server(model=None) as s:
        for name in ("coder", "gpt-4o", "claude-sonnet", "qwen2.5-coder"):
            assert s.chat(model=name)["choices"], name
        m = s.get("/api/v1/models/coder").json
        assert m["state"] == "loaded" and m["pinned"] and m["context"]["tokens"] == 32768, m


if not shutil.which("curl"):
    skip("no curl")
run([curl_examples, configuration_file])
