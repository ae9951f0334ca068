#!/usr/bin/env python3
"""Holdfast beside llama.cpp on the same files in the same minutes.

Alternates the two engines test by test (A/B/A/B), gives the median of each and the median of the
ratios of neighbours, and the read bandwidth measured in between. The peer is built natively from the
PyPI source package llama-cpp-python into build/peer (or taken from $HOLDFAST_PEER, a folder with
llama-bench). Models that do not exist yet are made by `holdfast synth`.

usage: bench_peers.py [--rounds 5] [--threads 2] [--out build/peers] [--only SUBSTRING] [--quick]
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
PEER_SDIST = "llama-cpp-python==0.3.36"

# model, synth arguments (None: fetched by make models), tests: (name, n_prompt, n_gen, depth, kv)
SHAPE = "llama3.2-1b"
DENSE = [("pp512", 512, 0, 0, "q8_0"), ("tg64", 0, 64, 0, "q8_0")]
DEEP = DENSE + [("tg32 @ d4096 q8_0 KV", 0, 32, 4096, "q8_0"), ("tg32 @ d4096 f16 KV", 0, 32, 4096, "f16")]
MODELS = [
    (f"{SHAPE}.q4_k_m.gguf", [SHAPE, "--type", "q4_k_m"], DEEP),
    (f"{SHAPE}.q8_0.gguf", [SHAPE, "--type", "q8_0"], DENSE),
    (f"{SHAPE}.q4_0.gguf", [SHAPE, "--type", "q4_0"], DENSE),
    ("SmolLM2-135M-Instruct.Q4_1.gguf", None, DENSE),
]


def run(command, **kw):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True, **kw).stdout


def peer_dir():
    if os.environ.get("HOLDFAST_PEER"):
        return pathlib.Path(os.environ["HOLDFAST_PEER"])
    home = BUILD / "peer"
    found = list(home.glob("*/vendor/llama.cpp/build/bin/llama-bench"))
    if not found:
        home.mkdir(parents=True, exist_ok=True)
        print("building the peer (once, about 20 minutes on 2 cores)", file=sys.stderr)
        run([sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "-d", home, PEER_SDIST])
        run(["tar", "xzf", next(home.glob("*.tar.gz")), "-C", home])
        source = next(home.glob("*/vendor/llama.cpp"))
        run(["cmake", "-B", source / "build", "-S", source, "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON",
             "-DLLAMA_CURL=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF"])
        run(["cmake", "--build", source / "build", "-j", os.cpu_count(), "--target", "llama-bench"])
        found = list(home.glob("*/vendor/llama.cpp/build/bin/llama-bench"))
    return found[0].parent


def model_path(name, synth):
    folder = pathlib.Path(os.environ.get("HOLDFAST_MODELS", pathlib.Path.home() / ".local/share/holdfast/models"))
    path = folder / name
    if not path.exists():
        if synth is None:
            sys.exit(f"{path} is missing: run `make models`")
        run([BUILD / "holdfast", "synth", *synth, "-o", path])
    return path


def measure(engine, model, test, threads, reps):
    _, n_prompt, n_gen, depth, kv = test
    common = ["-m", model, "-p", n_prompt, "-n", n_gen, "-d", depth, "-t", threads, "-ctk", kv, "-ctv", kv,
              "-r", reps, "-o", "json"]
    command = [BUILD / "holdfast", "bench", *common] if engine == "ours" else [peer_dir() / "llama-bench", *common, "-fa", "1"]
    return json.loads(run(command))[0]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--reps", type=int, default=1, help="repetitions inside one run of an engine")
    p.add_argument("--out", default=str(BUILD / "peers"))
    p.add_argument("--only", default="", help="models whose name contains this")
    p.add_argument("--tests", default="", help="tests whose name contains this")
    args = p.parse_args()
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    all_results = {"ours": [], "peer": []}
    print("| model | test | holdfast | llama.cpp | ratio | GB/s read |")
    print("|---|---|---:|---:|---:|---:|")
    for name, synth, tests in MODELS:
        if args.only not in name:
            continue
        path = model_path(name, synth)
        for test in tests:
            if args.tests not in test[0]:
                continue
            rates = {"ours": [], "peer": []}
            bandwidth = []
            for _ in range(args.rounds):
                for engine in ("ours", "peer"):
                    result = measure(engine, path, test, args.threads, args.reps)
                    rates[engine].append(result["avg_ts"])
                    all_results[engine].append(result)
                bandwidth.append(float(run([BUILD / "tools/membw", args.threads, 7]).split()[0]))
            ratio = statistics.median(a / b for a, b in zip(rates["ours"], rates["peer"]))
            print(f"| {name} | {test[0]} | {statistics.median(rates['ours']):.1f} | {statistics.median(rates['peer']):.1f} "
                  f"| {ratio:.2f} | {statistics.median(bandwidth):.1f} |", flush=True)
    for engine, results in all_results.items():
        (out / f"{'holdfast' if engine == 'ours' else 'llama.cpp'}.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
