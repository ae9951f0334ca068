#!/usr/bin/env bash
# gen/unicode.c is what tools/make_unicode.py writes (skipped under another version of Unicode).
exec python3 "$(dirname "$0")/../../tools/make_unicode.py" --check
