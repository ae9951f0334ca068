#!/usr/bin/env bash
# The verb `template`: bare renderings, errors with their position, the clock, spans, notes.
set -u
cd "$(dirname "$0")/../.."
bin="$PWD/build/holdfast"
[ -n "${HOLDFAST_BUILD:-}" ] && bin="$HOLDFAST_BUILD/holdfast"
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
fails=0

check() { # name, expected, got
    [ "$2" = "$3" ] && return
    printf '%s\n  want %s\n  got  %s\n' "$1" "$2" "$3"
    fails=$((fails + 1))
}

printf '{%% for m in messages %%}<|%s|>{{ m.content }}{%% endfor %%}%s' '{{ m.role }}' \
    "{{ strftime_now('%Y-%m-%d %H:%M:%S') }}" >"$tmp/t.jinja"
printf '{"messages": [{"role": "user", "content": "hi"}]}' >"$tmp/c.json"
check bare '<|user|>hi2026-11-22 12:00:00' \
    "$("$bin" template "$tmp/t.jinja" --context "$tmp/c.json" --now 2026-11-22T12:00:00)"

printf 'a\n  {{ x.y }}' >"$tmp/bad.jinja"
out=$("$bin" template "$tmp/bad.jinja" --context "$tmp/c.json" 2>"$tmp/err")
check 'exit code of an error' 1 $?
check 'nothing on stdout' '' "$out"
check 'position' 1 "$(grep -c "line 2 column 7: UndefinedError: 'x' is undefined" "$tmp/err")"

printf "{{ raise_exception('no such luck') }}" >"$tmp/raise.jinja"
"$bin" template "$tmp/raise.jinja" --context "$tmp/c.json" 2>"$tmp/err"
check 'exit code of raise_exception' 1 $?
check 'its message' 1 "$(grep -c 'no such luck' "$tmp/err")"

check spans '{"origin":"content","message":0,"special":false,"text":"hi"}' \
    "$("$bin" template "$tmp/t.jinja" --messages "$tmp/c.json" --spans 2>/dev/null | sed -n 2p)"
"$bin" template "$tmp/bad.jinja" --messages "$tmp/c.json" >"$tmp/out" 2>"$tmp/err"
check 'built-in format' '<|im_start|>user' "$(head -n 1 "$tmp/out")"
check 'and its note' 1 "$(grep -c "built-in format 'chatml' is used" "$tmp/err")"
says() { # words of the message, arguments
    local want=$1
    shift
    check "holdfast $*" "1 1" "$("$bin" "$@" </dev/null 2>&1 >/dev/null | grep -c -- "$want") 1"
}
printf '{{ 1 + }}' >"$tmp/broken.jinja"
printf '{"a": 1}' >"$tmp/object.json"
printf '[{"type": "function"}]' >"$tmp/nameless.json"
says 'broken.jinja: line 1 column 8' template "$tmp/broken.jinja" --messages "$tmp/c.json"
says 'object.json: expected a JSON array of tools' template "$tmp/t.jinja" --messages "$tmp/c.json" --tools "$tmp/object.json"
says 'nameless.json: tools\[0\] has no function name' run -m none --tools "$tmp/nameless.json" hi
says 'broken.jinja: JSON line 1' run -m none --json-schema "$tmp/broken.jinja" hi
says 'not both' run -m none --json-schema "$tmp/object.json" --grammar "$tmp/object.json" hi
says 'on or off' template "$tmp/t.jinja" --messages "$tmp/c.json" --thinking maybe
"$bin" template "$tmp/t.jinja" --messages "$tmp/none.json" 2>/dev/null
check 'missing file' 1 $?
exit $((fails > 0))
