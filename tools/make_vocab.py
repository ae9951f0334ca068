#!/usr/bin/env python3
"""Writes tests/vectors/vocab-{bpe,spm,gemma4}.gguf and tests/vectors/tokenizer.json: three small
made-up vocabularies, texts, and the ids of the texts.

The ids come from the plain implementation below (one merge at a time, patterns by the PyPI module
`regex`), which shares nothing with src/text. Run it again after a change; the output is the same
on every machine.
"""
import collections
import json
import pathlib
import random
import struct

import regex

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests/vectors"
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

CORPUS = """
Holdfast runs language models on the machine in front of you and holds its speed: token 30,000 of
an agent loop comes as fast as token 30. It's small, and they've said it'll stay small, isn't it?
for (int i = 0; i < n; i++) { sum += a[i] * b[i]; }   // the inner loop
    if (x == 1024) return "hello world";  else return NULL;
def tokenize(text): return [t for t in text.split() if t != ""]
Äpfel, Öl und Übermut: größer, schöner, weiter. C'est déjà l'été à Paris, où l'on rêve.
Привет, мир! Это проверка. Добро пожаловать. 你好,世界。今天天气很好。今天很好。 こんにちは世界
1 12 123 1234 12345 3.14159 2,718 1/2 ½ ²
<table><tr><td>a</td><td>b</td></tr></table>\n\n\n\t\tindented\r\nlines\r\n   \n  end   
"""

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def byte_chars():
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table, extra = {}, 256
    for b in range(256):
        table[b] = chr(b) if b in own else chr(extra)
        extra += b not in own
    return table


BYTE_CHAR = byte_chars()


def train(words, n_merges):
    """Byte-pair encoding's training: the most frequent pair first, ties by text."""
    words = [[list(w), n] for w, n in sorted(collections.Counter(words).items())]
    merges = []
    while len(merges) < n_merges:
        pairs = collections.Counter()
        for symbols, n in words:
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += n
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        for w in words:
            w[0] = merge_one(w[0], best)
    return merges


def merge_one(symbols, pair):
    out, i = [], 0
    while i < len(symbols):
        if tuple(symbols[i:i + 2]) == pair:
            out.append(symbols[i] + symbols[i + 1])
            i += 2
        else:
            out.append(symbols[i])
            i += 1
    return out


def merge(symbols, priority):
    """Merges the pair of the lowest priority, leftmost first, until none is left."""
    symbols = list(symbols)
    while True:
        best = None
        for i in range(len(symbols) - 1):
            p = priority(symbols[i], symbols[i + 1])
            if p is not None and (best is None or p < best[0]):
                best = (p, i)
        if best is None:
            return symbols
        i = best[1]
        symbols[i:i + 2] = [symbols[i] + symbols[i + 1]]


