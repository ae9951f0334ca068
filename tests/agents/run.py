#!/usr/bin/env python3
"""Five coding agents from npm against the real server: `make test-agents [AGENTS="pi codex"]`.

Each runs headless in a folder and a HOME of its own, set up by `holdfast connect AGENT --write`, and is
asked to read a file. Small models make few calls of their own and rarely end, so a proxy between the two
names the tool in the first request that has tools (tool_choice: the call itself is the model's own, made
under the grammar), ends later texts at the first line or sentence (stop), and notes what passes. What must hold: every request is accepted, the call reaches
the tool and its result comes back in the next request, no error event, cached tokens are reported, exit 0.
The transcripts stay in build/agents/log."""
import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from harness import BUILD, HOLDFAST, MODELS, ROOT, TMP, Server, environment, skip  # noqa: E402

NPM = ROOT / "build/agents"
MODEL = os.environ.get("MODEL", "Qwen2.5-Coder-0.5B-Instruct.Q4_K_M")
CONTEXT = 32768
TASK = "Read the file notes.txt with your tools and tell me the secret word in it."
PACKAGES = ["opencode-ai@1.18.33", "@openai/codex@0.169", "@mariozechner/pi-coding-agent@0.73.1",
            "@qwen-code/qwen-code@0.15.10", "@anthropic-ai/claude-code@2.1.197"]
QUIET = {"NO_PROXY": "*", "DISABLE_TELEMETRY": "1", "DISABLE_ERROR_REPORTING": "1", "DISABLE_AUTOUPDATER": "1"}

