#!/usr/bin/env bash
# The example program, built as an embedder builds it (installed header, library and pkg-config
# file), answers on a tiny model, and says what is wrong with a file that is none.
set -eu
cd "$(dirname "$0")/../.."
build=${HOLDFAST_BUILD:-$PWD/build}
[ "$build" = "$PWD/build" ] || { echo "only for the default build"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make -s install DESTDIR="$tmp" PREFIX=/usr >/dev/null
export PKG_CONFIG_PATH=$tmp/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$tmp
[ "$(pkg-config --modversion holdfast)" = "$("$build/holdfast" --version | cut -d' ' -f2)" ]
# shellcheck disable=SC2046
cc -std=c17 -Wall -Wextra -Wpedantic -o "$tmp/ask" examples/ask.c $(pkg-config --cflags --libs holdfast)
export LD_LIBRARY_PATH=$tmp/usr/lib
"$tmp/ask" tests/vectors/models/llama.gguf "Hello" >"$tmp/out"
grep -q '^\[[0-9]* + [0-9]* tokens, [0-9]* ms to the first\]$' "$tmp/out"
if "$tmp/ask" examples/ask.c "Hello" 2>"$tmp/err"; then exit 1; fi
grep -q 'ask.c' "$tmp/err"
