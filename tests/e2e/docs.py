#!/usr/bin/env python3
"""What `make install` puts in place, and the man page and completions made from the tables of --help:
each verb and flag is in them, shells load them and complete with them."""
import json
import os
import pathlib
import plistlib
import shutil
import subprocess

from harness import BUILD, HOLDFAST, ROOT, TMP, holdfast, run

DOCS, MODELS = TMP / "docs", TMP / "models"
VERBS = json.loads(holdfast("help", "--json").stdout)["verbs"]
FLAGS = [(v["name"], n) for v in VERBS for o in v["options"] for n in o["names"].split(", ")]


def shell(*words, **more):
    env = dict(os.environ, HOLDFAST_MODELS=str(MODELS), MAKEFLAGS="")  # that of `make -j test` is not for a make inside
    r = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=60, env=env, **more)
    assert r.returncode == 0 and not r.stderr, r
    return r.stdout


def make():
    MODELS.mkdir()
    (MODELS / "coder.gguf").touch()
    shell(ROOT / "tools/make_docs.py", HOLDFAST, DOCS)


def man_page():
    text = (DOCS / "holdfast.1").read_text().replace("\\-", "-")
    if shutil.which("groff"):  # no warning, and the text as a reader sees it
        text = shell("groff", "-man", "-Tascii", "-P-cbou", "-ww", DOCS / "holdfast.1")
    for v in VERBS:
        part = text.split(f"HOLDFAST {v['name'].upper()}\n", 1)[1] if shutil.which("groff") else text
        for verb, flag in FLAGS:
            assert verb != v["name"] or flag in part, (verb, flag)


def completed_by_bash(*words):
    script = 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _holdfast; printf "%s\\n" "${COMPREPLY[@]}"'
    return shell("bash", "-c", script, DOCS / "holdfast.bash", "holdfast", *words).split()


def completed_by_fish(*words):
    line = " ".join(["holdfast", *words])
    out = shell("fish", "--no-config", "-c", f"source {DOCS}/holdfast.fish; complete -C '{line}'")
    return [l.split("\t")[0] for l in out.splitlines()]


def shells():
    for name, complete in (("bash", completed_by_bash), ("fish", completed_by_fish)):
        if not shutil.which(name):
            print(f"no {name}: left out")
            continue
        assert {v["name"] for v in VERBS} <= set(complete("")), name
        assert complete("se") == ["serve"] and complete("connect", "op") == ["opencode"], name
        assert "coder" in complete("serve", "-m", "co") and "coder" in complete("run", "--model", ""), name
        assert set(complete("run", "--load", "")) == {"mmap", "copy"}, name
        for v in VERBS:
            wanted = {f for verb, f in FLAGS if verb == v["name"] and f.startswith("--")}
            assert wanted <= set(complete(v["name"], "--")), (name, v["name"], wanted)


def zsh():
    text = (DOCS / "_holdfast").read_text()
    for verb, flag in FLAGS:
        part = text.split(f"    {verb})\n", 1)[1].split(";;", 1)[0]
        assert f"{flag}[" in part or f"){flag}[" in part, (verb, flag)
    if shutil.which("zsh"):
        load = f"fpath=({DOCS} $fpath); autoload -Uz compinit; compinit -D -u; print $_comps[holdfast]"
        assert shell("zsh", "-f", "-c", load).strip() == "_holdfast"
        shell("zsh", "-n", DOCS / "_holdfast")
    else:
        print("no zsh: only its text was looked at")


def installed():
    target = TMP / "root"
    if not (BUILD / "libholdfast.so").exists():  # some builds have the program only
        print("not a whole build: nothing is installed")
        return
    shell("make", "-s", "-C", ROOT, "install", f"B={os.path.relpath(BUILD, ROOT)}", f"DESTDIR={target}", "PREFIX=/opt/x")
    at = lambda path: target / "opt/x" / path  # noqa: E731
    for path in ("bin/holdfast", "include/holdfast.h", "lib/libholdfast.a", "lib/libholdfast.so", "lib/pkgconfig/holdfast.pc",
                 "share/man/man1/holdfast.1", "share/bash-completion/completions/holdfast", "share/zsh/site-functions/_holdfast",
                 "share/fish/vendor_completions.d/holdfast.fish"):
        assert at(path).stat().st_size > 100, path
    with open(at("share/holdfast/io.holdfast.plist"), "rb") as f:
        assert plistlib.load(f)["ProgramArguments"] == ["/opt/x/bin/holdfast", "serve"]
    unit = at("lib/systemd/user/holdfast.service").read_text()
    assert "ExecStart=/opt/x/bin/holdfast serve\n" in unit and "@" not in unit
    assert "/opt/x" in at("lib/pkgconfig/holdfast.pc").read_text()
    version = shell(at("bin/holdfast"), "--version").split()[1]
    assert f"Holdfast {version}" in at("share/man/man1/holdfast.1").read_text()


run([make, man_page, shells, zsh, installed])
