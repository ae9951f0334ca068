"""The forward pass of spec/architectures.md in float64 numpy: whole sequence at once, no cache, no
cleverness. An independent truth for the C engine's logits. Architectures: see ARCHS.
"""
import math

import numpy as np

from . import gguf_file

ROPE = {"llama": "norm", "mistral3": "norm", "smollm3": "norm", "granite": "norm",
        "qwen2": "neox", "qwen3": "neox", "qwen3moe": "neox", "phi3": "neox", "gemma3": "neox"}
ARCHS = list(ROPE)


def silu(x):
    return x / (1 + np.exp(-x))


def gelu(x):
    return 0.5 * x * (1 + np.tanh(0.7978845608028654 * (x + 0.044715 * x**3)))


class Model:
    def __init__(self, keys, tensors):
        self.keys, self.arch = keys, keys["general.architecture"]
        self.t = {k: gguf_file.floats(v).astype(np.float64) for k, v in tensors.items()}
        self.n_layer = self.key("block_count")
        self.d, self.H = self.key("embedding_length"), self.key("attention.head_count")
        self.Hk = self.key("attention.head_count_kv", self.H)
        self.D = self.key("attention.key_length", self.d // self.H)
        self.Dv = self.key("attention.value_length", self.d // self.H)
        self.eps = self.key("attention.layer_norm_rms_epsilon")
        self.trained = self.key("context_length")

    def key(self, name, default=None):
        return self.keys.get(f"{self.arch}.{name}", default)

    # --- pieces ---

    def rms(self, x, w):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.eps) * self.t[w + ".weight"]

    def linear(self, x, name):
        y = x @ self.t[name + ".weight"].T
        return y + self.t[name + ".bias"] if name + ".bias" in self.t else y

    def yarn(self, i, n_rot, base, scale):
        """-> (factor on the angle per pair, magnitude)."""
        own = self.arch == "mistral3"
        fast = self.key("rope.scaling.yarn_beta_fast", 32.0) if own else 32.0
        slow = self.key("rope.scaling.yarn_beta_slow", 1.0) if own else 1.0
        u = self.key("rope.scaling.yarn_log_multiplier", 0.0) if own else 0.0
        orig = self.key("rope.scaling.original_context_length", self.trained)

        def corr(beta):
            return n_rot * math.log(orig / (beta * 2 * math.pi)) / (2 * math.log(base))
        lo, hi = max(0, math.floor(corr(fast))), min(n_rot - 1, math.ceil(corr(slow)))
        ramp = 1 - np.clip((i - lo) / max(0.001, hi - lo), 0, 1)
        f = 1 / scale
        m = self.key("rope.scaling.attn_factor", 1.0) * (0.1 * math.log(f) + 1)
        if u:
            m /= 0.1 * u * math.log(f) + 1
        return scale * (1 - ramp) + ramp, m

    def angles(self, pos, sliding, n_ctx):
        """-> cos, sin (T, n_rot/2), magnitude included."""
        n_rot = self.key("rope.dimension_count", self.D)
        base = self.key("rope.freq_base", 10000.0)
        factor = self.key("rope.scaling.factor", 0.0)
        kind = self.key("rope.scaling.type", "linear")
        i = np.arange(n_rot // 2)
        scale, m = 1.0, self.key("rope.scaling.attn_factor", 1.0)
        if sliding:
            base = self.key("rope.freq_base_swa", 10000.0)
        elif factor and kind == "linear":
            scale = 1 / factor
        elif factor and kind == "yarn":
            scale, m = self.yarn(i, n_rot, base, 1 / factor)
        ff = self.t.get("rope_freqs.weight")
        if self.arch == "phi3":
            orig = self.key("rope.scaling.original_context_length", self.trained)
            ff = self.t.get(f"rope_factors_{'long' if n_ctx > orig else 'short'}.weight")
        theta = pos[:, None] * base**(-2.0 * i / n_rot) / (1 if ff is None else ff) * scale
        return m * np.cos(theta), m * np.sin(theta)

    def rope(self, x, cos, sin):
        """x (T, heads, D)."""
        half = cos.shape[1]
        a, c = (slice(0, 2 * half, 2), slice(1, 2 * half, 2)) if ROPE[self.arch] == "norm" else \
            (slice(0, half), slice(half, 2 * half))
        y, cos, sin = x.copy(), cos[:, None, :], sin[:, None, :]
        y[..., a] = x[..., a] * cos - x[..., c] * sin
        y[..., c] = x[..., a] * sin + x[..., c] * cos
        return y

    # --- a layer ---

    def qkv(self, h, p):
        if p + "attn_qkv.weight" not in self.t:
            return [self.linear(h, p + n) for n in ("attn_q", "attn_k", "attn_v")]
        y, nq, nk = self.linear(h, p + "attn_qkv"), self.H * self.D, self.Hk * self.D
        return y[:, :nq], y[:, nq:nq + nk], y[:, nq + nk:]

    def is_sliding(self, il):
        if self.arch != "gemma3" or not self.key("attention.sliding_window"):
            return False
        pattern = self.key("attention.sliding_window_pattern", 6)
        return pattern[il] if isinstance(pattern, list) else il % pattern < pattern - 1

    def attention(self, h, p, il, pos, n_ctx):
        T, sliding = len(pos), self.is_sliding(il)
        q, k, v = self.qkv(h, p)
        q, k = q.reshape(T, self.H, self.D), k.reshape(T, self.Hk, self.D)
        v = v.reshape(T, self.Hk, self.Dv)
        if p + "attn_q_norm.weight" in self.t:
            q, k = self.rms(q, p + "attn_q_norm"), self.rms(k, p + "attn_k_norm")
        rope = not (self.arch == "smollm3" and (il + 1) % 4 == 0)
        if self.arch == "granite" and not self.key("rope.scaling.finetuned", True):
            rope = False
        if rope:
            cos, sin = self.angles(pos, sliding, n_ctx)
            q, k = self.rope(q, cos, sin), self.rope(k, cos, sin)
        scale = (self.arch == "granite" and self.key("attention.scale", 0.0)) or 1 / math.sqrt(self.D)
        temp = self.arch == "mistral3" and self.key("attention.temperature_scale", 0.0)
        if temp:
            orig = self.key("rope.scaling.original_context_length", self.trained)
            q = q * (1 + temp * np.log(np.floor(pos / orig) + 1))[:, None, None]
        group = self.H // self.Hk
        s = np.einsum("thd,shd->hts", q, np.repeat(k, group, 1)) * scale
        gap = pos[:, None] - pos[None, :]
        seen = (gap >= 0) & (gap < self.key("attention.sliding_window")) if sliding else gap >= 0
        s = np.where(seen, s, -np.inf)
        e = np.exp(s - s.max(-1, keepdims=True))
        o = np.einsum("hts,shd->thd", e / e.sum(-1, keepdims=True), np.repeat(v, group, 1))
        return self.linear(o.reshape(T, -1), p + "attn_output")

    def dense(self, h, p):
        act = gelu if self.arch == "gemma3" else silu
        if p + "ffn_gate.weight" in self.t:
            gate, up = self.linear(h, p + "ffn_gate"), self.linear(h, p + "ffn_up")
        else:
            gate, up = np.split(self.linear(h, p + "ffn_up"), 2, axis=1)
        return self.linear(act(gate) * up, p + "ffn_down")

    def moe(self, h, p):
        logits = self.linear(h, p + "ffn_gate_inp")
        prob = np.exp(logits - logits.max(-1, keepdims=True))
        prob /= prob.sum(-1, keepdims=True)
        out = np.zeros_like(h)
        for t in range(len(h)):
            best = np.argsort(-prob[t], kind="stable")[:self.key("expert_used_count")]
            w = prob[t][best] / max(prob[t][best].sum(), 6.103515625e-5)
            for weight, x in zip(w, best):
                g, u, down = (self.t[f"{p}ffn_{n}_exps.weight"][x] for n in ("gate", "up", "down"))
                out[t] += weight * (down @ (silu(g @ h[t]) * (u @ h[t])))
        return out

    def logits(self, tokens, n_ctx):
        pos, res = np.arange(len(tokens), dtype=np.float64), 1.0
        x = self.t["token_embd.weight"][tokens]
        if self.arch == "gemma3":
            x = x * math.sqrt(self.d)
        if self.arch == "granite":
            x = x * (self.key("embedding_scale", 0.0) or 1)
            res = self.key("residual_scale", 0.0) or 1
        for il in range(self.n_layer):
            p = f"blk.{il}."
            y = self.attention(self.rms(x, p + "attn_norm"), p, il, pos, n_ctx)
            if p + "post_attention_norm.weight" in self.t:
                y = self.rms(y, p + "post_attention_norm")
            x = x + res * y
            h = self.rms(x, p + "ffn_norm")
            y = self.moe(h, p) if p + "ffn_gate_inp.weight" in self.t else self.dense(h, p)
            if p + "post_ffw_norm.weight" in self.t:
                y = self.rms(y, p + "post_ffw_norm")
            x = x + res * y
        head = "output" if "output.weight" in self.t else "token_embd"
        out = self.linear(self.rms(x, "output_norm"), head)
        if self.arch == "granite":
            out = out / self.key("logit_scale")
        cap = self.arch == "gemma3" and self.key("final_logit_softcapping", 0.0)
        return cap * np.tanh(out / cap) if cap else out


def load(path):
    return Model(*gguf_file.read(path))


def nmse(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return ((a - b)**2).mean() / (b**2).mean()