# name: tool to call, words, environment; {url}, {model}
AGENTS = {
    "opencode": ("read", ["run", "--format", "json", "-m", "holdfast/{model}", TASK],
                 {f"OPENCODE_DISABLE_{x}": "1" for x in ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS", "SHARE")}),
    "codex": (None, ["exec", "--json", "--skip-git-repo-check", "-p", "holdfast", TASK], {}),
    "pi": ("read", ["--offline", "--mode", "json", "--provider", "holdfast", "--model", "{model}", "-p", TASK],
           {"PI_OFFLINE": "1", "PI_TELEMETRY": "0", "PI_SKIP_VERSION_CHECK": "1"}),
    "qwen": ("read_file", ["--auth-type", "openai", "--approval-mode", "auto-edit", "-o", "stream-json", "-p", TASK],
             {"OPENAI_BASE_URL": "{url}/v1", "OPENAI_API_KEY": "none", "OPENAI_MODEL": "{model}", "QWEN_CODE_MAX_OUTPUT_TOKENS": "1000"}),
    "claude": ("Read", ["-p", TASK, "--output-format", "stream-json", "--verbose", "--permission-mode", "acceptEdits",
                        "--allowedTools", "Read Write Edit"],
               {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "CLAUDE_CODE_MAX_RETRIES": "1",
                "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "1000", "DISABLE_UPDATES": "1", "DISABLE_AUTO_COMPACT": "1", "IS_SANDBOX": "1"}),
}


class Proxy:
    """Passes requests on as they are, but for tool_choice in the first one with tools."""

    def __init__(self, port, tool):
        self.tool, self.seen, self.lock = tool, [], threading.Lock()
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                entry = {"method": self.command, "path": self.path, "status": 0, "answer": ""}
                body = proxy.change(entry, body)
                c = http.client.HTTPConnection("127.0.0.1", port, timeout=1200)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "content-length", "accept-encoding")}
                c.request(self.command, self.path, body, headers)
                r = c.getresponse()
                entry["status"] = r.status
                self.send_response(r.status)
                for k, v in r.getheaders():
                    if k.lower() not in ("transfer-encoding", "content-length", "connection", "date"):
                        self.send_header(k, v)
                self.send_header("Connection", "close")
                self.end_headers()
                while part := r.read1(65536):
                    entry["answer"] += part.decode("utf-8", "replace")
                    try:
                        self.wfile.write(part)
                    except OSError:
                        break
                self.close_connection = True
                c.close()

            do_GET = do_POST = do_HEAD = do_DELETE = handle_any

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def change(self, entry, body):
        with self.lock:
            self.seen.append(entry)
        if not body:
            return body
        o = entry["body"] = json.loads(body)
        o = dict(o) | {"stop_sequences" if "/messages" in entry["path"] else "stop": [".", "\n"]}
        names = tool_names(o)
        # the agent's own first turn, not a side request with other tools
        if not names or any(e.get("named") for e in self.seen) or (self.tool and self.tool not in names):
            return json.dumps(o, ensure_ascii=False).encode()
        del o["stop_sequences" if "/messages" in entry["path"] else "stop"]
        name = self.tool or next(n for n in ("exec_command", "shell", "shell_command", "update_plan") if n in names)
        entry["named"] = name
        o["tool_choice"] = ({"type": "tool", "name": name} if "/messages" in entry["path"] else
                            {"type": "function", "name": name} if "/responses" in entry["path"] else
                            {"type": "function", "function": {"name": name}})
        return json.dumps(o, ensure_ascii=False).encode()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def tool_names(o):
    return [t.get("name") or t.get("function", {}).get("name") for t in o.get("tools") or []]


def result_of(o):
    """The results of calls that a request brings back."""
    found = []
    for m in (o.get("messages") or o.get("input") or []):
        if m.get("role") == "tool" or m.get("type") == "function_call_output":
            found.append(json.dumps(m.get("content", m.get("output"))))
        if isinstance(m.get("content"), list):
            found += [json.dumps(p.get("content")) for p in m["content"] if p.get("type") == "tool_result"]
    return found


def judge(name, proxy, code, seconds):
    seen = [e for e in proxy.seen if "body" in e]
    bad = [(e["path"], e["status"], e["answer"][:500]) for e in proxy.seen if e["status"] != 200]
    errors = [e["answer"][-500:] for e in seen if re.search(r'event: error|data: \{"error"|response\.failed', e["answer"])]
    results = [r for e in seen for r in result_of(e["body"])]
    cached = max([int(n) for e in seen for n in re.findall(r'"(?:cached_tokens|cache_read_input_tokens)": ?(\d+)', e["answer"])], default=0)
    prompt = max([int(n) for e in seen for n in re.findall(r'"(?:prompt_tokens|input_tokens)": ?(\d+)', e["answer"])], default=0)
    named = [e["named"] for e in seen if "named" in e]
    print(f"{name}: {len(proxy.seen)} requests ({', '.join(sorted({e['path'].split('?')[0] for e in proxy.seen}))}), "
          f"called {named}, {len(results)} results came back, {cached} cached of at most {prompt + (cached if name == 'claude' else 0)} "
          f"prompt tokens, exit {code}, {seconds:.0f} s", flush=True)
    wrong = []
    if bad:
        wrong.append(f"not accepted: {bad}")
    if errors:
        wrong.append(f"errors in streams: {errors}")
    if not named or not results:
        wrong.append("no call was made, or its result did not come back")
    if not cached:
        wrong.append("no cached tokens were reported")
    if code != 0:
        wrong.append(f"exit {code}")
    for w in wrong:
        print(f"  WRONG: {w}")
    return not wrong


def run_agent(name, server):
    tool, words, env = AGENTS[name]
    home, work, log = TMP / f"{name}-home", TMP / f"{name}-work", NPM / "log"
    for d in (home, work, log):
        d.mkdir(parents=True, exist_ok=True)
    (work / "notes.txt").write_text("The secret word is heron.\n")
    proxy = Proxy(server.port, tool)
    fill = lambda text: text.replace("{url}", proxy.url).replace("{model}", MODEL)  # noqa: E731
    clean = {k: v for k, v in environment().items() if not k.startswith(("ANTHROPIC", "CLAUDE", "OPENAI")) and "proxy" not in k.lower()}
    clean |= QUIET | {"HOME": str(home), "TMPDIR": str(work)} | {k: fill(v) for k, v in env.items()}
    subprocess.run([HOLDFAST, "connect", name, "--write", "--url", proxy.url, "--model", MODEL, "--context", str(CONTEXT)],
                   env=clean, check=True, capture_output=True)
    start = time.monotonic()
    with open(log / f"{name}.txt", "w") as out:
        try:
            code = subprocess.run([NPM / "node_modules/.bin" / name, *map(fill, words)], env=clean, cwd=work, stdin=subprocess.DEVNULL,
                                  stdout=out, stderr=subprocess.STDOUT, timeout=int(os.environ.get("AGENT_SECONDS", "900"))).returncode
        except subprocess.TimeoutExpired:
            code = "timeout"
    proxy.close()
    (log / f"{name}.json").write_text(json.dumps(proxy.seen, indent=1, ensure_ascii=False))
    return judge(name, proxy, code, time.monotonic() - start)


def install():
    NPM.mkdir(parents=True, exist_ok=True)
    missing = [a for a in AGENTS if not (NPM / "node_modules/.bin" / a).exists()]
    if missing:
        if not (NPM / "package.json").exists():
            (NPM / "package.json").write_text('{"private": true}\n')
        done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", *PACKAGES], cwd=NPM, capture_output=True, text=True)
        if done.returncode:
            skip(f"the agents could not be installed: {done.stderr[-300:]}")
    for package, script in (("opencode-ai", "postinstall.mjs"), ("@anthropic-ai/claude-code", "install.cjs")):
        subprocess.run(["node", script], cwd=NPM / "node_modules" / package, capture_output=True)  # newer npm asks first


def main():
    if not shutil.which("npm"):
        skip("no npm")
    if not (MODELS / f"{MODEL}.gguf").exists():
        skip(f"no {MODEL} in the models folder (make models)")
    install()
    names = sys.argv[1:] or list(AGENTS)
    with Server("-c", str(CONTEXT), "--alias", MODEL, model=MODEL) as server:
        good = [run_agent(n, server) for n in names]
        assert "AddressSanitizer" not in server.text()
    print(f"{sum(good)} of {len(good)} agents did it")
    return sum(good) != len(good)


sys.exit(main())
