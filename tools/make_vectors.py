#!/usr/bin/env python3
"""Makes tests/vectors: tiny random-weight models with exact logits, and quantized blocks with their
exact decode, so that a clone of the project alone can check fidelity.

  make_vectors.py            writes tests/vectors/{models,quant} (the same bytes every time)
  make_vectors.py --check D  compares tools/oracle with reference vectors in D (../shared/vectors)

Needs numpy. The logits come from tools/oracle/forward.py in float64, which --check holds against an
independent engine: NMSE at most 1e-9 on every architecture here, blocks equal to the bit.
"""
import json
import pathlib
import sys

import numpy as np

from oracle import blocks, forward, gguf_file
from oracle.gguf_file import ARR, BOOL, F32, I32, STR, U32

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests/vectors"
V, N_GREEDY, MIN_GAP = 288, 16, 0.02
KIND_F32, KIND_F16, KIND_BF16 = 0, 1, 30

BASE = dict(L=2, d=40, H=4, Hk=2, D=16, ff=56, eps=1e-5, base=10000.0, ctx=4096)
SHORT, LONG = ("short", 9, 256, 1), ("long", 96, 256, 4)  # tokens, context, every n-th row is kept
# name: architecture, dimensions, features, extra keys
MODELS = {
    "llama": ("llama", dict(D=32), [], {}),
    "llama-freqs": ("llama", {}, ["tied", "freqs"], {}),
    "llama-linear": ("llama", {}, ["bias", "bias_o"],
                     {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}),
    "llama-yarn": ("llama", dict(D=20), ["tied"], {
        "rope.scaling.type": "yarn", "rope.scaling.factor": 8.0,
        "rope.scaling.original_context_length": 64}),
    "llama-half": ("llama", {}, ["half"], {}),
    "llama-quants": ("llama", dict(d=256, D=64, ff=256), ["quants"], {}),
    "llama-moe": ("llama", dict(ff=32, E=4, K=2, base=1e6), [], {}),
    "qwen2": ("qwen2", dict(d=48, H=3, Hk=1, D=None, base=1e6), ["bias", "bpe"], {}),
    "qwen3": ("qwen3", dict(D=24, base=1e6), ["qk_norm", "tied", "bpe"], {}),
    "qwen3moe": ("qwen3moe", dict(E=8, K=3, ffe=16, base=1e6), ["qk_norm", "bpe"], {}),
    "gemma3": ("gemma3", dict(L=7, H=2, Hk=1, D=32, ff=32, base=1e5),
               ["qk_norm", "tied", "post_norm"], {
        "attention.sliding_window": 16, "rope.freq_base_swa": 10000.0,
        "rope.scaling.type": "linear", "rope.scaling.factor": 8.0, "final_logit_softcapping": 8.0}),
    "phi3": ("phi3", dict(d=48, H=2, Hk=1, D=None, rot=12), ["fused", "long", "bpe"], {
        "rope.scaling.type": "longrope", "rope.scaling.original_context_length": 256,
        "rope.scaling.attn_factor": 1.19}),
    "mistral3": ("mistral3", dict(base=100.0, ctx=128), [], {
        "rope.scaling.type": "yarn", "rope.scaling.factor": 4.0,
        "rope.scaling.original_context_length": 32, "rope.scaling.yarn_beta_fast": 1.5,
        "rope.scaling.yarn_beta_slow": 0.5, "rope.scaling.yarn_log_multiplier": 1.0,
        "attention.temperature_scale": 0.4}),
    "smollm3": ("smollm3", dict(L=5, ff=32), ["tied", "bpe"], {}),
    "granite": ("granite", {}, ["bpe"], {
        "embedding_scale": 2.0, "residual_scale": 0.5, "logit_scale": 1.5, "attention.scale": 0.2}),
}
# llama-quants: activations are 8 bits wide there, so what is compared must be far from a tie
BOUND, BOUND_GAP = {"llama-quants": 1e-3}, 0.15
SEQUENCES = {"llama-quants": [("short", 9, 256, 1)], "phi3": [SHORT, LONG, ("long_factors", 96, 512, 4), ("beyond_original", 276, 512, 12)]}