class Vocab:
    def __init__(self, name, tokens, merges=None, keys=()):
        self.name, self.merges, self.keys = name, merges, dict(keys)
        self.tokens = tokens  # (text, type, score)
        self.id = {t[0]: i for i, t in enumerate(tokens)}
        assert len(self.id) == len(tokens)
        self.rank = {}
        for i, m in enumerate(merges or []):
            self.rank.setdefault(m, i)  # the first of equal merges counts
        self.plain = {t: i for t, i in self.id.items() if tokens[i][1] not in (CONTROL, UNKNOWN)}
        self.cut = sorted((t for t in self.id if tokens[self.id[t]][1] in (CONTROL, UNKNOWN, USER)),
                          key=len, reverse=True)

    def text_bytes(self, symbol):
        return [self.id["<0x%02X>" % b] for b in symbol.encode("utf-8", "surrogateescape")]

    def fragment(self, text, after_special):
        if self.name == "bpe":
            ids = []
            for word in regex.findall(LLAMA3, text):
                mapped = "".join(BYTE_CHAR[b] for b in word.encode())
                if mapped in self.plain:
                    ids.append(self.plain[mapped])
                else:
                    ids += [self.id[s] for s in merge(mapped, lambda a, b: self.rank.get((a, b)))]
            return ids
        if self.name == "spm":
            text = (" " if after_special else "") + text
            score = lambda a, b: -self.tokens[self.plain[a + b]][2] if a + b in self.plain else None
            words = [text]
        else:
            score = lambda a, b: self.rank.get((a, b))
            words = regex.findall(r"[^\n]+|\n+", text)
        ids = []
        for word in words:
            word = word.replace(" ", "▁")
            whole = self.name == "gemma4" and word[0] == "\n" and word in self.plain
            for s in [word] if whole else merge(word, score):
                ids += [self.plain[s]] if s in self.plain else self.text_bytes(s)
        return ids

    def markup(self, text):
        return (text.startswith(("<|", "<｜")) or text.endswith(("|>", "｜>"))
                or self.name == "bpe" and text[0] == "<" and text[-1] == ">")

    def encode(self, spans, add_special, in_spans):
        text = "".join(t for t, _ in spans)
        special_until = []  # per character: where its special span ends, 0 in content
        for t, special in spans:
            special_until += [len(special_until) + len(t) if special else 0] * len(t)
        ids = [self.keys["bos_token_id"]] if add_special and self.keys["add_bos_token"] else []
        at = start = 0
        after = True
        while at <= len(text):
            hit = None
            for c in self.cut if at < len(text) else []:
                control = self.tokens[self.id[c]][1] != USER
                bound = control or in_spans and self.markup(c)
                if text.startswith(c, at) and (not bound or at + len(c) <= special_until[at]):
                    hit = c
                    break
            if hit is None and at < len(text):
                at += 1
                continue
            if at > start:
                ids += self.fragment(text[start:at], after)
            if hit is None:
                break
            ids.append(self.id[hit])
            at, after = at + len(hit), True
            if self.name == "spm" and hit not in ("<unk>", "<s>"):  # phi-3's stripping
                while at < len(text) and text[at] in " \t\n\v\f\r":
                    at += 1
            start = at
        if add_special and self.keys.get("add_eos_token"):
            ids.append(self.keys["eos_token_id"])
        return ids

    def write(self):
        model = {"bpe": "gpt2", "spm": "llama"}.get(self.name, self.name)
        kv = [("general.architecture", "llama"), ("general.name", "Tiny Phi-3" if self.name == "spm" else "Tiny"),
              ("tokenizer.ggml.model", model)]
        if self.name == "bpe":
            kv.append(("tokenizer.ggml.pre", "llama-bpe"))
        kv.append(("tokenizer.ggml.tokens", [t[0] for t in self.tokens]))
        kv.append(("tokenizer.ggml.token_type", [t[1] for t in self.tokens]))
        if self.name == "spm":
            kv.append(("tokenizer.ggml.scores", [float(t[2]) for t in self.tokens]))
        if self.merges:
            kv.append(("tokenizer.ggml.merges", [a + " " + b for a, b in self.merges]))
        kv += [("tokenizer.ggml." + k, v) for k, v in self.keys.items()]
        text = lambda s: struct.pack("<Q", len(s.encode())) + s.encode()
        out = b"GGUF" + struct.pack("<IQQ", 3, 0, len(kv))
        for k, v in kv:
            out += text(k)
            if isinstance(v, bool):
                out += struct.pack("<I?", 7, v)
            elif isinstance(v, int):
                out += struct.pack("<II", 4, v)
            elif isinstance(v, str):
                out += struct.pack("<I", 8) + text(v)
            else:
                kind, pack = {str: (8, text), int: (5, lambda x: struct.pack("<i", x)),
                              float: (6, lambda x: struct.pack("<f", x))}[type(v[0])]
                out += struct.pack("<IIQ", 9, kind, len(v)) + b"".join(map(pack, v))
        (OUT / f"vocab-{self.name}.gguf").write_bytes(out)


def bpe():
    words = ["".join(BYTE_CHAR[b] for b in w.encode()) for w in regex.findall(LLAMA3, CORPUS)]
    merges = train(words, 400)
    tokens = [(BYTE_CHAR[b], NORMAL, 0) for b in range(256)]
    tokens += [(t, NORMAL, 0) for t in dict.fromkeys(a + b for a, b in merges)]
    # a word that no merges lead to, taken whole because llama-bpe ignores merges then
    tokens += [("Ġzzyzx", NORMAL, 0)]
    control = ["<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>", "<|im_end|>", "<|im"]
    tokens += [(t, CONTROL, 0) for t in control] + [("<think>", USER, 0), ("   ", USER, 0)]
    n = {t[0]: i for i, t in enumerate(tokens)}
    return Vocab("bpe", tokens, merges, {"bos_token_id": n["<|begin_of_text|>"],
                                         "eos_token_id": n["<|im_end|>"], "add_bos_token": True})


def raw_words(text, lines):
    return [w.replace(" ", "▁") for line in (regex.findall(r"[^\n]+|\n+", text) if lines else [text])
            for w in regex.findall(r" *[^ ]+| +", line)]


