#!/usr/bin/env python3
"""How far the real models are from exact: KL, best token and perplexity beside the reference's own.

For each model of ../shared/vectors/real whose file is in the models folder: the weights decoded to
float32 run with an f32 cache give the base, the quantized file is compared with it on both texts.

usage: eval_real.py [--kv f32,q8_0] [--only SUBSTRING] [--holdfast build/holdfast]
"""
import argparse
import json
import os
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = pathlib.Path(os.environ.get("HOLDFAST_SHARED", ROOT.parent / "shared")) / "vectors/real"
MODELS = pathlib.Path(os.environ.get("HOLDFAST_MODELS", pathlib.Path.home() / ".local/share/holdfast/models"))
FILES = {
    "smollm2-135m-q4_1": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "gemma3-270m-q4_k_m": "gemma-3-270m.Q4_K_M.gguf",
    "qwen2.5-coder-0.5b-q4_k_m": "Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf",
}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--kv", default="f32,q8_0")
    p.add_argument("--only", default="")
    p.add_argument("--holdfast", default=str(ROOT / "build/holdfast"))
    args = p.parse_args()

    def evaluate(model, text, kv, *more):
        ids = ",".join(map(str, text["tokens"]))
        command = [args.holdfast, "eval", "-m", model, "--tokens", ids, "-ctk", kv, "-ctv", kv, "--json", *more]
        return json.loads(subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout)

    print("| model | text | KV | KL | reference's KL | ratio | best token, % | reference's | perplexity / exact |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, file in FILES.items():
        path, reference = MODELS / file, SHARED / f"{name}.json"
        if args.only not in name or not path.exists() or not reference.exists():
            continue
        with tempfile.TemporaryDirectory() as tmp:
            exact = pathlib.Path(tmp) / "f32.gguf"
            subprocess.run([args.holdfast, "quantize", path, exact, "f32"], check=True, capture_output=True)
            for text in json.loads(reference.read_text())["texts"]:
                base = pathlib.Path(tmp) / "base.f32"
                evaluate(exact, text, "f32", "--logits", base)
                for kv in args.kv.split(","):
                    r = evaluate(path, text, kv, "--kl", base)
                    print(f"| {name} | {text['text']} | {kv} | {r['kl']:.5f} | {text['ref_kl']:.5f} | "
                          f"{r['kl'] / text['ref_kl']:.2f} | {100 * r['top1']:.1f} | {100 * text['ref_top1']:.1f} | "
                          f"{r['ppl'] / text['exact_ppl']:.4f} |", flush=True)


if __name__ == "__main__":
    main()
