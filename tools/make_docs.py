#!/usr/bin/env python3
"""The man page and the completions of bash, zsh and fish, from the tables that --help prints.

usage: make_docs.py HOLDFAST OUT_DIR     writes holdfast.1, holdfast.bash, _holdfast and holdfast.fish
HOLDFAST is the built program; it is asked for `help --json`.
"""
import json
import pathlib
import re
import subprocess
import sys

MODELS_DIR = '"${HOLDFAST_MODELS:-$HOME/.local/share/holdfast/models}"'
ABOUT = """Runs GGUF language models on the machine in front of you: answers in the terminal, an HTTP server with
the APIs of OpenAI, Anthropic, Ollama and llama-server, and tools to look at models, measure them and convert them."""
ENVIRONMENT = [("HOLDFAST_MODELS", "the models folder (~/.local/share/holdfast/models)"),
               ("HOLDFAST_CPU", "scalar, avx2, avx512 ...: kernels of a lower level than the machine has"),
               ("XDG_CACHE_HOME, XDG_CONFIG_HOME", "where the disk cache (holdfast/) and the settings (holdfast/config.ini) are")]
FILES = [("~/.config/holdfast/config.ini", "settings of the server and of each model; the keys are the long options of serve"),
         ("~/.cache/holdfast", "conversations kept by serve; see holdfast cache"),
         ("~/.local/share/holdfast/models", "models, found by name")]


def names(option):
    return option["names"].split(", ")


def choices(text):
    """The words of "mmap|copy"; upper case stands for something else."""
    return text.split("|") if text and re.fullmatch(r"[a-z0-9]+(\|[a-z0-9]+)+", text) else []


def first_words(verb):
    return [w for part in verb["args"].split() for w in choices(part)]


def takes(option):
    """What completes the value: None (no value), words, "models", "dirs", "files" or "text"."""
    arg = option["arg"]
    if arg is None:
        return None
    if "--model" in names(option) and arg == "FILE":
        return "models"
    return choices(arg) or {"DIR": "dirs"}.get(arg) or ("files" if re.match("FILE|PATH", arg) else "text")


# ---- man page --------------------------------------------------------------------------------
def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + l if l[:1] in ("'", ".") else l for l in text.split("\n"))