def spm():
    merges = train(raw_words(" " + CORPUS, False), 400)
    tokens = [("<unk>", UNKNOWN, 0), ("<s>", CONTROL, 0), ("</s>", CONTROL, 0)]
    tokens += [("<0x%02X>" % b, BYTE, 0) for b in range(256)]
    made = list(dict.fromkeys(a + b for a, b in merges))
    tokens += [(t, NORMAL, -float(i // 2)) for i, t in enumerate(made)]  # equal scores too
    chars = sorted(set(CORPUS.replace(" ", "▁")) - {"世", "½"})
    tokens += [(c, NORMAL, -1000.0 - i) for i, c in enumerate(chars)]
    tokens += [("<s", NORMAL, -2000.0), (">▁a", NORMAL, -2001.0), ("▁a▁b", NORMAL, -2002.0)]
    tokens += [("<|user|>", CONTROL, 0), ("<td>", USER, 0), ("<|end|>", CONTROL, 0)]
    return Vocab("spm", tokens, None, {"bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0,
                                       "add_bos_token": True, "add_eos_token": True})


def gemma4():
    merges = [("\n" * i, "\n") for i in range(1, 4)] + train(raw_words(CORPUS, True), 400)
    merges += [("▁" * i, "▁") for i in (1, 2, 3)] + [(">", "▁<")]
    tokens = [("<pad>", CONTROL, 0), ("<eos>", CONTROL, 0), ("<bos>", CONTROL, 0)]
    tokens += [("<0x%02X>" % b, BYTE, 0) for b in range(256)]
    chars = sorted(set(CORPUS.replace(" ", "▁")) - {"世", "½"})
    made = dict.fromkeys(chars + [p for m in merges for p in (*m, m[0] + m[1])])
    tokens += [(t, NORMAL, 0) for t in made if t not in ("世", "½")]
    tokens += [("\n" * 7, NORMAL, 0), ("<|turn>", CONTROL, 0), ("<turn|>", CONTROL, 0),
               ("<|tool_call>", USER, 0), ("  \n", USER, 0)]
    return Vocab("gemma4", tokens, merges, {"bos_token_id": 2, "eos_token_id": 1,
                                            "padding_token_id": 0, "add_bos_token": True})


def texts(vocab, rng):
    yield from ["", " ", "  ", "   ", "a", " a", "\n", "\n\n\n\n\n\n\n", "\t\n \n", "<s", "<s>", "> a",
                "a b", " a b a b", "it'S we'LL I'd 'x", "12345678", "é e\u0301 世界 ½ 🦙.cpp", " zzyzx",
                "zzyzx", "x   y", "a> <b", "\u200b\ufeff\u00a0x", "\U0001F469\u200d\U0001F4BB", "İIıſ's"]
    atoms = regex.findall(r"\w+|\s+|.", CORPUS) + vocab.cut * 2
    for _ in range(120):
        parts = []
        for _ in range(rng.randrange(1, 14)):
            kind = rng.randrange(8)
            if kind < 5:
                parts.append(rng.choice(atoms))
            elif kind == 5:
                parts.append(" " * rng.randrange(1, 9))
            elif kind == 6:
                parts.append(rng.choice("\n\t\r '<>|/") * rng.randrange(1, 4))
            else:
                parts.append(chr(rng.choice([rng.randrange(0x20, 0x250), rng.randrange(0x300, 0xD7FF),
                                             rng.randrange(0x1F300, 0x1F700)])))
        yield "".join(parts)


def cases(vocab):
    rng = random.Random(vocab.name)
    for i, text in enumerate(texts(vocab, rng)):
        add, parse = bool(i & 1), bool(i & 2)
        yield {"vocab": vocab.name, "text": text, "add_special": add, "parse_special": parse,
               "ids": vocab.encode([(text, parse)], add, False)}
        if i % 2 == 0 and text:
            a, b = sorted(rng.randrange(len(text) + 1) for _ in range(2))
            spans = [[text[:a], bool(rng.randrange(2))], [text[a:b], bool(rng.randrange(2))],
                     [text[b:], bool(rng.randrange(2))]]
            yield {"vocab": vocab.name, "spans": spans, "add_special": add,
                   "ids": vocab.encode(spans, add, True)}


def main():
    OUT.mkdir(exist_ok=True)
    rows = []
    for vocab in (bpe(), spm(), gemma4()):
        vocab.write()
        rows += [json.dumps(c) for c in cases(vocab)]
    (OUT / "tokenizer.json").write_text("[\n" + ",\n".join(rows) + "\n]\n")


if __name__ == "__main__":
    main()
