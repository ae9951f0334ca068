#!/usr/bin/env bash
# synth and show: a shape written to disk is what show says it is; mistakes, a full disk and an
# interrupt leave no file behind.
set -u
h=${HOLDFAST_BUILD:-build}/holdfast
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT
fail() { echo "FAIL: $*"; exit 1; }
has() { grep -q -- "$2" "$1" || { cat "$1"; fail "$1 lacks: $2"; }; }

"$h" synth smollm2-135m --layers 2 -o "$dir/a.gguf" >"$dir/out" 2>"$dir/err" || fail "synth: $(cat "$dir/err")"
[ -s "$dir/err" ] && fail "synth is not quiet in a pipe"
"$h" show "$dir/a.gguf" --tensors >"$dir/show" || fail show
has "$dir/show" 'llama, 2 layers, 576 wide, 9 heads (3 KV) of 64'
has "$dir/show" '49152 tokens'
has "$dir/show" 'K q8_0, V q8_0'
has "$dir/show" 'blk.1.ffn_down.weight *q6_k *1536 x 576'
has "$dir/show" 'token_embd.weight *q8_0'
"$h" show --json "$dir/a.gguf" | python3 -c '
import json, sys
d = json.load(sys.stdin)
assert d["metadata"]["llama.block_count"] == 2
assert d["metadata"]["tokenizer.ggml.tokens"]["count"] == 49152
assert sum(t["bytes"] for t in d["types"]) == d["memory"]["weight_bytes"] < d["bytes"]
' || fail "show --json"

# the same seed gives the same file, another one does not
"$h" synth smollm2-135m --layers 2 -o "$dir/b.gguf" >/dev/null && cmp -s "$dir/a.gguf" "$dir/b.gguf" || fail "not reproducible"
"$h" synth smollm2-135m --layers 2 --seed 7 -f -o "$dir/b.gguf" >/dev/null || fail "--force"
cmp -s "$dir/a.gguf" "$dir/b.gguf" && fail "--seed changes nothing"
rm "$dir/b.gguf"

refuses() { # expected words, then the command
    local words=$1
    shift
    "$h" "$@" >"$dir/out" 2>"$dir/err"
    [ $? -eq 1 ] || fail "$* did not exit with 1"
    has "$dir/err" "$words"
}
refuses "did you mean 'llama3.2-1b'" synth llama3-1b -o "$dir/x.gguf"
refuses "did you mean 'q4_k_m'" synth llama3.2-1b --type q4_km -o "$dir/x.gguf"
"$h" show tests/vectors/models/qwen2.gguf >"$dir/biased" || fail "show qwen2"
has "$dir/biased" 'K f16, V q8_0'
refuses "there is no K/V type 'q7'" show -ctk q7 "$dir/a.gguf"
refuses "is there already" synth smollm2-135m -o "$dir/a.gguf"
refuses "-o FILE" synth smollm2-135m
refuses "cannot create" synth smollm2-135m --layers 1 -o "$dir/no/x.gguf"
head -c 5000000 "$dir/a.gguf" >"$dir/cut.gguf"
refuses "is the download complete" show "$dir/cut.gguf"
refuses "there is no file" show "$dir/nothing"
refuses "no regular file\|not a regular file" show "$dir"
refuses "no GGUF file" show "$0"
refuses "there is no K/V type" show -ctk q9 "$dir/a.gguf"

# a disk that fills up: file size limit, with the signal ignored so that write() fails
(trap '' XFSZ; ulimit -f 2000; exec "$h" synth smollm2-135m --layers 2 -o "$dir/full.gguf") >/dev/null 2>"$dir/err"
[ $? -eq 1 ] || fail "full disk: exit code"
has "$dir/err" 'cannot write'
# an interrupt
"$h" synth llama3.1-8b --type f16 -o "$dir/int.gguf" >/dev/null 2>"$dir/err" &
pid=$!
for _ in $(seq 100); do [ -s "$dir/int.gguf.tmp" ] && break; sleep 0.05; done
kill -INT $pid
wait $pid
[ $? -eq 1 ] || fail "interrupt: exit code"
has "$dir/err" 'interrupted\|free'
ls "$dir" | grep -E 'full|int|x\.gguf|tmp' && fail "files were left behind"
echo ok
