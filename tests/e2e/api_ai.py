#!/usr/bin/env python3
"""npm's `ai` with @ai-sdk/openai-compatible against the real server (ai/client.mjs has the checks)."""
import shutil
import subprocess

from harness import BUILD, ROOT, Server, skip

NPM = BUILD / "npm"
if not shutil.which("node") or not (NPM / "node_modules/ai").exists():
    skip("npm's ai is not installed (make clients; it needs node and npm)")
with Server() as server:
    done = subprocess.run(["node", ROOT / "tests/e2e/ai/client.mjs", f"http://127.0.0.1:{server.port}"], cwd=NPM, timeout=120)
    assert done.returncode == 0, done
