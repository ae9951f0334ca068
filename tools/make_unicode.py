#!/usr/bin/env python3
"""Writes gen/unicode.c: general category and White_Space of every code point, as a two-stage table.

usage: make_unicode.py [--check]     (--check: exit 1 when gen/unicode.c is stale, 77 when this
Python knows another version of Unicode than the one the file was made from)
"""
import pathlib
import re
import sys
import unicodedata

OUT = pathlib.Path(__file__).resolve().parent.parent / "gen/unicode.c"
BLOCK = 64
# ORDER CATEGORY: enum unicode_category in gen/unicode.h
CATEGORIES = ["Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd",
              "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf",
              "Co", "Cs"]
WHITE_SPACE = {*range(0x9, 0xE), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029,
               0x202F, 0x205F, 0x3000}


def value(cp):
    return CATEGORIES.index(unicodedata.category(chr(cp))) | (32 if cp in WHITE_SPACE else 0)


def rows(numbers, per_row=32):
    for i in range(0, len(numbers), per_row):
        yield "    " + ",".join(str(n) for n in numbers[i:i + per_row]) + ","


def text():
    index, blocks = [], {}
    for start in range(0, 0x110000, BLOCK):
        block = tuple(value(cp) for cp in range(start, start + BLOCK))
        index.append(blocks.setdefault(block, len(blocks)))
    lines = [
        "/* Made by tools/make_unicode.py from Unicode %s; do not edit. */" % unicodedata.unidata_version,
        '#include "gen/unicode.h"', "",
        "enum { BLOCK = %d };" % BLOCK, "",
        "static const uint16_t block_of[0x110000 / BLOCK] = {", *rows(index), "};", "",
        "static const uint8_t blocks[%d] = {" % (len(blocks) * BLOCK),
        *rows([n for block in blocks for n in block]), "};", "",
        "static uint8_t look_up(uint32_t cp) {",
        "    return blocks[block_of[cp / BLOCK] * BLOCK + cp % BLOCK];",
        "}", "",
        "enum unicode_category unicode_category(uint32_t cp) {",
        "    return cp > 0x10FFFF ? UNICODE_CN : (enum unicode_category)(look_up(cp) & 31);",
        "}",
        "bool unicode_is_space(uint32_t cp) {",
        "    return cp <= 0x10FFFF && look_up(cp) & 32;",
        "}",
    ]
    return "\n".join(lines) + "\n"


def main():
    if "--check" not in sys.argv:
        OUT.write_text(text())
        return 0
    there = OUT.read_text()
    version = re.search(r"Unicode ([\d.]+);", there).group(1)
    if version != unicodedata.unidata_version:
        print(f"gen/unicode.c is of Unicode {version}, this Python has {unicodedata.unidata_version}")
        return 77
    if there != text():
        print("gen/unicode.c is stale: run tools/make_unicode.py")
        return 1
    print("gen/unicode.c is fresh")
    return 0


if __name__ == "__main__":
    sys.exit(main())
