#!/usr/bin/env bash
# holdfast tokenize: argument, file and pipe give the same ids; flags; refusals.
set -u
cd "$(dirname "$0")/../.."
hf="${HOLDFAST_BUILD:-build}/holdfast" m=tests/vectors/vocab-bpe.gguf
fail() { echo "tokenize: $*"; exit 1; }
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT

text='Hello <|im_start|> wörld'
printf %s "$text" >"$dir/text"
want=$("$hf" tokenize -m $m --ids "$text") || fail "exit code"
case $want in "["*[0-9]"]") ;; *) fail "'$want' is no list" ;; esac
[ "$("$hf" tokenize -m $m --ids -f "$dir/text")" = "$want" ] || fail "-f differs"
[ "$("$hf" tokenize -m $m --ids --stdin <"$dir/text")" = "$want" ] || fail "--stdin differs"
[ "$("$hf" tokenize -m $m --ids <"$dir/text")" = "$want" ] || fail "a pipe differs"
[ "$("$hf" tokenize -m $m --ids -p "$text" --no-parse-special)" != "$want" ] || fail "--no-parse-special"
[ "[$("$hf" tokenize -m $m --ids --no-bos "$text" | sed 's/^\[//')" = "[${want#*, }" ] || fail "--no-bos"
"$hf" tokenize -m $m "$text" | grep -q "> '<|im_start|>'" || fail "no text beside the ids"
printf 'a\xffb' | "$hf" tokenize -m $m --show-count | grep -q '^Total number of tokens: ' || fail "count"
for bad in "--idz x" "-p x y" "x -f $dir/text" "-f $dir/none"; do
    # shellcheck disable=SC2086
    "$hf" tokenize -m $m $bad >/dev/null 2>"$dir/err" && fail "'$bad' was taken"
    [ -s "$dir/err" ] || fail "'$bad': no message"
done
"$hf" tokenize -m $m --idz x 2>&1 | grep -q -e "--ids" || fail "no suggestion for --idz"
"$hf" tokenize -m "$dir/text" x 2>/dev/null && fail "a text was taken as a model"
echo ok