# --- tokenizers: V tokens that load and can be typed at ---

PAIRS = ["_ t", "h e", "i n", "r e", "o n", "_ a", "_t he", "e r", "a t", "_ s", "o u", "_ w", "n d",
         "_ o", "e s", "i t", "_ c", "o r", "e n", "a n", "_ p", "in g", "_ b", "_ f", "_a nd", "e d",
         "i s", "_ m", "_t o"]
CHATML = ("{%- for message in messages %}{{- '<|im_start|>' + message['role'] + '\\n' + "
          "message['content'] + '<|im_end|>\\n' }}{%- endfor %}{%- if add_generation_prompt %}"
          "{{- '<|im_start|>assistant\\n' }}{%- endif %}")


def byte_symbols():
    """Byte-level BPE's stand-ins for the 256 bytes."""
    plain = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    others = [b for b in range(256) if b not in plain]
    return [chr(b) if b in plain else chr(256 + others.index(b)) for b in range(256)]


def write_bpe(w, pre):
    pairs = [p.replace("_", "\u0120") for p in PAIRS]
    tokens = byte_symbols() + [p.replace(" ", "") for p in pairs]
    tokens += ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    assert len(tokens) == V == len(set(tokens))
    w.key("tokenizer.ggml.model", STR, "gpt2")
    w.key("tokenizer.ggml.pre", STR, pre)
    w.key("tokenizer.ggml.tokens", ARR, tokens, STR)
    w.key("tokenizer.ggml.token_type", ARR, [1] * (V - 3) + [3] * 3, I32)
    w.key("tokenizer.ggml.merges", ARR, pairs, STR)
    w.key("tokenizer.ggml.bos_token_id", U32, V - 3)
    w.key("tokenizer.ggml.eos_token_id", U32, V - 1)
    w.key("tokenizer.ggml.add_bos_token", BOOL, False)


def write_spm(w):
    pieces = ["\u2581"] + list("etaoinshr") + [p.replace(" ", "").replace("_", "\u2581") for p in PAIRS]
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    tokens += ["<|im_start|>", "<|im_end|>"] + pieces[:V - 261]
    types = [2, 3, 3] + [6] * 256 + [3, 3] + [1] * (V - 261)
    assert len(tokens) == V == len(set(tokens))
    w.key("tokenizer.ggml.model", STR, "llama")
    w.key("tokenizer.ggml.tokens", ARR, tokens, STR)
    w.key("tokenizer.ggml.scores", ARR, [0.0] * 261 + [-float(i) for i in range(V - 261)], F32)
    w.key("tokenizer.ggml.token_type", ARR, types, I32)
    w.key("tokenizer.ggml.bos_token_id", U32, 1)
    w.key("tokenizer.ggml.eos_token_id", U32, 2)
    w.key("tokenizer.ggml.unknown_token_id", U32, 0)
    w.key("tokenizer.ggml.add_bos_token", BOOL, True)


# --- random blocks ---

SCALES = {2: [0], 3: [0, 2], 6: [0], 7: [0, 2], 8: [0], 10: [80, 82], 11: [108], 12: [0, 2],
          13: [0, 2], 14: [208], 20: [0], 23: [0]}  # where the f16 fields of each type stand
# the minimum in units of the scale that brings the mean of random codes to 0
OFFSET = {3: -7.5, 7: -15.5, 10: 1.5, 12: 7.5, 13: 15.5}
QUANTIZED = [k for k, (_, block, _) in blocks.TYPES.items() if block > 1]


def random_blocks(kind, rng, count, std):
    """Random codes with scales that give the decoded numbers this spread, some 10 % apart."""
    name, _, size = blocks.TYPES[kind]
    b = rng.integers(0, 256, (count, size), dtype=np.uint8)
    if name == "mxfp4":
        b[:, 0] = 128 + round(np.log2(std / 5.5))
    elif name == "nvfp4":
        b[:, :4] = np.abs(blocks.ue4m3(np.arange(127, dtype=np.uint8)) - std / 5.5).argmin()

    def set_scales(d):
        for at, factor in zip(SCALES.get(kind, []), (1, OFFSET.get(kind))):
            b[:, at:at + 2] = (d * factor).astype(np.float16).view(np.uint8).reshape(-1, 2)
    set_scales(np.ones(count))
    unit = blocks.decode(kind, b.tobytes()).astype(np.float64).std()
    set_scales(std / unit * (1 + 0.1 * rng.standard_normal(count)))
    return b


