#!/usr/bin/env python3
"""Masks and compile times beside PyPI `llguidance` and `xgrammar`: same schemas, vocabulary, texts.

usage: bench_grammar.py -m MODEL [--holdfast build/holdfast] [--schemas 60]

Needs `pip install numpy llguidance xgrammar` (xgrammar may be installed with --no-deps plus
apache-tvm-ffi and pydantic: torch and transformers are only imported for the names of types, and
are replaced by empty modules here when they are missing). MODEL needs a byte-level BPE vocabulary
(GPT-2 alphabet). CPU time of one thread, in microseconds; a Python call is part of the peers' times
(about 1 us). Cold: every mask of the first text of a schema, nothing known of it before.
"""
import argparse
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import time
import types
from unittest.mock import MagicMock

ROOT = pathlib.Path(__file__).resolve().parent.parent


def gguf_tokens(path):
    """Token bytes, types and the end token of a byte-level BPE vocabulary."""
    data = pathlib.Path(path).read_bytes()
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    at = 24

    def u64():
        nonlocal at
        at += 8
        return struct.unpack_from("<Q", data, at - 8)[0]

    def text():
        nonlocal at
        n = u64()
        at += n
        return data[at - n:at].decode(errors="replace")

    def value(kind):
        nonlocal at
        if kind == 8:
            return text()
        if kind == 9:
            elem = struct.unpack_from("<I", data, at)[0]
            at += 4
            n = u64()
            if elem in (4, 5, 6) and n > 16:
                at += 4 * n
                return struct.unpack_from(f"<{n}{'Iif'[elem - 4]}", data, at - 4 * n)
            return [value(elem) for _ in range(n)]
        at += sizes[kind]
        raw = data[at - sizes[kind]:at]
        return int.from_bytes(raw, "little")

    keys = {}
    for _ in range(struct.unpack_from("<Q", data, 16)[0]):
        key = text()
        kind = struct.unpack_from("<I", data, at)[0]
        at += 4
        keys[key] = value(kind)
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table = {chr(c): c for c in printable}
    for i, c in enumerate(c for c in range(256) if c not in printable):
        table[chr(256 + i)] = c
    types_ = keys["tokenizer.ggml.token_type"]
    tokens = [bytes(table[c] for c in t) if k == 1 and all(c in table for c in t) else t.encode()
              for t, k in zip(keys["tokenizer.ggml.tokens"], types_)]
    return tokens, types_, keys["tokenizer.ggml.eos_token_id"]


def cpu_us():
    return time.thread_time_ns() / 1e3


class Llguidance:
    def __init__(self, tokens, kinds, eos):
        import llguidance
        import llguidance.numpy as numpy_api
        import numpy
        wrapped = types.SimpleNamespace(
            eos_token_id=eos, bos_token_id=None,
            tokens=[t if k != 3 else b"\xff" + t for t, k in zip(tokens, kinds)],
            special_token_ids=[i for i, k in enumerate(kinds) if k == 3])

        class Tokenizer:
            eos_token_id, bos_token_id = eos, None
            tokens, special_token_ids = wrapped.tokens, wrapped.special_token_ids
            by_text = {t: i for i, t in enumerate(wrapped.tokens)}

            def __call__(self, s):
                return [self.by_text[bytes([c])] for c in s]
        self.lib, self.np = llguidance, numpy_api
        self.tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(Tokenizer()))
        self.mask = numpy_api.allocate_token_bitmask(1, self.tokenizer.vocab_size)

    def compile(self, schema):
        text = self.lib.LLMatcher.grammar_from_json_schema(schema)
        m = self.lib.LLMatcher(self.tokenizer, text)
        if m.is_error():
            raise ValueError(m.get_error())
        self.text = text
        return m

    def start(self, compiled):
        return self.lib.LLMatcher(self.tokenizer, self.text)

    def fill(self, m):
        self.np.fill_next_token_bitmask(m, self.mask, 0)

    def accept(self, m, token):
        return m.consume_token(token)


