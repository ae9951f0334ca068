#!/usr/bin/env python3
"""Checks what a compiler does not: include rules, words with a home, file and function sizes.

Reads tests/deps.txt. Prints one line per violation and exits 1 when there is any.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILE_LINES, FUNCTION_LINES, HEADER_LINES = 1000, 60, 150

# word, where it may stand: a macro or name that belongs to one room
HOMES = [
    (r"__AVX\w*|__ARM_\w+|_mm\d*_\w+", r"src/kern/|tests/kernels/"),
    (r"\bQ[2-8]_[0-9K]\b|\bIQ4_\w+\b|\bMXFP4\b|\bNVFP4\b", r"src/(quant|kern)/|tests/"),
    (r"__linux__|__APPLE__", r"src/base/os_"),
    (r"\b(malloc|calloc|realloc|free)\s*\(", r"src/base/mem\.c|tests/"),
]


def strip(text):
    """Blanks comments and string contents, keeping line numbers."""
    out, i = [], 0
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    for m in pattern.finditer(text):
        out.append(text[i:m.start()])
        kept = "".join(c if c == "\n" else " " for c in m.group())
        out.append(m.group() if text[max(0, m.start() - 9):m.start()].strip() == "#include" else kept)
        i = m.end()
    return "".join(out) + text[i:]


def rules():
    table = {}
    for line in (ROOT / "tests/deps.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            room, _, allowed = line.partition(":")
            table[room] = allowed.split()
    return table


def includes(path, text, table, complain):
    room = path.parts[1] if len(path.parts) > 2 else path.stem
    for n, line in enumerate(text.splitlines(), 1):
        m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not m or room not in table:
            continue
        target = m.group(1)
        to = target.split("/")[0] if "/" in target else None
        if to in (None, room, "base", "gen"):
            if to is None and target == "holdfast.h" and "holdfast.h" not in table[room]:
                complain(path, n, f"{room} may not include holdfast.h")
            continue
        if to not in table[room] and target not in table[room]:
            complain(path, n, f"{room} may not include {target} (tests/deps.txt)")


def sizes(path, raw, text, complain):
    lines = raw.splitlines()
    limit = HEADER_LINES if path.suffix == ".h" and "tmpl" not in path.name else FILE_LINES
    head = "\n".join(lines[:15])
    if len(lines) > limit and "size:" not in head:
        complain(path, 1, f"{len(lines)} lines, over {limit} (a reason: 'size: why' in the header)")
    start = None
    for n, line in enumerate(text.splitlines(), 1):
        if start is None and re.match(r"^[A-Za-z_].*\)\s*\{$|^[^#\s/].*\{$", line) and "(" in line:
            start = n
        elif start is None and line == "{":
            start = n
        elif start is not None and line.startswith("}"):
            if n - start + 1 > FUNCTION_LINES and "size:" not in "\n".join(lines[max(0, start - 8):start + 1]):
                complain(path, start, f"function of {n - start + 1} lines, over {FUNCTION_LINES}")
            start = None


def main():
    bad = []

    def complain(path, line, what):
        bad.append(f"{path}:{line}: {what}")

    table = rules()
    files = sorted(p for d in ("src", "include") for p in (ROOT / d).rglob("*.[ch]"))
    for full in files:
        path = full.relative_to(ROOT)
        raw = full.read_text()
        text = strip(raw)
        if path.parts[0] == "src":
            includes(path, text, table, complain)
            for word, home in HOMES:
                if re.search(home, str(path)):
                    continue
                for n, line in enumerate(text.splitlines(), 1):
                    if re.search(word, line):
                        complain(path, n, f"'{re.search(word, line).group()}' has its home in {home}")
        sizes(path, raw, text, complain)
        if not raw.lstrip().startswith("/*"):
            complain(path, 1, "no file header")
    print("\n".join(bad) or f"tree: {len(files)} files keep the rules")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