# --- a model ---

class Weights:
    """Random tensors, scaled so that activations stay near 1 and the logits near 2."""

    def __init__(self, w, seed, feat):
        self.w, self.rng, self.n = w, np.random.default_rng(seed), 0
        self.half, self.quants = "half" in feat, "quants" in feat

    def matrix(self, name, *shape, gain=1.0):
        std = gain / np.sqrt(shape[-1])
        self.n += 1
        if self.quants:
            kind = QUANTIZED[(self.n - 1) % len(QUANTIZED)]
            count = int(np.prod(shape)) // blocks.TYPES[kind][1]
            raw = random_blocks(kind, self.rng, count, std).tobytes()
            self.w.raw_tensor(name + ".weight", kind, shape, raw)
            return
        x = self.rng.standard_normal(shape) * std
        kind = (KIND_F16, KIND_BF16, KIND_F32)[self.n % 3] if self.half else KIND_F32
        self.w.tensor(name + ".weight", kind, x)

    def norm(self, name, n, mean=1.0):
        self.w.tensor(name + ".weight", KIND_F32, mean * (1 + 0.2 * self.rng.standard_normal(n)))

    def bias(self, name, n):
        self.w.tensor(name + ".bias", KIND_F32, 0.3 * self.rng.standard_normal(n))


def write_attention(t, p, m, feat):
    D = m["D"] or m["d"] // m["H"]
    q, kv, d = m["H"] * D, m["Hk"] * D, m["d"]
    if "fused" in feat:
        t.matrix(p + "attn_qkv", q + 2 * kv, d, gain=1.4)
    else:
        for name, n in ("attn_q", q), ("attn_k", kv), ("attn_v", kv):
            t.matrix(p + name, n, d, gain=1.0 if name == "attn_v" else 1.4)
            if "bias" in feat:
                t.bias(p + name, n)
    if "qk_norm" in feat:
        t.norm(p + "attn_q_norm", D, 1.4)
        t.norm(p + "attn_k_norm", D, 1.4)
    t.matrix(p + "attn_output", d, q)
    if "bias_o" in feat:
        t.bias(p + "attn_output", d)


def write_ffn(t, p, m, feat):
    d, ff, E = m["d"], m.get("ffe", m["ff"]), m.get("E", 0)
    if E:
        t.matrix(p + "ffn_gate_inp", E, d)
        t.matrix(p + "ffn_gate_exps", E, ff, d)
        t.matrix(p + "ffn_up_exps", E, ff, d)
        t.matrix(p + "ffn_down_exps", E, d, ff, gain=2.0)
        return
    if "fused" in feat:
        t.matrix(p + "ffn_up", 2 * ff, d)
    else:
        t.matrix(p + "ffn_gate", ff, d)
        t.matrix(p + "ffn_up", ff, d)
    t.matrix(p + "ffn_down", d, ff, gain=2.0)
    if "bias_o" in feat:
        t.bias(p + "ffn_down", d)


