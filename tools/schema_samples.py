#!/usr/bin/env python3
"""Random members of tool schemas, drawn through the token masks, judged by PyPI `jsonschema`.

usage: schema_samples.py -m MODEL [--holdfast build/holdfast] [--schemas 200] [--samples 50]
                         [--predict 2048] [--write DIR]

Makes schemas that look like those of agents' tools and MCP servers (the keywords of the tools of
five agents, and those that MCP servers add), draws members token by token, each allowed token
equally likely, and validates them. Prints how many ended by themselves and how many of those are
valid; exit 1 unless all are, and at most 5 % were cut. --write only writes the schemas.
"""
import argparse
import concurrent.futures
import json
import pathlib
import random
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAMES = """path file_path content old_string new_string replace_all pattern glob output_mode limit
offset command timeout description prompt query max_results include exclude url method headers body
language branch title labels assignees state page per_page recursive encoding start_line end_line
workspace_id channel user_id amount currency due_date priority tags options filter sort_by""".split()
WORDS = "low medium high open closed all asc desc json text markdown content count never always".split()


def string(r):
    s = {"type": "string"}
    kind = r.random()
    if kind < 0.45:
        s["description"] = "What to do with it, in a sentence or two."
    elif kind < 0.65:
        s["enum"] = r.sample(WORDS, r.randint(2, 5))
    elif kind < 0.72:
        s["minLength"] = r.randint(1, 3)
        if r.random() < 0.5:
            s["maxLength"] = r.choice([20, 200, 524288])
    elif kind < 0.80:
        s["pattern"] = r.choice(["^[a-z0-9_-]+$", "^[A-Z]{2,5}-\\d+$", "^(feat|fix|docs): .+$", "\\.json$",
                                 "^#[0-9a-fA-F]{6}$", "^v?\\d+\\.\\d+\\.\\d+$"])
    elif kind < 0.88:
        s["format"] = r.choice(["date", "date-time", "email", "uuid", "uri", "ipv4", "hostname"])
    elif kind < 0.92:
        return {"const": r.choice(WORDS)}
    return s


def number(r):
    s = {"type": r.choice(["integer", "integer", "number"])}
    if r.random() < 0.6:
        s["minimum"] = r.choice([0, 1, -180, 0.5])
    if r.random() < 0.5:
        s["maximum"] = r.choice([100, 2000, 9007199254740991, 180])
    if r.random() < 0.1:
        s = {"type": s["type"], "exclusiveMinimum": 0}
    if r.random() < 0.05:
        s = {"type": "integer", "multipleOf": 5}
    return s


def value(r, depth):
    kind = r.random()
    if kind < 0.5:
        return string(r)
    if kind < 0.68:
        return number(r)
    if kind < 0.78:
        return {"type": "boolean"}
    if kind < 0.82:
        return {"type": ["string", "null"]}
    if kind < 0.84:
        return {"type": "integer", "nullable": True} if r.random() < 0.3 else {"type": ["integer", "null"]}
    if kind < 0.87:
        return {"anyOf": [string(r), number(r), {"type": "null"}]}
    if depth > 2:
        return {"type": "boolean"}
    if kind < 0.94:
        s = {"type": "array", "items": value(r, depth + 1)}
        if r.random() < 0.5:
            s["maxItems"] = r.randint(1, 8)
        if r.random() < 0.3:
            s["minItems"] = 1
        return s
    return tool(r, depth + 1)


def tool(r, depth=0):
    names = r.sample(NAMES, r.randint(0 if depth else 1, 8 if depth == 0 else 4))
    s = {"type": "object", "properties": {n: value(r, depth) for n in names}}
    required = [n for n in names if r.random() < 0.5]
    if required:
        s["required"] = required
    kind = r.random()
    if kind < 0.75:
        s["additionalProperties"] = False
    elif kind < 0.80:
        s["additionalProperties"] = {"type": "string", "maxLength": 10}
    elif kind < 0.83:
        s["patternProperties"] = {"^x-": {"type": "boolean"}}
        s["additionalProperties"] = False
    if depth == 0 and r.random() < 0.2:
        s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    if depth == 0 and r.random() < 0.05:
        s["$defs"] = {"node": {"type": "object", "properties": {
            "name": {"type": "string"}, "children": {"type": "array", "maxItems": 2,
                                                     "items": {"$ref": "#/$defs/node"}}},
            "required": ["name"], "additionalProperties": False}}
        s["properties"]["tree"] = {"$ref": "#/$defs/node"}
    return s


def no_doubles(pairs):
    if len({k for k, _ in pairs}) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def run(args, index, schema):
    import jsonschema
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump(schema, f)
        f.flush()
        done = subprocess.run(
            [args.holdfast, "grammar", "--json-schema", f.name, "--strict", "-m", args.model, "--sample",
             str(args.samples), "--seed", str(index), "-n", str(args.predict), "--lines"],
            capture_output=True, timeout=600)
    if done.returncode:
        return 0, 0, [f"schema {index}: {done.stderr.decode(errors='replace')}"]
    judge = jsonschema.Draft202012Validator(schema)
    ended, cut, bad = 0, 0, []
    for line in done.stdout.decode().split("\n")[:-1]:
        row = json.loads(line)
        if row["cut"]:
            cut += 1
            continue
        ended += 1
        try:
            v = json.loads(row["text"], object_pairs_hook=no_doubles)
            if "nullable" not in json.dumps(schema):
                judge.validate(v)
        except ValueError as e:
            if "twice" not in str(e):
                bad.append(f"schema {index}: {e}: {row['text'][:200]}")
        except jsonschema.ValidationError as e:
            bad.append(f"schema {index}: {e.message[:100]}: {row['text'][:200]}")
    return ended, cut, bad


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("-m", "--model", required=False)
    ap.add_argument("--holdfast", default=str(ROOT / "build" / "holdfast"))
    ap.add_argument("--schemas", type=int, default=200)
    ap.add_argument("--samples", type=int, default=50)
    ap.add_argument("--predict", type=int, default=2048)
    ap.add_argument("--write")
    args = ap.parse_args()
    schemas = [tool(random.Random(i)) for i in range(args.schemas)]
    if args.write:
        pathlib.Path(args.write).mkdir(parents=True, exist_ok=True)
        for i, s in enumerate(schemas):
            (pathlib.Path(args.write) / f"tool{i:03}.json").write_text(json.dumps(s))
        return 0
    ended = cut = 0
    bad = []
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for e, c, b in pool.map(lambda x: run(args, *x), enumerate(schemas)):
            ended, cut, bad = ended + e, cut + c, bad + b
    print("\n".join(bad[:20]))
    print(f"{len(schemas)} schemas, {ended} members ended by themselves, {ended - len(bad)} of them valid; "
          f"{cut} cut at {args.predict} tokens ({100 * cut / max(1, ended + cut):.1f} %)")
    return 1 if bad or cut > 0.05 * (ended + cut) else 0


if __name__ == "__main__":
    sys.exit(main())
