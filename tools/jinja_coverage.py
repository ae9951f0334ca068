#!/usr/bin/env python3
"""Which constructs of shared/vectors/templates/features.md have a case of our own.

usage: jinja_coverage.py [FEATURES.md]

Reads the syntax trees of the cases of gen_jinja_vectors.py (those are in tests/vectors/jinja.json and
run in tests/unit/jinja.c) and prints a line for each section of the file: how many of its constructs
occur, and which do not. Arguments of filters and methods count by their shape: how many, and which
names. Exit 1 if one is missing. Needs PyPI jinja2.
"""
import pathlib
import re
import sys

from jinja2 import nodes

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from gen_jinja_vectors import CASES, environment  # noqa: E402

# What the sandbox of transformers refuses and we allow has its cases in tests/unit/jinja.c only.
EXTENDED = {("Filters", "from_json"): "|from_json", ("Methods", ".pop"): ".pop(", ("Methods", ".append"): ".append(",
            ("Method arguments", ".pop(1)"): ".pop(0)", ("Method arguments", ".append(1)"): ".append("}
BINARY = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/", "Mod": "%", "Concat": "~", "And": "and", "Or": "or",
          "Not": "not", "Neg": "unary -"}
COMPARE = {"eq": "==", "ne": "!=", "gt": ">", "gteq": ">=", "lt": "<", "lteq": "<=", "in": "in", "notin": "not in"}


def shape(name, args, kwargs):
    return f"{name}({len(args)}{''.join(',' + k for k in sorted(kwargs))})"


def bound(n):
    if n is None:
        return ""
    if isinstance(n, nodes.Neg) and isinstance(n.node, nodes.Const):
        return f"-{n.node.value}"
    return str(n.value) if isinstance(n, nodes.Const) else "expr"


def statement(n):
    if isinstance(n, nodes.For):
        yield "for a, b in" if isinstance(n.target, nodes.Tuple) else "for"
        if n.test:
            yield "for … if condition"
        yield from ["for … else"] if n.else_ else []
    elif isinstance(n, nodes.If):
        yield "if"
        yield from ["elif"] if n.elif_ else []
        yield from ["else"] if n.else_ else []
    elif isinstance(n, nodes.Assign):
        yield "set ns.x =" if isinstance(n.target, nodes.NSRef) else "set x ="
    elif isinstance(n, nodes.AssignBlock):
        yield "set x … endset"
    elif isinstance(n, nodes.Macro):
        yield "macro"
        yield from ["macro with default arguments"] if n.defaults else []
    elif isinstance(n, nodes.FilterBlock):
        yield "filter … endfilter"
    elif isinstance(n, nodes.Break):
        yield "break"
    elif isinstance(n, nodes.CallBlock) and isinstance(n.call.node, nodes.ExtensionAttribute):
        yield "generation … endgeneration"


def subscript(n):
    if isinstance(n.arg, nodes.Slice):
        step = f":{bound(n.arg.step)}" if n.arg.step else ""
        yield "Slices", f"[{bound(n.arg.start)}:{bound(n.arg.stop)}{step}]"
    elif isinstance(n.arg, nodes.Const) and isinstance(n.arg.value, str):
        yield "Subscripts", "x['key']"
    else:
        yield "Subscripts", f"x[{bound(n.arg)}]"


def call(n, macros):
    keys = [k.key for k in n.kwargs]
    if isinstance(n.node, nodes.Getattr):
        yield "Methods", f".{n.node.attr}"
        yield "Method arguments", shape(f".{n.node.attr}", n.args, keys)
    elif isinstance(n.node, nodes.Name):
        yield "Functions called", f"{n.node.name}()"
        if n.node.name in macros:
            yield "Functions called", "a macro of the template"
            yield from [("Functions called", "a macro, with keyword arguments")] if keys else []


def literal(n):
    kind = {nodes.List: "list", nodes.Dict: "dict", nodes.Tuple: "tuple"}.get(type(n))
    return kind or (type(n.value).__name__ if isinstance(n, nodes.Const) else None)


def of_node(n, macros):
    for s in statement(n):
        yield "Statements", s
    kind = type(n).__name__
    if kind in BINARY:
        yield "Operators", BINARY[kind]
    if isinstance(n, nodes.Operand):
        yield "Operators", COMPARE[n.op]
    if isinstance(n, nodes.CondExpr):
        yield "Operators", "a if c else b" if n.expr2 else "a if c (no else)"
    if isinstance(n, nodes.Filter):
        yield "Filters", n.name
        yield "Filter arguments", shape(n.name, n.args, [k.key for k in n.kwargs])
    if isinstance(n, nodes.Test):
        yield "Tests", n.name
    if isinstance(n, nodes.Getattr):
        loop = isinstance(n.node, nodes.Name) and n.node.name == "loop"
        yield ("Loop variables", f"loop.{n.attr}") if loop else ("Subscripts", "x.key")
    if isinstance(n, nodes.Getitem):
        yield from subscript(n)
    if isinstance(n, nodes.Call):
        yield from call(n, macros)
    if literal(n):
        yield "Literals", literal(n)


def of_source(source):
    for name in ("{%-", "{{-", "{#-", "-%}", "-}}", "-#}", "{%", "{{", "{#", "%}", "}}", "#}"):
        if name in source:
            yield "Delimiters", name
    for text in re.findall(r"\{[{%].*?[}%]\}", source, re.S):
        for quoted in re.findall(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", text, re.S):
            yield from (("Escapes in string literals", e) for e in re.findall(r"\\.", quoted))
            yield from [("Escapes in string literals", "(a real line break)")] if "\n" in quoted else []


def found():
    own = (ROOT / "tests/unit/jinja.c").read_text()
    have = {construct for construct, text in EXTENDED.items() if text in own}
    for case in CASES:
        source = "\\".join(p.replace("\\r", "\r").replace("\\n", "\n") for p in case.split("\\\\"))
        have.update(of_source(source))
        try:
            tree = environment().parse(source)
        except Exception:  # cases that are no templates
            continue
        macros = {m.name for m in tree.find_all(nodes.Macro)}
        have.update(x for n in tree.find_all(nodes.Node) for x in of_node(n, macros))
    return have


def listed(section, text):
    """A construct of a row in the words of found()."""
    if section not in ("Filter arguments", "Method arguments"):
        return text
    tree = environment().parse("{{ x" + ("|" if text[0] != "." else "") + text.replace("\n", "\\n") + " }}")
    node = next(iter(tree.find_all((nodes.Filter, nodes.Call))))
    name = node.name if isinstance(node, nodes.Filter) else text.split("(")[0]
    return shape(name, node.args, [k.key for k in node.kwargs])


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else ROOT.parent / "shared/vectors/templates/features.md"
    have, section, rows = found(), None, {}
    for line in pathlib.Path(path).read_text().split("\n"):
        head = re.match(r"## (.*)", line)
        row = re.match(r"\| `(.*?)` \| \d+ \| \d+ \|", line)
        if head:
            section = head.group(1)
        elif row and not section.startswith("Outside"):
            rows.setdefault(section, []).append(listed(section, row.group(1).replace("\\|", "|")))
    missing = 0
    for name, constructs in rows.items():
        lost = [c for c in dict.fromkeys(constructs) if (name, c) not in have]
        missing += len(lost)
        print(f"{name}: {len(constructs) - len(lost)} of {len(constructs)}" + (f", not {lost}" if lost else ""))
        if name == "Delimiters":
            break
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