def write_keys(w, name, arch, m, feat, extra):
    w.key("general.architecture", STR, arch)
    w.key("general.type", STR, "model")
    w.key("general.name", STR, f"tiny random {name}")
    ints = {"block_count": m["L"], "context_length": m["ctx"], "embedding_length": m["d"],
            "feed_forward_length": m["ff"], "attention.head_count": m["H"],
            "attention.head_count_kv": m["Hk"], "vocab_size": V}
    optional = {"attention.key_length": m["D"], "attention.value_length": m["D"],
                "rope.dimension_count": m.get("rot"), "expert_count": m.get("E"),
                "expert_used_count": m.get("K"), "expert_feed_forward_length": m.get("ffe")}
    for key, value in {**ints, **{k: v for k, v in optional.items() if v}}.items():
        w.key(f"{arch}.{key}", U32, value)
    reals = {"attention.layer_norm_rms_epsilon": m["eps"], "rope.freq_base": m["base"]}
    for key, value in {**reals, **extra}.items():
        kind = STR if isinstance(value, str) else U32 if isinstance(value, int) else F32
        w.key(f"{arch}.{key}", kind, value)
    pre = {"smollm3": "llama-bpe", "granite": "refact"}.get(arch, "qwen2")
    write_bpe(w, pre) if "bpe" in feat else write_spm(w)
    w.key("tokenizer.chat_template", STR, CHATML)