class Xgrammar:
    def __init__(self, tokens, kinds, eos):
        class Empty(types.ModuleType):
            __file__ = "empty"

            def __getattr__(self, name):
                if name.startswith("__"):
                    raise AttributeError(name)
                return MagicMock(name=name)
        for name in ("torch", "transformers", "triton"):
            try:
                __import__(name)
            except ImportError:
                sys.modules[name] = Empty(name)
                for t in ("Tensor", "PreTrainedTokenizerBase", "PreTrainedTokenizerFast"):
                    setattr(sys.modules[name], t, type(t, (), {}))
        import numpy
        import xgrammar
        self.lib = xgrammar
        info = xgrammar.TokenizerInfo(tokens, vocab_type=xgrammar.VocabType.RAW,
                                      vocab_size=len(tokens), stop_token_ids=[eos])
        self.compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        self.mask = numpy.zeros((1, (len(tokens) + 31) // 32), dtype=numpy.int32)

    def compile(self, schema):
        return self.compiler.compile_json_schema(schema, any_whitespace=True, strict_mode=False)

    def start(self, compiled):
        return self.lib.GrammarMatcher(compiled)

    def fill(self, m):
        m.fill_next_token_bitmask(self.mask)

    def accept(self, m, token):
        return m.accept_token(token)


def peer_times(engine, schema, texts):
    start = cpu_us()
    compiled = engine.compile(schema)
    compile_us = cpu_us() - start
    rows = []
    for ids in texts:
        m = engine.start(compiled)
        row = []
        for token in ids + [None]:
            start = cpu_us()
            engine.fill(m)
            row.append(cpu_us() - start)
            if token is not None and not engine.accept(m, token):
                break
        rows.append((row, len(row) == len(ids) + 1))
    return compile_us, rows


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(p * len(values)))]


def report(name, compile_us, rows, n_all):
    cold = [x for per_schema in rows for x in per_schema[0][0]]
    warm = [x for per_schema in rows for row, _ in per_schema[1:] for x in row]
    done = sum(ok for per_schema in rows for _, ok in per_schema)
    total = sum(len(r) for r in rows)
    out = [name, f"{len(rows)}/{n_all}", f"{done}/{total}"]
    for values in (compile_us, cold, warm):
        out += [f"{percentile(values, .5):.0f}", f"{percentile(values, .99):.0f}", f"{max(values):.0f}"]
    print("| " + " | ".join(out) + " |", flush=True)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("-m", "--model", required=True)
    ap.add_argument("--holdfast", default=str(ROOT / "build" / "holdfast"))
    ap.add_argument("--schemas", type=int, default=60)
    args = ap.parse_args()
    sys.path.insert(0, str(ROOT / "tools"))
    import random
    from schema_samples import tool
    schemas = [json.dumps(tool(random.Random(i))) for i in range(args.schemas)]
    texts, ours, ours_rows = [], [], []
    for i, schema in enumerate(schemas):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
            f.write(schema)
            f.flush()
            base = [args.holdfast, "grammar", "--json-schema", f.name, "-m", args.model]
            made = subprocess.run(base + ["--sample", "6", "--seed", str(i), "-n", "400", "--lines"],
                                  capture_output=True, text=True, check=True).stdout.split("\n")[:-1]
            lines = [r["text"] if "\n" not in r["text"] else json.dumps(json.loads(r["text"]), ensure_ascii=False)
                     for r in map(json.loads, made) if not r["cut"]]
            done = subprocess.run(base + ["--time"], input="\n".join(lines), capture_output=True,
                                  text=True, check=True).stdout.split("\n")[:-1]
        rows = [json.loads(line) for line in done]
        texts.append([r["ids"] for r in rows])
        if rows:
            ours.append(rows[0]["compile_us"])
            ours_rows.append([(r["mask_us"], r["accepted"]) for r in rows])
    n_all = sum(1 for t in texts if t)
    print("| engine | schemas | texts accepted | compile p50 | p99 | max | cold mask p50 | p99 | max | "
          "warm mask p50 | p99 | max |\n|---|---|---|---|---|---|---|---|---|---|---|---|")
    report("holdfast", ours, ours_rows, n_all)
    tokens, kinds, eos = gguf_tokens(args.model)
    for kind in (Llguidance, Xgrammar):
        try:
            engine = kind(tokens, kinds, eos)
        except ImportError as e:
            print(f"({kind.__name__.lower()}: {e})")
            continue
        compile_us, all_rows = [], []
        for schema, ids in zip(schemas, texts):
            if not ids:
                continue
            try:
                us, rows = peer_times(engine, schema, ids)
            except (ValueError, RuntimeError):
                continue
            compile_us.append(us)
            all_rows.append(rows)
        report(kind.__name__.lower(), compile_us, all_rows, n_all)
    return 0


if __name__ == "__main__":
    sys.exit(main())
