#!/usr/bin/env python3
"""JSON Schema: `holdfast grammar` against the official JSON-Schema-Test-Suite.

usage: schema_suite.py [--holdfast build/holdfast] [--draft draft2020-12] [--list]

The suite comes with the source package of PyPI `jsonschema` (fetched into build/schema-suite; exit
77 when that cannot be had). Schemas are compiled with --strict: groups that are refused by name are
counted as not supported. Instances are written as Python's json.dumps writes them, their keys in
the order in which the schema names them; what PyPI `jsonschema` says of them has to be what the
grammar says. Differences that are known and why are in EXCEPTIONS; exit 1 on any other.
"""
import argparse
import collections
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
VERSION = "4.26.0"
# (file, part of the group's or test's description): why the grammar may say otherwise
EXCEPTIONS = [
    ("", "float", "integers are written without a fraction: 1.0 is not"),
    ("", ".0", "integers are written without a fraction: 1.0 is not"),
    ("oneOf", "", "oneOf is treated as anyOf where its branches may overlap"),
    ("", "bignum", "numbers have at most 31 digits"),
    ("multipleOf", "1e308", "bounded numbers are written without exponents"),
    ("multipleOf", "0.00751", "bounded numbers are written without exponents"),
    ("multipleOf", "small multiple of large", "bounded numbers are written without exponents"),
    ("format", "annotation by default", "a known format is enforced, not only noted"),
    ("const", "different property order", "a constant is written in its own order"),
    ("ref", "overrides any sibling", "keywords beside $ref hold, as they do since 2019-09"),
    ("pattern", "ECMA", "\\d, \\w and \\s are ASCII and ECMA's white space, not Python's"),
]


def fetch():
    folder = ROOT / "build" / "schema-suite"
    suite = folder / f"jsonschema-{VERSION}" / "json"
    if not suite.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:",
                   "-d", str(folder), f"jsonschema=={VERSION}"]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=120)
        except (subprocess.SubprocessError, OSError):
            print("PyPI cannot be reached")
            sys.exit(77)
        with tarfile.open(folder / f"jsonschema-{VERSION}.tar.gz") as tar:
            tar.extractall(folder)
    return suite / "tests"


def names_in_order(schema, order):
    """The names of properties in the order in which a schema mentions them."""
    if isinstance(schema, dict):
        for key in schema.get("properties", {}) if isinstance(schema.get("properties"), dict) else ():
            order.setdefault(key, len(order))
        for value in schema.values():
            names_in_order(value, order)
        for key in schema.get("required", ()) if isinstance(schema.get("required"), list) else ():
            order.setdefault(key, len(order))
    elif isinstance(schema, list):
        for value in schema:
            names_in_order(value, order)
    return order


def reorder(value, order):
    if isinstance(value, dict):
        keys = sorted(value, key=lambda k: order.get(k, len(order)))
        return {k: reorder(value[k], order) for k in keys}
    return [reorder(v, order) for v in value] if isinstance(value, list) else value


def run(holdfast, schema, lines, strict=True):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump(schema, f)
        f.flush()
        command = [holdfast, "grammar", "--json-schema", f.name, "--check"] + ["--strict"] * strict
        done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True,
                              errors="replace", timeout=20)
    return done.returncode, done.stdout.splitlines(), done.stderr.strip()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--holdfast", default=str(ROOT / "build" / "holdfast"))
    ap.add_argument("--draft", default="draft2020-12")
    ap.add_argument("--list", action="store_true", help="print what is not supported, too")
    args = ap.parse_args()
    import jsonschema
    judge = jsonschema.validators.validator_for({"$schema": {
        "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
        "draft7": "http://json-schema.org/draft-07/schema#"}[args.draft]})

    count = collections.Counter()
    reasons, bad = collections.Counter(), []
    for path in sorted((fetch() / args.draft).glob("*.json")):
        for group in json.loads(path.read_text()):
            order = names_in_order(group["schema"], {})
            data = [reorder(t["data"], order) for t in group["tests"]]
            rc, said, error = run(args.holdfast, group["schema"],
                                  [json.dumps(d, ensure_ascii=False) for d in data])
            never = rc != 0 and "nothing matches" in error
            if rc != 0 and not never:
                if "not supported" not in error:
                    bad.append((path.stem, group["description"], "", error))
                count["groups not supported"] += 1
                reasons[error.split(": ", 2)[-1][:70]] += 1
                continue
            count["groups"] += 1
            for i, test in enumerate(group["tests"]):
                try:
                    want = judge(group["schema"]).is_valid(data[i])
                except Exception:
                    want = test["valid"]
                got = not never and i < len(said) and said[i] == "accepted"
                count["tests"] += 1
                if want == got:
                    count["valid accepted" if want else "invalid refused"] += 1
                    continue
                text = group["description"] + " / " + test["description"]
                why = next((w for f, part, w in EXCEPTIONS
                            if f in ("", path.stem) and part in text), None)
                if why:
                    count["exceptions"] += 1
                    reasons["exception: " + why] += 1
                else:
                    bad.append((path.stem, text, f"{'valid' if want else 'invalid'}: "
                                f"{json.dumps(data[i], ensure_ascii=False)[:80]}",
                                said[i] if i < len(said) else ""))
    for row in bad:
        print("DIFFERS", *row, sep="  ")
    if args.list:
        for reason, n in reasons.most_common():
            print(f"{n:4}  {reason}")
    print(f"{args.draft}: " + ", ".join(f"{n} {what}" for what, n in count.items()) +
          f", {len(bad)} different")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