def write_model(path, name, seed):
    arch, dims, feat, extra = MODELS[name]
    m, w = {**BASE, **dims}, gguf_file.Writer()
    write_keys(w, name, arch, m, feat, extra)
    t = Weights(w, seed, feat)
    d, rot = m["d"], m.get("rot") or m["D"] or m["d"] // m["H"]
    t.matrix("token_embd", V, d, gain=2.0 if "tied" in feat else np.sqrt(d))
    t.norm("output_norm", d)
    if "tied" not in feat:
        t.matrix("output", V, d, gain=2.0)
    if "freqs" in feat:  # as Llama 3 computes them: factor 8, low 1, high 4, original 32
        wave = 2 * np.pi * m["base"]**(2 * np.arange(rot // 2) / rot)
        s = (32 / wave - 1) / 3
        ff = np.where(wave < 8, 1, np.where(wave > 32, 8, 1 / ((1 - s) / 8 + s)))
        w.tensor("rope_freqs.weight", KIND_F32, ff)
    if "long" in feat:
        for which, top in ("long", 6.0), ("short", 1.3):
            w.tensor(f"rope_factors_{which}.weight", KIND_F32, np.linspace(1, top, rot // 2))
    for il in range(m["L"]):
        p = f"blk.{il}."
        t.norm(p + "attn_norm", d)
        write_attention(t, p, m, feat)
        if "post_norm" in feat:
            t.norm(p + "post_attention_norm", d)
        t.norm(p + "ffn_norm", d)
        write_ffn(t, p, m, feat)
        if "post_norm" in feat:
            t.norm(p + "post_ffw_norm", d)
    w.save(path)


# --- its logits ---

def gap(row):
    second, first = np.partition(row, -2)[-2:]
    return first - second


def greedy(model, tokens, n_ctx):
    out, least = [], np.inf
    for _ in range(N_GREEDY):
        row = model.logits(tokens + out, n_ctx)[-1]
        least = min(least, gap(row))
        out.append(int(row.argmax()))
    return out, least


def run_sequences(name, model, rng):
    """-> (sequences, logits), or None when two candidates are too close to call."""
    sequences, rows, offset = [], [], 0
    for label, n, n_ctx, every in SEQUENCES.get(name, [SHORT, LONG]):
        tokens = [1] + rng.integers(3, V - 3, n - 1).tolist()
        kept = model.logits(tokens, n_ctx)[::every]
        s = dict(name=label, n_ctx=n_ctx, tokens=tokens, every=every, shape=list(kept.shape),
                 offset=offset, std=round(float(kept.std()), 3))
        if name in BOUND:
            s["bound"] = BOUND[name]  # of the NMSE; 1e-9 elsewhere
        if min(map(gap, kept)) < (BOUND_GAP if name in BOUND else 1e-3):
            return None
        if label == "short":
            s["greedy"], least = greedy(model, tokens, n_ctx)
            if least < (BOUND_GAP if name in BOUND else MIN_GAP):
                return None
        sequences.append(s)
        rows.append(kept.astype(np.float32))
        offset += rows[-1].nbytes
    return sequences, b"".join(r.tobytes() for r in rows)


def make_model(name):
    path = OUT / "models" / f"{name}.gguf"
    for seed in range(1, 5000):
        if seed == 1 or name not in BOUND:
            write_model(path, name, seed)
            model = forward.load(path)
        found = run_sequences(name, model, np.random.default_rng(1000 + seed))
        if found:
            break
    sequences, logits = found
    (path.with_suffix(".logits.f32")).write_bytes(logits)
    about = dict(name=name, architecture=MODELS[name][0], n_vocab=V, seed=seed,
                 source="tools/make_vectors.py: logits in float64 by tools/oracle/forward.py")
    text = json.dumps({**about, "sequences": sequences}, indent=1)
    path.with_suffix(".json").write_text(compact(text) + "\n")
    print(f"{name}: seed {seed}, logits std {sequences[-1]['std']}, {path.stat().st_size} bytes")


def compact(text):
    """Puts arrays of numbers on one line."""
    out, depth = [], 0
    for line in text.splitlines():
        body = line.strip()
        inside = depth > 0
        if body.endswith("[") and not body.endswith('"sequences": ['):
            depth += 1
            out.append(line)
        elif inside:
            out[-1] += body + (" " if body.endswith(",") else "")
            depth -= body.startswith("]")
            if depth == 0:
                out[-1] = out[-1].rstrip()
        else:
            out.append(line)
    return "\n".join(out)


# --- blocks ---

def make_blocks(kind):
    name, block, size = blocks.TYPES[kind]
    rng = np.random.default_rng(kind)
    count = 1024 if block == 1 else max(6, 2048 // block)
    b = rng.integers(0, 256, (count, size), dtype=np.uint8)
    if block == 1:  # finite numbers only; subnormals and both zeros among them
        h = b.view(np.uint16).reshape(-1)
        h[:4] = [0, 0x8000, 1, 0x8001]
        top = 0x7C00 if kind == KIND_F16 else 0x7F80
        h[(h & top) == top] &= np.uint16(0xFFFF ^ 0x4000)
    for at in SCALES.get(kind, []):
        d = (rng.standard_normal(count) * 0.05).astype(np.float16)
        d[0], d[1] = 0, np.float16(6e-8)  # zero and a subnormal
        b[:, at:at + 2] = d.view(np.uint8).reshape(-1, 2)
    if name == "mxfp4":
        b[:, 0] = rng.integers(100, 140, count)
        b[:4, 0] = range(4)
    raw = b.tobytes()
    (OUT / "quant" / f"{name.upper()}.blocks").write_bytes(raw)
    (OUT / "quant" / f"{name.upper()}.f32").write_bytes(blocks.decode(kind, raw).tobytes())


# --- against a reference ---

def check(folder):
    worst = 0.0
    for kind, (name, _, _) in blocks.TYPES.items():
        if kind == KIND_F32:
            continue
        raw = (folder / f"quant/{name.upper()}.blocks").read_bytes()
        want = np.fromfile(folder / f"quant/{name.upper()}.f32", np.float32)
        assert (blocks.decode(kind, raw) == want).all(), name
    for path in sorted((folder / "models").glob("*.json")):
        about = json.loads(path.read_text())
        if about.get("architecture") not in forward.ARCHS:
            continue
        model = forward.load(path.with_suffix(".gguf"))
        for s in about["sequences"]:
            n, width = s["shape"]
            at = s.get("exact_offset", s["offset"])
            want = np.fromfile(path.with_suffix(".logits.f32"), np.float32, n * width, offset=at)
            got = model.logits(s["tokens"], s["n_ctx"])[::s["every"]]
            error = forward.nmse(got.reshape(-1), want)
            print(f"{path.stem} {s['name']}: NMSE {error:.2g}")
            worst = max(worst, error)
    print(f"{len(blocks.TYPES) - 1} types equal; worst NMSE {worst:.2g}")
    return 0 if worst <= 1e-9 else 1


def main():
    if sys.argv[1:2] == ["--check"]:
        return check(pathlib.Path(sys.argv[2]))
    for folder in "models", "quant":
        (OUT / folder).mkdir(parents=True, exist_ok=True)
    for kind in blocks.TYPES:
        if kind != KIND_F32:
            make_blocks(kind)
    for name in sys.argv[1:] or MODELS:
        make_model(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
