#!/usr/bin/env python3
"""Writes gen/pystr.c: what Python's str methods and repr() know about characters.

Case mappings as ranges {first, last, step, delta}, mappings to several characters one by one, and
the ranges of characters that repr() escapes or that are letters.
"""
import sys


def case_ranges(fn):
    pairs = [(c, ord(fn(chr(c))) - c) for c in range(0x80, 0x110000)
             if not 0xD800 <= c < 0xE000 and len(fn(chr(c))) == 1 and fn(chr(c)) != chr(c)]
    out = []
    for c, d in pairs:
        if out and out[-1][3] == d and out[-1][0] == out[-1][1] and c - out[-1][1] in (1, 2):
            out[-1][1:3] = [c, c - out[-1][0]]
        elif out and out[-1][3] == d and c - out[-1][1] == out[-1][2]:
            out[-1][1] = c
        else:
            out.append([c, c, 1, d])
    return out


def ranges(test):
    out = []
    for c in range(0x80, 0x110000):
        if test(chr(c)):
            if out and out[-1][1] == c - 1:
                out[-1][1] = c
            else:
                out.append([c, c])
    return out


def table(name, kind, rows):
    print(f"const struct {kind} {name}[] = {{")
    line = "   "
    for row in rows:
        cell = " {" + ", ".join(str(x) if isinstance(x, str) or x < 0 else f"0x{x:X}" if i < 2 else str(x)
                                for i, x in enumerate(row)) + "},"
        if len(line + cell) > 100:
            print(line)
            line = "   "
        line += cell
    print(line)
    print(f"}};\nconst int n_{name} = (int)(sizeof {name} / sizeof *{name});\n")


def main():
    sys.stdout = open(sys.argv[1] if len(sys.argv) > 1 else "gen/pystr.c", "w")
    print("/* Written by tools/gen_pystr.py; do not edit. Characters as Python's str methods see them. */")
    print('#include "gen/pystr.h"\n\n/* clang-format off */')
    table("pystr_upper", "pystr_case", case_ranges(str.upper))
    table("pystr_lower", "pystr_case", case_ranges(str.lower))
    many = [c for c in range(0x80, 0x110000) if not 0xD800 <= c < 0xE000 and len(chr(c).upper()) > 1]
    table("pystr_upper_many", "pystr_many",
          [[c, '"' + "".join(f"\\x{b:02x}" for b in chr(c).upper().encode()) + '"'] for c in many])
    table("pystr_unprintable", "pystr_range", ranges(lambda c: not c.isprintable()))
    table("pystr_alpha", "pystr_range", ranges(str.isalpha))


main()
