#!/usr/bin/env python3
"""`holdfast connect`: the settings of five agents, printed and written over what stands there."""
import json
import tomllib

from harness import TMP, Server, holdfast, run

HOME = TMP / "home"
FILES = {"opencode": ".config/opencode/opencode.json", "codex": ".codex/holdfast.config.toml", "pi": ".pi/agent/models.json",
         "qwen": ".qwen/settings.json", "claude": ".claude/settings.json"}


def read(agent):
    text = (HOME / FILES[agent]).read_text()
    return tomllib.loads(text) if agent == "codex" else json.loads(text)


def write(agent, *words):
    r = holdfast("connect", agent, "--write", *words)
    assert r.returncode == 0, r
    assert (HOME / FILES[agent]).stat().st_mode & 0o777 == 0o600
    return read(agent)


def each_agent():
    with Server() as s:  # found by itself, with its model and context
        url = f"http://127.0.0.1:{s.port}"
        assert write("opencode")["provider"]["holdfast"]["options"]["baseURL"] == url + "/v1"
        assert write("opencode")["provider"]["holdfast"]["models"]["qwen3"]["limit"]["context"] == 4096
        codex = write("codex")
        assert codex["model_provider"] == "holdfast" and codex["model"] == "qwen3", codex
        assert codex["model_providers"]["holdfast"]["base_url"] == url + "/v1"
        assert codex["model_providers"]["holdfast"]["wire_api"] == "responses"
        model = write("pi")["providers"]["holdfast"]["models"][0]
        assert model["id"] == "qwen3" and model["contextWindow"] == 4096
        assert write("qwen")["model"]["name"] == "qwen3"
        env = write("claude")["env"]
        assert env["ANTHROPIC_BASE_URL"] == url and env["ANTHROPIC_MODEL"] == "qwen3"


def keeps_what_stands_there():
    for agent in FILES:
        path = HOME / FILES[agent]
        for old in path.parent.glob(path.name + "*"):
            old.unlink()
        mine = 'own = "kept"\n' if agent == "codex" else '{"own": "kept"}'
        path.write_text(mine)
        words = ("--url", "http://127.0.0.1:1", "--model", "m", "--api-key", "sk-secret", "--context", "1000")
        first = write(agent, *words)
        second = write(agent, *words)
        assert first == second and first["own"] == "kept", (agent, first, second)
        assert path.with_name(path.name + ".before-holdfast").read_text() == mine
        assert agent == "qwen" or "sk-secret" in path.read_text()


def refuses():
    path = HOME / FILES["claude"]
    path.write_text("{ // a comment\n}")
    r = holdfast("connect", "claude", "--write")
    assert r.returncode == 1 and "nothing was changed" in r.stderr and path.read_text().startswith("{ //"), r
    assert holdfast("connect", "emacs").returncode == 1 and holdfast("connect").returncode == 1
    r = holdfast("connect", "pi", "--model", 'a"b\\c')
    assert json.loads(r.stdout.split("\n", 1)[1])["providers"]["holdfast"]["models"][0]["id"] == 'a"b\\c', r
    r = holdfast("connect", "codex", "--model", 'a"b\\c')
    assert tomllib.loads(r.stdout)["model"] == 'a"b\\c', r


run([each_agent, keeps_what_stands_there, refuses])