def man(doc):
    out = [f'.TH HOLDFAST 1 "" "Holdfast {doc["version"]}"', ".SH NAME", "holdfast \\- language models on your own machine",
           ".SH SYNOPSIS", ".B holdfast", ".I VERB", "[OPTIONS]", ".SH DESCRIPTION", roff(ABOUT)]
    for v in doc["verbs"]:
        out += [f'.SH "HOLDFAST {v["name"].upper()}"', f".B holdfast {v['name']}", roff(v["args"]), ".PP", roff(v["summary"])]
        for o in v["options"]:
            value = f" \\fI{roff(o['arg'])}\\fR" if o["arg"] else ""
            out += [".TP", f"\\fB{roff(o['names'])}\\fR{value}", roff(o["help"])]
        if v["examples"]:
            out += [".PP", ".EX", roff(v["examples"].rstrip("\n")), ".EE"]
    for title, rows in (("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)):
        out.append(f".SH {title}")
        for name, what in rows:
            out += [".TP", f"\\fB{roff(name)}\\fR", roff(what)]
    return "\n".join(out) + "\n"


# ---- bash ------------------------------------------------------------------------------------
BASH = """# bash completion of holdfast, written by tools/make_docs.py
_holdfast_models() {
    local dir=%s f
    for f in "$dir"/*.gguf; do [ -e "$f" ] && f=${f##*/} && echo "${f%%.gguf}"; done
}
_holdfast() { # without a word of ours the shell completes files
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]} words=
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "%s help --help --version" -- "$cur"))
        return
    fi
    case "$verb $prev" in
%s
    *)
        case "$verb" in
%s
        esac ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o bashdefault -o default -F _holdfast holdfast
"""


def bash(doc):
    values, options = [], []
    for v in doc["verbs"]:
        for o in v["options"]:
            kind = takes(o)
            if kind is None:
                continue
            words = "$(_holdfast_models)" if kind == "models" else "" if isinstance(kind, str) else " ".join(kind)
            pattern = "|".join(f'"{v["name"]} {n}"' for n in names(o))
            values.append(f'    {pattern}) words="{words}" ;;')
        flags = " ".join(n for o in v["options"] for n in names(o))
        starts = " ".join(first_words(v))
        case = f'[[ $cur == -* ]] && words="{flags} --help"'
        options.append(f"        {v['name']}) {case}" + (f' || words="{starts}"' if starts else "") + " ;;")
    verbs = " ".join(v["name"] for v in doc["verbs"])
    return BASH % (MODELS_DIR, verbs, "\n".join(values), "\n".join(options))


# ---- zsh -------------------------------------------------------------------------------------
ZSH = """#compdef holdfast
# zsh completion of holdfast, written by tools/make_docs.py
_holdfast_models() {
    local -a found
    found=(%s/*.gguf(N:t:r))
    _alternative "models:model:(($found))" "files:file:_files -g '*.gguf'"
}
_holdfast() {
    local -a verbs=(
%s
    )
    if (( CURRENT == 2 )); then
        _describe verb verbs
        return
    fi
    local verb=$words[2]
    shift words
    (( CURRENT-- ))
    case $verb in
%s
    esac
}
if [ "$funcstack[1]" = "_holdfast" ]; then _holdfast "$@"; else compdef _holdfast holdfast; fi
"""


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def zsh_option(o):
    kind, many = takes(o), names(o)
    action = {"models": "_holdfast_models", "dirs": "_files -/", "files": "_files", "text": " "}
    text = re.sub(r"([\[\]:\\])", r"\\\1", o["help"])
    spec = f"[{text}]"
    if kind is not None:
        spec += ":" + o["arg"].replace(":", "\\:") + ":" + (action[kind] if isinstance(kind, str) else f"({' '.join(kind)})")
    apart = f"({' '.join(many)})" if len(many) > 1 else ""
    return " ".join(quoted(apart + n + spec) for n in many)


def zsh(doc):
    verbs, cases = [], []
    for v in doc["verbs"]:
        verbs.append("        " + quoted(v["name"] + ":" + v["summary"].replace(":", "\\:")))
        starts = first_words(v)
        rest = quoted(f"1:what:({' '.join(starts)})") if starts else quoted("*:file:_files")
        lines = [zsh_option(o) for o in v["options"]] + ["'(-h --help)'{-h,--help}'[this text]'", rest]
        cases.append(f"    {v['name']})\n        _arguments -s " + " \\\n            ".join(lines) + " ;;")
    return ZSH % (MODELS_DIR, "\n".join(verbs), "\n".join(cases))


# ---- fish ------------------------------------------------------------------------------------
FISH = """# fish completion of holdfast, written by tools/make_docs.py
function __holdfast_models
    set -l dir $HOME/.local/share/holdfast/models
    set -q HOLDFAST_MODELS; and set dir $HOLDFAST_MODELS
    for f in $dir/*.gguf
        string replace -r '\\.gguf$' '' (basename $f)
    end
end
function __holdfast_verb
    set -l words (commandline -opc)
    test (count $words) -ge 2; and contains -- $words[2] $argv
end
function __holdfast_no_verb
    test (count (commandline -opc)) -eq 1
end
"""


def fish_quoted(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def fish(doc):
    out = [FISH]
    for v in doc["verbs"]:
        out.append(f"complete -c holdfast -n __holdfast_no_verb -f -a {v['name']} -d {fish_quoted(v['summary'])}")
    for v in doc["verbs"]:
        here = f"complete -c holdfast -n '__holdfast_verb {v['name']}'"
        for o in v["options"] + [{"names": "-h, --help", "arg": None, "help": "this text"}]:
            kind = takes(o)
            value = {None: "", "models": " -r -a '(__holdfast_models)'", "files": " -r", "dirs": " -x -a '(__fish_complete_directories)'",
                     "text": " -x"}
            value = value[kind] if kind is None or isinstance(kind, str) else f" -x -a '{' '.join(kind)}'"
            flags = " ".join("-l " + n[2:] if n.startswith("--") else ("-s " if len(n) == 2 else "-o ") + n[1:] for n in names(o))
            out.append(f"{here} {flags}{value} -d {fish_quoted(o['help'])}")
        if first_words(v):
            out.append(f"{here} -f -a '{' '.join(first_words(v))}'")
    return "\n".join(out) + "\n"


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip().split("\n\n")[1])
    doc = json.loads(subprocess.run([sys.argv[1], "help", "--json"], check=True, capture_output=True).stdout)
    out = pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    for name, write in (("holdfast.1", man), ("holdfast.bash", bash), ("_holdfast", zsh), ("holdfast.fish", fish)):
        (out / name).write_text(write(doc))


main()
