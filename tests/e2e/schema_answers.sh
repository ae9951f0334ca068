#!/usr/bin/env bash
# A few answers of a real model under schemas with required fields (tools/schema_answers.py asks 100).
set -u
cd "$(dirname "$0")/../.."
build=${HOLDFAST_BUILD:-$PWD/build}
models=${HOLDFAST_MODELS:-$HOME/.local/share/holdfast/models}
model=$models/SmolLM2-135M-Instruct.Q4_1.gguf
[ -e "$model" ] || { echo "no SmolLM2 in the models folder (make models)"; exit 77; }
python=python3
[ -x "$build/venv/bin/python" ] && python=$build/venv/bin/python
"$python" -c 'import jsonschema' 2>/dev/null || { echo "PyPI jsonschema is not installed (make clients)"; exit 77; }
"$python" tools/schema_answers.py --holdfast "$build/holdfast" -m "$model" --prompts 10
